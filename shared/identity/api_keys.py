"""API keys for automation: made, listed, revoked, and found again by the hash of what was sent.

    mk_<10 characters, shown ever after>_<43 characters, shown once>

A key belongs to its organization and acts for its maker: it can do what its scopes say and its maker still may,
whichever is less. When the maker leaves or loses a role, the key loses it too.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.audit.models import Target
from shared.audit.service import Audit
from shared.identity.caller import Caller
from shared.identity.errors import ApiKeyInvalid, ApiKeyNotFound, CannotPassOn, TooManyApiKeys
from shared.identity.memory import Memory
from shared.identity.models import ApiKey, ApiKeyIndex, ApiKeyUse
from shared.identity.permissions import Permission
from shared.platform import telemetry
from shared.platform.clock import Clock
from shared.platform.errors import Fault, Invalid, NotFound
from shared.platform.ids import ApiKeyId, OrgId
from shared.platform.results import Denied
from shared.store.query import Slice, Where
from shared.store.scoped import Store
from shared.store.unscoped import Directory, directory_id

PREFIX: Final = "mk_"
MAX_LIVE: Final = 100

#: A key neither ends or hands over the organization nor makes more keys: what it opens would outlive its revocation.
NOT_FOR_KEYS: Final = frozenset({Permission.ORG_DELETE, Permission.ORG_TRANSFER, Permission.API_KEYS_MANAGE})
LOOK_AGAIN_SECONDS: Final = 30.0
USE_NOTED_EVERY: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Made:
    """A new key, and its text: the only time that it is to be had."""

    key: ApiKey
    text: str


class ApiKeys:
    """The API keys of organizations."""

    def __init__(self, store: Store, directory: Directory, audit: Audit, clock: Clock) -> None:
        self._store, self._directory, self._audit, self._clock = store, directory, audit, clock
        self._found: Memory[str, ApiKey] = Memory(clock, LOOK_AGAIN_SECONDS)
        self._noted: Memory[str, datetime] = Memory(clock, USE_NOTED_EVERY.total_seconds())

    async def make(
        self,
        org: OrgId,
        key_id: ApiKeyId,
        *,
        name: str,
        scopes: frozenset[Permission],
        expires_at: datetime | None,
        networks: tuple[str, ...],
        by: Caller,
    ) -> Made:
        """A new key.

        Raises:
            CannotPassOn: its maker lacks a scope, or no key may have it.
            TooManyApiKeys: the organization has 100 live ones.
        """
        now = self._clock.now()
        allowed = by.access.may_pass_on_all(scopes, now)
        if isinstance(allowed, Denied):
            raise CannotPassOn(allowed.reason)
        if never := scopes & NOT_FOR_KEYS:
            raise CannotPassOn(f"no API key may have {', '.join(sorted(never))}")
        if expires_at is not None and expires_at <= now:
            raise Invalid(f"expires_at is {(now - expires_at).total_seconds():.0f} s ago")
        live = await self._store.count(org, ApiKey, where=[Where("revoked_at", "=", None)])
        if live >= MAX_LIVE:
            raise TooManyApiKeys(f"the organization has {live} API keys; {MAX_LIVE} are allowed", limit=MAX_LIVE)
        shown, secret = secrets.token_hex(5), secrets.token_urlsafe(32)
        text = f"{PREFIX}{shown}_{secret}"
        key = ApiKey(
            id=key_id,
            org_id=org,
            name=name,
            prefix=f"{PREFIX}{shown}",
            hash=_hash(text),
            scopes=tuple(sorted(scopes)),
            expires_at=expires_at,
            networks=networks,
            made_by=by.user,
        )
        # The index first: an entry without a key opens nothing, a key without its entry could never be used.
        await self._directory.create(ApiKeyIndex(id=_index_id(key.hash), org_id=org, key_id=key_id))
        told = self._audit.entry(org, by.actor, "api_key.created", _target(key), after=_shown(key))
        await self._store.batch(org).create(key).create(told).commit()
        return Made(await self.get(org, key_id), text)

    async def page(self, org: OrgId, *, limit: int, cursor: str | None) -> Slice[ApiKey]:
        """The organization's keys, newest first."""
        return await self._store.page(org, ApiKey, limit=limit, cursor=cursor)

    async def uses(self, org: OrgId, keys: list[ApiKey]) -> dict[str, ApiKeyUse]:
        """When these keys were last used, by key id."""
        if not keys:
            return {}
        found = await self._store.page(
            org, ApiKeyUse, where=[Where("key_id", "in", [key.id for key in keys])], limit=len(keys)
        )
        return {str(use.key_id): use for use in found.items}

    async def get(self, org: OrgId, key_id: ApiKeyId) -> ApiKey:
        """One key.

        Raises:
            ApiKeyNotFound: there is none.
        """
        found = await self._store.find(org, ApiKey, key_id)
        if found is None:
            raise ApiKeyNotFound(f"there is no API key {key_id}")
        return found

    async def revoke(self, org: OrgId, key_id: ApiKeyId, *, by: Caller) -> None:
        """End a key; elsewhere it may still be taken for 30 s. Revoking twice is no error.

        Raises:
            ApiKeyNotFound: there is none with that id.
        """
        key = await self.get(org, key_id)
        if key.revoked_at is None:
            told = self._audit.entry(org, by.actor, "api_key.revoked", _target(key), before=_shown(key))
            revoked = key.having(revoked_at=self._clock.now())
            await self._store.batch(org).replace(revoked).create(told).commit()
        self._found.forget(lambda digest: digest == key.hash)

    async def forget_all(self, org: OrgId) -> None:
        """Remove what the directory knows of an organization's keys, for one that is being erased. May be repeated."""
        hashes = await self._store.select(
            org, ApiKey, "SELECT VALUE c.hash FROM c WHERE c.ix.type = @type", [{"name": "@type", "value": "api_key"}]
        )
        for digest in hashes:
            with suppress(NotFound):
                await self._directory.delete(ApiKeyIndex, _index_id(str(digest)))
        self._found.clear()

    async def authenticate(self, text: str, address: str) -> ApiKey:
        """The key that was sent.

        Raises:
            ApiKeyInvalid: unknown, expired, revoked, or not for this address. The reason tells them apart only for the
                address: whoever holds a good key may know that, nobody else learns which keys once existed.
        """
        digest = _hash(text)
        key = self._found.get(digest) or await self._look_up(digest)
        if key is None or not key.live(self._clock.now()):
            raise ApiKeyInvalid("the API key is unknown, expired or revoked")
        if not key.allows_address(address):
            raise ApiKeyInvalid(f"the API key may not be used from {address}")
        await self._note_use(key, address)
        return key

    async def _look_up(self, digest: str) -> ApiKey | None:
        entry = await self._directory.find(ApiKeyIndex, _index_id(digest))
        if entry is None:
            return None
        key = await self._store.find(entry.org_id, ApiKey, entry.key_id)
        if key is None or not secrets.compare_digest(key.hash, digest):
            return None
        self._found.put(digest, key)
        return key

    async def _note_use(self, key: ApiKey, address: str) -> None:
        """Note the use, at most every ten minutes an instance. Fails open: a use that is not noted stops nobody."""
        if self._noted.get(key.id) is not None:
            return
        now = self._clock.now()
        self._noted.put(key.id, now)
        use = ApiKeyUse(id=f"use_{key.id}", org_id=key.org_id, key_id=ApiKeyId(key.id), used_at=now, address=address)
        try:
            await self._store.upsert(key.org_id, use)
        except Fault:
            telemetry.counter("identity.key_use_lost", "{use}").add(1)


def _target(key: ApiKey) -> Target:
    return Target(kind="api_key", id=key.id, name=key.name)


def _shown(key: ApiKey) -> dict[str, object]:
    return key.model_dump(mode="json", include={"name", "prefix", "scopes", "expires_at", "networks"})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _index_id(digest: str) -> str:
    return directory_id("api-key", digest)
