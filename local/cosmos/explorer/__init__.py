"""The data explorer: a page at the root for browsers. It signs its requests itself, as any client does.

An SDK asks for `/` with an authorization header and wants JSON; a browser asks without one and wants HTML. The page holds no
data and no secret, so giving it to anyone is safe: the key comes from the fragment of the URL, which never leaves the
browser, or is typed in.
"""

from __future__ import annotations

from pathlib import Path

from local.cosmos.http import Request, Response

_FOLDER = Path(__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_FILES = {file.name: (file.read_bytes(), _TYPES[file.suffix]) for file in _FOLDER.iterdir() if file.suffix in _TYPES}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def explorer_file(request: Request) -> Response | None:
    """A file of the page, if that is what a browser asks for."""
    if request.method != "GET" or "authorization" in request.headers:
        return None
    if not request.segments and "text/html" in request.headers.get("accept"):
        name = "index.html"
    elif len(request.segments) == 2 and request.segments[0] == "_explorer":
        name = request.segments[1]
    else:
        return None
    if name not in _FILES:
        return None
    body, content_type = _FILES[name]
    return Response(200, body, dict(_HEADERS), 0.0, content_type=content_type)
