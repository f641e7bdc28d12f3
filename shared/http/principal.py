"""Who calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.platform.ids import OrgId


class Auth(StrEnum):
    """How a route wants its caller to prove who it is."""

    USER = "user"  # an access token of a person, or an API key
    AGENT = "agent"  # a node's proof that it holds its private key
    ADMIN = "admin"  # the function app's master key, checked by the platform
    ANONYMOUS = "anonymous"


class PrincipalKind(StrEnum):
    """What sort of caller it turned out to be."""

    USER = "user"
    API_KEY = "api_key"
    AGENT = "agent"
    ADMIN = "admin"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose proof was checked.

    `client` is the front end that the token was made for. `scopes` of None means: not narrowed below the person's own
    permissions; an API key has a set. `details` is for the authenticator's own use (session, permission version, ...).
    """

    kind: PrincipalKind
    id: str
    org: OrgId | None = None
    client: str = ""
    session: str | None = None
    scopes: frozenset[str] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


NOBODY = Principal(PrincipalKind.ANONYMOUS, "anonymous")
ADMINISTRATOR = Principal(PrincipalKind.ADMIN, "admin")
