"""Sign-in sessions that have ended, and how fast that is known.

An access token lives ten minutes; when its session ends before that, an entry in the directory says so. The entry is
looked up at most every 30 s for each session and instance: that long may a token outlive its session elsewhere; on the
instance that was told it ends at once. Fails closed: without the directory nobody's session can be shown to live.
"""

from __future__ import annotations

from shared.identity.memory import Memory
from shared.identity.models import RevokedSession
from shared.platform.clock import Clock
from shared.store.unscoped import Directory, directory_id

LOOK_AGAIN_SECONDS = 30.0
REMEMBER_SECONDS = 8 * 24 * 3600  # longer than any session of a site (7 days), for refresh tokens hang on it too


def session_id(issuer: str, session: str) -> str:
    """Our name for a site's session: two sites may use the same word for two sessions."""
    return directory_id("session", issuer, session)


class Sessions:
    """Which sessions have ended."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._ended: Memory[str, bool] = Memory(clock, LOOK_AGAIN_SECONDS)

    async def ended(self, session: str) -> bool:
        """Whether the session (our name for it) has ended."""
        known = self._ended.get(session)
        if known is None:
            known = await self._directory.find(RevokedSession, session) is not None
            self._ended.put(session, known)
        return known

    async def end(self, session: str, reason: str) -> None:
        """End it: no token of it is taken any more."""
        await self._directory.upsert(RevokedSession(id=session, reason=reason, ttl=REMEMBER_SECONDS))
        self._ended.put(session, True)
