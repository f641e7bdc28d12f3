"""How often: classes of routes, and windows per front end, organization, user and address."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.http.call import Call


class RateLimiter:
    """Counts calls and refuses those above the limit of the route's class."""

    async def check(self, call: Call, headers: dict[str, str]) -> None:
        """Count the call; put the `RateLimit` fields into `headers`.

        Raises:
            RateLimited: a limit is reached; says which, and when to come back.
        """
