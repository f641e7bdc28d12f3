"""Refresh tokens, for the command line alone: each is good once, and using one twice ends them all (RFC 9700, 4.14.2).

    mrt_<family>_<secret>

A family is one small document: the hash of the current token, and those of the used ones. Turning a token over is one
replace by ETag, so of two callers with one token one wins, and the other is a reuse.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.identity.errors import OAuthError
from shared.identity.models import RefreshFamily
from shared.identity.sessions import Sessions
from shared.platform import telemetry
from shared.platform.clock import Clock
from shared.platform.errors import PreconditionFailed
from shared.platform.ids import Ids, OrgId, UserId
from shared.store.unscoped import Directory

PREFIX: Final = "mrt_"
LONGEST: Final = timedelta(days=7)
REMEMBERED: Final = 200  # used tokens; with one turn in ten minutes that is a day and a half


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token that is good: its family, and its hash."""

    family: RefreshFamily
    digest: str


class RefreshTokens:
    """Families of refresh tokens."""

    def __init__(self, directory: Directory, sessions: Sessions, clock: Clock, ids: Ids) -> None:
        self._directory, self._sessions, self._clock, self._ids = directory, sessions, clock, ids

    async def start(
        self,
        *,
        user: UserId,
        org: OrgId | None,
        client: str,
        session: str,
        authenticated_at: datetime,
        session_ends_at: datetime | None,
    ) -> str:
        """The first token of a new family. It ends when the sign-in session does, however often it is turned over."""
        now = self._clock.now()
        ends = min(session_ends_at or now + LONGEST, now + LONGEST)
        family, secret = self._ids.new("fam"), secrets.token_urlsafe(32)
        entry = RefreshFamily(
            id=family,
            user_id=user,
            org_id=org,
            client=client,
            session=session,
            authenticated_at=authenticated_at,
            ends_at=ends,
            current=_hash(secret),
            ttl=max(1, int((ends - now).total_seconds())),
        )
        await self._directory.create(entry)
        return f"{PREFIX}{family}_{secret}"

    async def read(self, token: str, client: str) -> Presented:
        """The family of a token that may be turned over; nothing changes yet.

        Raises:
            OAuthError: unknown, used before (then the whole family ends), of another client, or past its end.
        """
        family_id, secret = _parts(token)
        family = await self._directory.find(RefreshFamily, family_id)
        if family is None:
            raise OAuthError("invalid_grant", "the refresh token is unknown or its session is over")
        digest = _hash(secret)
        if digest in family.used:
            await self._end(family, "reuse")
            raise OAuthError("invalid_grant", "the refresh token was used before; sign in again")
        if not secrets.compare_digest(digest, family.current) or client != family.client:
            raise OAuthError("invalid_grant", "the refresh token does not fit")
        now = self._clock.now()
        if family.revoked_reason is not None or now >= family.ends_at or await self._sessions.ended(family.session):
            raise OAuthError("invalid_grant", "the session is over; sign in again")
        return Presented(family, digest)

    async def revoke(self, token: str) -> None:
        """End the token's family and sign-in session (RFC 7009); an unknown token is no error."""
        try:
            family_id, secret = _parts(token)
        except OAuthError:
            return
        family = await self._directory.find(RefreshFamily, family_id)
        if family is not None and _hash(secret) in (family.current, *family.used):
            await self._end(family, "revoked")

    async def turn(self, presented: Presented, org: OrgId | None) -> str:
        """The token that takes the place of the presented one, which is used up now; `org` is remembered for the next.

        Raises:
            OAuthError: another caller has used it since it was read; then the whole family ends.
        """
        family = presented.family
        secret = secrets.token_urlsafe(32)
        left = max(1, int((family.ends_at - self._clock.now()).total_seconds()))
        changed = family.having(
            org_id=org, current=_hash(secret), used=(*family.used, presented.digest)[-REMEMBERED:], ttl=left
        )
        try:
            await self._directory.replace(changed)
        except PreconditionFailed:
            # Another caller turned this very token over a moment ago: one of the two is not its owner.
            await self._end(family, "reuse")
            raise OAuthError("invalid_grant", "the refresh token was used before; sign in again") from None
        return f"{PREFIX}{family.id}_{secret}"

    async def _end(self, family: RefreshFamily, reason: str) -> None:
        if reason == "reuse":
            telemetry.counter("identity.refresh_reuse", "{reuse}").add(1, {"client": family.client})
            telemetry.log("identity").warning("a refresh token was used twice", extra={"family": family.id})
        await self._sessions.end(family.session, f"refresh token {reason}")
        await self._directory.update(RefreshFamily, family.id, lambda f: f.having(revoked_reason=reason))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _parts(token: str) -> tuple[str, str]:
    """The family's id and the secret."""
    marker, _, rest = token.partition("_")
    family, secret = rest[:30], rest[31:]
    if f"{marker}_" != PREFIX or not family.startswith("fam_") or rest[30:31] != "_" or not 20 <= len(secret) <= 100:
        raise OAuthError("invalid_grant", "not a refresh token of this service")
    return family, secret
