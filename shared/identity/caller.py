"""The one who acts, as the domains see them: whose rights count, what these rights are, and how the audit names them."""

from __future__ import annotations

from dataclasses import dataclass

from shared.audit.models import Actor
from shared.identity.access import Access
from shared.platform.ids import UserId


@dataclass(frozen=True, slots=True)
class Caller:
    """A person, or an API key that acts for its maker (then `user` is the maker, `access` is narrowed to its scopes)."""

    actor: Actor
    user: UserId
    access: Access
