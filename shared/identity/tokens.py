"""Our access tokens as a service: the key ring from the secret store, minting, and verification with a memory."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime

from shared.identity import access_tokens, signing_keys
from shared.identity.access_tokens import AccessToken
from shared.identity.memory import Memory
from shared.identity.oauth import LIFE
from shared.identity.signing_keys import KeyRing
from shared.platform.clock import Clock
from shared.platform.ids import Ids, OrgId, UserId
from shared.platform.secrets import Secrets

SECRET = "access-token-keys"  # noqa: S105 - the secret's name
REMEMBER_SECONDS = 60.0


class Tokens:
    """Mints and verifies access tokens."""

    def __init__(self, secrets: Secrets, clock: Clock, ids: Ids, issuer: str) -> None:
        self._secrets, self._clock, self._ids, self._issuer = secrets, clock, ids, issuer
        self._ring: tuple[str, KeyRing] | None = None
        self._verified: Memory[bytes, AccessToken] = Memory(clock, REMEMBER_SECONDS)
        self._making = asyncio.Lock()

    async def ring(self) -> KeyRing:
        """The key ring; made at the very first use of an installation.

        Raises:
            SecretsUnavailable: the secret store does not answer.
        """
        text = await self._secrets.get(SECRET)
        if text is None:
            async with self._making:
                text = await self._secrets.create(SECRET, signing_keys.first_ring(self._clock.now()).text())
        if self._ring is None or self._ring[0] != text:
            self._ring = (text, KeyRing.read(text))
            self._verified.clear()  # a key that is gone must not live on in what it once signed
        return self._ring[1]

    async def issue(
        self, user: UserId, org: OrgId | None, client: str, session: str, authenticated_at: datetime
    ) -> tuple[str, AccessToken]:
        """A new token, as text and as what it says."""
        now = self._clock.now()
        token = AccessToken(
            token_id=self._ids.new("tok"),
            user=user,
            org=org,
            client=client,
            session=session,
            issued_at=now,
            authenticated_at=authenticated_at,
            expires_at=now + LIFE,
        )
        return access_tokens.mint(token, await self.ring(), self._issuer), token

    async def verify(self, text: str) -> AccessToken:
        """What a token says, if it is ours and good now. A verified one is remembered for a minute, by its hash.

        Raises:
            TokenRefused: it is not.
        """
        ring = await self.ring()
        now = self._clock.now()
        digest = hashlib.sha256(text.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and now < known.expires_at:
            return known
        token = access_tokens.verify(text, ring, self._issuer, now)
        self._verified.put(digest, token)
        return token

    async def turn_keys(self) -> bool:
        """Bring the ring up to date (a timer calls it daily); whether anything changed."""
        self._secrets.forget(SECRET)
        ring = await self.ring()
        turned = signing_keys.turn(ring, self._clock.now())
        if turned is ring:
            return False
        await self._secrets.set(SECRET, turned.text())
        return True

    async def replace_keys(self) -> None:
        """Put one new key in the place of all, for when others may know one: every access token ends."""
        self._secrets.forget(SECRET)
        await self._secrets.set(SECRET, signing_keys.first_ring(self._clock.now()).text())
