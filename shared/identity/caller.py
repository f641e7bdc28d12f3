"""The one who acts, as the domains see them: whose rights count, what these rights are, and how the audit names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.audit.models import Actor
from shared.identity.access import Access
from shared.platform.ids import UserId

if TYPE_CHECKING:
    from shared.http.principal import Principal

MAKER: Final = "maker"  # in a principal's details: who made the API key that calls


def user_of(principal: Principal) -> UserId:
    """The person whose rights count: the caller, or the maker of the caller's API key."""
    return UserId(principal.details.get(MAKER, principal.id))


@dataclass(frozen=True, slots=True)
class Caller:
    """A person, or an API key that acts for its maker (then `user` is the maker, `access` is narrowed to its scopes)."""

    actor: Actor
    user: UserId
    access: Access
