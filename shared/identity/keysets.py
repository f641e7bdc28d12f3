"""The public keys of the sites we trust, kept so that a site's outage does not sign everybody out.

Fails closed, but late: while a site's key set cannot be fetched, the last one that was is used for up to a day. A token
signed by a key that is not in it is refused. An unknown key id makes one fetch at most every five seconds, so a flood
of made-up ids costs a site next to nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.identity.assertions import ALGORITHM
from shared.identity.errors import KeySetUnavailable
from shared.platform import telemetry
from shared.platform.clock import Clock
from shared.platform.settings import TrustedIssuer

if TYPE_CHECKING:
    import jwt

FRESH_SECONDS = 300.0
STALE_SECONDS = 24 * 3600.0
COOLDOWN_SECONDS = 5.0
TIMEOUT_SECONDS = 3.0
MAX_SET_BYTES = 64 * 1024
MAX_KEYS = 20

Fetch = Callable[[str], Awaitable[bytes]]


async def fetch_over_http(uri: str) -> bytes:
    """GET the document; no redirect is followed.

    Raises:
        OSError: it did not come within 3 s, not with status 200, or is too large.
    """
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(uri, allow_redirects=False) as reply:
            if reply.status != 200:
                raise OSError(f"answered {reply.status}")
            return await reply.content.read(MAX_SET_BYTES + 1)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(str(error) or type(error).__name__) from error


def parse_key_set(raw: bytes) -> dict[str, jwt.PyJWK]:
    """The Ed25519 keys of a key set by their ids; others are left out, for their owner may have more than one kind.

    Raises:
        ValueError: not a key set, or a senseless one.
    """
    import jwt

    if len(raw) > MAX_SET_BYTES:
        raise ValueError(f"a key set of more than {MAX_SET_BYTES} bytes")
    document = json.loads(raw)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError(f"not a key set of at most {MAX_KEYS} keys")
    keys: dict[str, jwt.PyJWK] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("kty") != "OKP" or entry.get("crv") != "Ed25519":
            continue
        if isinstance(entry.get("kid"), str):
            try:
                keys[entry["kid"]] = jwt.PyJWK({**entry, "alg": ALGORITHM})
            except jwt.PyJWTError as error:
                raise ValueError(f"the key {entry['kid']!r} is damaged") from error
    return keys


@dataclass(slots=True)
class _Known:
    keys: Mapping[str, jwt.PyJWK] = field(default_factory=dict)
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)


class KeySets:
    """Key sets of all trusted issuers, fetched when needed."""

    def __init__(self, clock: Clock, fetch: Fetch = fetch_over_http) -> None:
        self._clock = clock
        self._fetch = fetch
        self._known: dict[str, _Known] = {}

    async def find(self, issuer: TrustedIssuer, key_id: str) -> jwt.PyJWK | None:
        """The issuer's key with this id, or None if the issuer has no such key.

        Raises:
            KeySetUnavailable: the key set cannot be had and no copy of the last day is here.
        """
        known = self._known.setdefault(issuer.issuer, _Known())
        # Whoever has the key at hand does not wait for another's refresh of it: only one call pays for a slow site.
        if self._wants_fetch(known, key_id) and not (key_id in known.keys and known.fetching.locked()):
            async with known.fetching:
                if self._wants_fetch(known, key_id):  # another call may have fetched while this one waited
                    await self._refresh(issuer, known)
        if self._clock.monotonic() - known.fetched_at > STALE_SECONDS:
            raise KeySetUnavailable(f"the keys of {issuer.issuer} cannot be fetched", retry_after=COOLDOWN_SECONDS)
        return known.keys.get(key_id)

    def _wants_fetch(self, known: _Known, key_id: str) -> bool:
        now = self._clock.monotonic()
        if now - known.tried_at < COOLDOWN_SECONDS:
            return False
        return key_id not in known.keys or now - known.fetched_at > FRESH_SECONDS

    async def _refresh(self, issuer: TrustedIssuer, known: _Known) -> None:
        try:
            keys = parse_key_set(await self._fetch(issuer.jwks_uri))
        except (OSError, ValueError) as error:
            telemetry.counter("identity.key_set_failures", "{failure}").add(1, {"issuer": issuer.issuer})
            telemetry.log("identity").warning(
                "a key set cannot be fetched", extra={"issuer": issuer.issuer, "reason": str(error)}
            )
            return
        finally:  # after the attempt: set before, callers who came during the very first one would find nothing to wait for
            known.tried_at = self._clock.monotonic()
        known.keys, known.fetched_at = keys, self._clock.monotonic()
