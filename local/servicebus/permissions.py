"""What the tokens of one connection allow, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from local.servicebus.amqp.performatives import AmqpError
from local.servicebus.clock import Clock
from local.servicebus.sas import Grant, Right, allows, segments

MAX_GRANTS = 256  # tokens on one connection; the SDK uses one or two
LONGEST_TIMER_SECONDS = 86_400.0 * 30


class Permissions:
    """Grants by path. `on_expiry` is called whenever one may have run out."""

    def __init__(self, clock: Clock, on_expiry: Callable[[], None]) -> None:
        self._clock, self._on_expiry = clock, on_expiry
        self._grants: dict[tuple[str, ...], Grant] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def any(self) -> bool:
        """Whether anything was ever authenticated."""
        return bool(self._grants)

    def add(self, grant: Grant) -> None:
        """Remember what a token allows; it replaces the former one for the same path.

        Raises:
            AmqpError: too many tokens.
        """
        now = self._clock.seconds()
        if len(self._grants) >= MAX_GRANTS:
            self._grants = {path: one for path, one in self._grants.items() if one.expires_at > now}
        if len(self._grants) >= MAX_GRANTS and grant.path not in self._grants:
            raise AmqpError("amqp:not-allowed", f"more than {MAX_GRANTS} tokens on one connection")
        self._grants[grant.path] = grant
        self.watch()

    def allow(self, address: str, right: Right) -> bool:
        """Whether a token gives the right on the entity."""
        return allows(self._grants.values(), segments(address), right, self._clock.seconds())

    def watch(self) -> None:
        """Tell what has run out by now, and wake up when the next does."""
        self.close()
        self._on_expiry()
        now = self._clock.seconds()
        ends = [one.expires_at for one in self._grants.values() if now < one.expires_at < now + LONGEST_TIMER_SECONDS]
        if ends:
            # A millisecond late rather than early: at the moment of the end it must be over.
            delay = max(0.0, min(ends) - now) + 0.001
            self._timer = asyncio.get_running_loop().call_later(delay, self.watch)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
