"""What identity asks of whoever keeps the members: the organizations' service answers it."""

from __future__ import annotations

from typing import Protocol

from shared.identity.access import Access
from shared.platform.ids import OrgId, UserId


class Memberships(Protocol):
    """Who belongs where, and with which rights."""

    async def check(self, org: OrgId, user: UserId) -> None:
        """Return if the person is a member.

        Raises:
            NotAMember: they are not, or the organization is gone.
        """

    async def access(self, org: OrgId, user: UserId) -> Access:
        """What the person may do there; a copy of at most 30 s.

        Raises:
            NotAMember: they are not a member, or the organization is gone.
        """
