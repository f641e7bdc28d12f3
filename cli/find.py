"""Things by the name that a person gave them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any
from urllib.parse import quote

from cli.api import Api
from cli.errors import ApiError, CliError, NotThere

LISTS = {
    "server": ("srv_", "/v1/servers"),
    "node": ("nod_", "/v1/nodes"),
    "member": ("mem_", "/v1/members"),
    "invitation": ("inv_", "/v1/invitations"),
    "role": ("rol_", "/v1/roles"),
    "key": ("key_", "/v1/api-keys"),
    "template": ("tpl_", "/v1/templates"),
}
SEARCHED = ("server", "node")  # these lists take a name; the others are read whole (they are short)
NAMES_LOOKED_AT = 200  # for a suggestion


def by_name(api: Api, kind: str, name_or_id: str) -> dict[str, Any]:
    """The one thing of a kind with this name (of a member: name or e-mail address) or id.

    Raises:
        NotThere: none; a name that is nearly the same is told.
        CliError: several.
        ApiError: an id that is not there.
    """
    prefix, path = LISTS[kind]
    if name_or_id.startswith(prefix):
        return dict(api.get(f"{path}/{quote(name_or_id, safe='')}"))
    narrowed: dict[str, Any] = {"name": name_or_id} if kind in SEARCHED else {}
    found = [row for row in api.pages(path, **narrowed) if name_or_id in names_of(row)]
    if not found:
        raise NotThere(f"no {kind} is named {name_or_id!r}{_near(api, path, name_or_id)}")
    if len(found) > 1:  # of machines with one name, all but one have been let go
        found = [row for row in found if row.get("state") != "decommissioned"] or found
    if len(found) > 1:
        ids = ", ".join(row["id"] for row in found[:5])
        raise CliError(f"several {kind}s are named {name_or_id!r}: use the id ({ids})")
    return found[0]


def names_of(row: dict[str, Any]) -> list[str]:
    """By what a person may call it."""
    return [str(row[word]) for word in ("key", "name", "email") if row.get(word)]


def names_by_id(api: Api, path: str, field: str = "id") -> dict[str, str]:
    """What the things of a list are called, by id; nothing where the caller may not see that list: ids do as well.

    Raises:
        ApiError: refused for another reason.
    """
    try:
        return {row[field]: (names_of(row) or [row[field]])[0] for row in api.pages(path)}
    except ApiError as error:
        if error.status != 403:
            raise
        return {}


def _near(api: Api, path: str, name: str) -> str:
    known = [each for row in api.pages(path, limit=NAMES_LOOKED_AT) for each in names_of(row)]
    near = get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def pairs(texts: list[str] | None, what: str) -> dict[str, str]:
    """`key=value` words as a dictionary.

    Raises:
        CliError: a word has no `=`.
    """
    for text in texts or []:
        if "=" not in text:
            raise CliError(f"{what} {text!r} must read key=value")
    return dict(text.split("=", 1) for text in texts or [])
