"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the same request sent again has one effect.

```
A  create record (running, lease 60 s) ......... handler ......... keep the reply
B      create refused -> read: running, lease holds -> 409, come back
C                                                                 read: done -> the kept reply
D  (A died)                        read: running, lease over -> take the lease by ETag -> handler with the SAME ids
```
Only success is kept. After a refusal or a failure the lease is given back, and the next attempt runs with the same ids,
so that whatever the first one created is met as a conflict and never made a second time. Without the store nothing can
be promised, so this fails closed: 503. The reply is a document of its own: making one costs half of replacing one.
One that holds a secret is sealed (`shared.http.sealing`).

Where all that a request does is one batch in the caller's organization (routes with `in_batch`), key and reply are one
document more in that batch: two calls to the store less, and there is no lease, since both are there or neither.
```
A  handler: batch [what it does, key and reply] ......... what follows
B  handler: batch refused, the key is there -> read: the kept reply
C  (A died after its batch)                    read: the kept reply; what followed is the sweep's, or done again
```
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from shared.http.errors import IdempotencyKeyInUse, IdempotencyKeyRequired, IdempotencyKeyReused, ReplyLost
from shared.http.models import Reply
from shared.http.replies import encode
from shared.platform import telemetry
from shared.platform.clock import Clock, Timestamp
from shared.platform.errors import AlreadyExists, Fault, NotFound, PreconditionFailed
from shared.platform.ids import Ids, derived
from shared.store.documents import Document
from shared.store.unscoped import Directory, DirectoryEntry, directory_id

if TYPE_CHECKING:
    from shared.http.call import Call
    from shared.http.sealing import Sealer
    from shared.platform.ids import OrgId
    from shared.store.batch import Batch
    from shared.store.scoped import Store

KEPT_SECONDS: Final = 24 * 3600
LEASE: Final = timedelta(seconds=60)
MAX_KEPT_BODY: Final = 1_000_000
_KEY: Final = re.compile(r'^"?([\x21\x23-\x7e]{1,255})"?$')
_log = telemetry.log("http.idempotency")


class IdempotencyRecord(DirectoryEntry):
    """What is known of one key: the request's fingerprint, where its ids come from, and who is at it."""

    type: Literal["idempotency"] = "idempotency"
    fingerprint: str
    seed: str
    began_at: Timestamp
    lease_until: Timestamp


class KeptReply(DirectoryEntry):
    """The reply to the request with a key."""

    type: Literal["idempotency_reply"] = "idempotency_reply"
    status: int
    body: str
    sealed: bool = False
    content_type: str | None = None
    etag_sent: str | None = None
    location: str | None = None

    @staticmethod
    def id_of(record_id: str) -> str:
        """The id of a record's reply."""
        return f"{record_id}:reply"


class KeyKept(Document):
    """A key and the reply to its request, in the batch that did what it asks. `made` is what the handler calls it by."""

    type: Literal["idempotency_key"] = "idempotency_key"
    fingerprint: str
    made: str = ""
    status: int
    body: str
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """The key of a request whose handler has it written down in its own batch."""

    id: str
    org: OrgId
    fingerprint: str

    def keep(self, batch: Batch, reply: Reply, made: str) -> None:
        """Add key and reply to the batch, which is refused when the key is there already."""
        if reply.status is None or reply.etag is not None or reply.content_type != "application/json":
            raise ValueError("what is kept before it is done has a status, and no ETag yet")
        batch.create(
            KeyKept(
                id=self.id,
                org_id=self.org,
                fingerprint=self.fingerprint,
                made=made,
                status=reply.status,
                body=encode(reply.body).decode(),
                location=reply.location,
                ttl=KEPT_SECONDS,
            )
        )


class Idempotency:
    """Keeps replies by key for 24 hours, apart for each organization, caller and route: two scripts that both begin to
    count their keys at one have nothing to do with each other."""

    def __init__(self, directory: Directory, store: Store, clock: Clock, ids: Ids, sealer: Sealer) -> None:
        self._directory, self._store, self._clock, self._ids, self._sealer = directory, store, clock, ids, sealer

    async def run(self, call: Call, handle: Callable[[], Awaitable[Reply]]) -> Reply:
        """The handler's reply, or the kept one of the same request.

        Raises:
            IdempotencyKeyRequired: there is no key, or it is not 1 to 255 printable characters.
            IdempotencyKeyReused: the key came with another request before.
            IdempotencyKeyInUse: the first request with it still runs.
            ReplyLost: it was answered, and the reply cannot be read any more.
            Fault: the handler's own, or the store is away.
        """
        key = _key(call)
        caller = call.principal
        id = directory_id("idem", caller.org or "", caller.id, caller.client, call.route.name, key)
        if call.route.in_batch:
            return await self._in_batch(call, Once(id, call.org, _fingerprint(call)), handle)
        record = await self._claim(id, _fingerprint(call))
        if isinstance(record, KeptReply):
            body, media = self._opened(record, key), record.content_type or "application/json"
            return _replay(record.status, body, record.location, record.etag_sent, media)
        call._id_source = _ids_of(record)
        try:
            reply = await handle()
        except BaseException:
            await self._give_back(record)
            raise
        await self._keep(record, call, key, reply)
        return reply

    async def _in_batch(self, call: Call, once: Once, handle: Callable[[], Awaitable[Reply]]) -> Reply:
        call._once = once
        try:
            return await handle()
        except Fault as refusal:  # perhaps it is what the first attempt did that is in the way
            kept = await self._kept_in_batch(once, refusal)
        if kept.fingerprint != once.fingerprint:
            raise IdempotencyKeyReused("this Idempotency-Key was used for a request with another path, query or body")
        if kept.made:
            call.made_before = kept.made
            await handle()
        return _replay(kept.status, kept.body, kept.location)

    async def _kept_in_batch(self, once: Once, refusal: Fault) -> KeyKept:
        try:
            return await self._store.get(once.org, KeyKept, once.id)
        except Fault:
            raise refusal from refusal.__cause__

    async def _claim(self, id: str, fingerprint: str) -> IdempotencyRecord | KeptReply:
        """Our running record for this request, or the reply to an earlier attempt."""
        while True:
            now = self._clock.now()
            fresh = IdempotencyRecord(
                id=id,
                fingerprint=fingerprint,
                seed=self._ids.new("idm"),
                began_at=now,
                lease_until=now + LEASE,
                ttl=KEPT_SECONDS,
            )
            try:
                return await self._directory.create(fresh)
            except AlreadyExists:
                pass
            try:
                return await self._take_over(await self._directory.get(IdempotencyRecord, id), fingerprint, now)
            except NotFound:
                continue  # its 24 hours ended between the two calls

    async def _take_over(
        self, found: IdempotencyRecord, fingerprint: str, now: datetime
    ) -> IdempotencyRecord | KeptReply:
        if found.fingerprint != fingerprint:
            raise IdempotencyKeyReused("this Idempotency-Key was used for a request with another path, query or body")
        reply_id = KeptReply.id_of(found.id)
        if (kept := await self._directory.find(KeptReply, reply_id)) is not None:
            return kept
        wait = (found.lease_until - now).total_seconds()
        if wait > 0:
            raise IdempotencyKeyInUse("the first request with this key has not ended", retry_after=min(wait, 2))
        try:
            taken = await self._directory.replace(found.having(lease_until=now + LEASE))
        except PreconditionFailed:
            raise IdempotencyKeyInUse("another attempt with this key has just begun", retry_after=2) from None
        # An attempt that was slow, not dead, may have ended between the two reads.
        return await self._directory.find(KeptReply, reply_id) or taken

    async def _keep(self, record: IdempotencyRecord, call: Call, key: str, reply: Reply) -> None:
        status = reply.status or (204 if reply.body is None else call.route.status)
        body = encode(reply.body)
        if status >= 400 or len(body) > MAX_KEPT_BODY:
            await self._give_back(record)
            return
        id, sealed = KeptReply.id_of(record.id), call.route.sealed
        done = KeptReply(
            id=id,
            ttl=KEPT_SECONDS,
            status=status,
            body=self._sealer.seal(key, id, body) if sealed else body.decode("utf-8"),
            sealed=sealed,
            content_type=reply.content_type,
            etag_sent=reply.etag,
            location=reply.location,
        )
        try:
            await self._directory.create(done)
        except Fault as fault:  # the effect is there; a repetition meets it under the same ids
            _log.warning("reply not kept", extra={"code": fault.code, "route": call.route.name})
            telemetry.counter("idempotency.not_kept").add(1)

    def _opened(self, kept: KeptReply, key: str) -> str:
        if not kept.sealed:
            return kept.body
        opened = self._sealer.open(key, kept.id, kept.body)
        if opened is None:
            raise ReplyLost("the first request with this key has made something; its reply cannot be opened any more")
        return opened.decode("utf-8")

    async def _give_back(self, record: IdempotencyRecord) -> None:
        over = record.having(lease_until=record.began_at)
        try:
            await asyncio.shield(self._directory.replace(over))
        except Fault as fault:  # the lease ends by itself after a minute
            _log.warning("lease not given back", extra={"code": fault.code})


def _key(call: Call) -> str:
    given = call.request.headers.get("idempotency-key")
    if not given:
        raise IdempotencyKeyRequired("send an Idempotency-Key of your own, a new one for each new creation")
    found = _KEY.match(given)
    if found is None:
        raise IdempotencyKeyRequired("an Idempotency-Key has 1 to 255 printable characters without spaces")
    return found[1]


def _fingerprint(call: Call) -> str:
    request = call.request
    parts = (request.method, request.path, repr(sorted(request.query.items())), request.headers.get("content-type", ""))
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass") + b"\0")
    digest.update(request.body)
    return digest.hexdigest()


def _ids_of(record: IdempotencyRecord) -> Iterator[str]:
    number = 0
    while True:
        yield derived("", record.began_at, record.seed, str(number)).removeprefix("_")
        number += 1


def _replay(
    status: int, body: str, location: str | None, etag: str | None = None, content_type: str = "application/json"
) -> Reply:
    return Reply(
        body.encode() or None,
        status=status,
        etag=etag,
        location=location,
        content_type=content_type,
        headers={"Idempotent-Replayed": "true"},
    )
