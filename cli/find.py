"""Things by the name that a person gave them."""

from __future__ import annotations

from typing import Any

from cli.api import Api
from cli.errors import CliError

PREFIXES = {"server": "srv_", "node": "nod_"}
LISTS = {"server": "/v1/servers", "node": "/v1/nodes"}


def by_name(api: Api, kind: str, name_or_id: str) -> dict[str, Any]:
    """The one thing of a kind with this name or id.

    Raises:
        CliError: none, or several (names of nodes are unique, but one may be renamed between two calls).
        ApiError: an id that is not there.
    """
    if name_or_id.startswith(PREFIXES[kind]):
        return dict(api.get(f"{LISTS[kind]}/{name_or_id}"))
    found = list(api.pages(LISTS[kind], limit=2, name=name_or_id))
    if len(found) != 1:
        raise CliError(
            f"no {kind} is named {name_or_id!r}"
            if not found
            else f"several {kind}s are named {name_or_id!r}: use the id"
        )
    return found[0]


def pairs(texts: list[str], what: str) -> dict[str, str]:
    """`key=value` words as a dictionary.

    Raises:
        CliError: a word has no `=`.
    """
    for text in texts:
        if "=" not in text:
            raise CliError(f"{what} {text!r} must read key=value")
    return dict(text.split("=", 1) for text in texts)
