"""The browsable page at `/docs`: three files of our own, served by us, that draw `/openapi.json`; and the list of problem codes."""

from __future__ import annotations

import html
from functools import cache
from pathlib import Path
from typing import Final

from shared.http import problems
from shared.http.models import Reply
from shared.platform.errors import Fault

_FOLDER: Final = Path(__file__).parent / "site"
_POLICY: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "public, max-age=300",
}


@cache
def _read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


def page() -> Reply:
    """The page."""
    return Reply(_read("index.html"), content_type="text/html; charset=utf-8", headers=_POLICY)


def style() -> Reply:
    """Its style sheet."""
    return Reply(_read("style.css"), content_type="text/css; charset=utf-8", headers=_POLICY)


def script() -> Reply:
    """Its script."""
    return Reply(_read("script.js"), content_type="text/javascript; charset=utf-8", headers=_POLICY)


def problem_page() -> Reply:
    """Every problem code, its status and what it means: where the `type` of a problem document points."""
    rows = "".join(
        f'<tr id="{html.escape(code)}"><td><code>{html.escape(code)}</code></td><td>{problems.status_of(fault)}</td>'
        f"<td>{html.escape(fault.title)}</td></tr>"
        for code, fault in sorted(Fault.codes.items())
    )
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Problem codes</title>'
        '<link rel="stylesheet" href="/docs/style.css"><main><h1>Problem codes</h1>'
        "<p>A refusal is a problem document (RFC 9457). Its <code>code</code> is stable and made for programs.</p>"
        f"<table><thead><tr><th>Code<th>Status<th>Meaning</thead><tbody>{rows}</tbody></table></main></html>"
    )
    return Reply(text.encode(), content_type="text/html; charset=utf-8", headers=_POLICY)
