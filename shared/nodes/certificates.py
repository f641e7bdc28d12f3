"""Which certificates hold: found by thumbprint, remembered in memory, dead within a minute of being revoked."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from shared.nodes.errors import CertificateRefused
from shared.nodes.models import REVOCATIONS_ID, CertificateEntry, Revocation, Revocations
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, NotFound
from shared.platform.ids import NodeId, OrgId
from shared.store.unscoped import Directory

if TYPE_CHECKING:
    from shared.messaging.jws import PublicKey

#: How old the list of revocations may be. With the time of a call this keeps a revoked certificate under a minute.
REVOCATIONS_SECONDS: Final = 20.0
ENTRY_SECONDS: Final = 6 * 3600.0
MAX_ENTRIES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a certificate is."""

    org: OrgId
    node: NodeId
    certificate_id: str
    thumbprint: str
    key: PublicKey
    not_after: datetime
    shard: int
    place: int


class Certificates:
    """The lookup that each proof and each report needs. Costs a store read an entry in six hours, and one list in 20 s.

    Fails closed: while the store does not answer, unknown certificates and those seen longest ago are refused.
    """

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory, self._clock = directory, clock
        self._known: dict[str, tuple[Holder, float]] = {}
        self._revoked: frozenset[str] = frozenset()
        self._revoked_at: float | None = None

    async def holder(self, thumbprint: str) -> Holder:
        """Whose certificate this is.

        Raises:
            CertificateRefused: unknown, expired or revoked.
        """
        await self._refresh_revocations()
        if thumbprint in self._revoked:
            raise CertificateRefused("the certificate is revoked")
        holder = await self._find(thumbprint)
        if holder.not_after <= self._clock.now():
            raise CertificateRefused(f"the certificate ended at {holder.not_after:%Y-%m-%d %H:%M} UTC")
        return holder

    async def revoked_now(self, thumbprint: str) -> bool:
        """Whether it is on the list as the store has it in this moment."""
        self._revoked_at = None
        await self._refresh_revocations()
        return thumbprint in self._revoked

    async def _find(self, thumbprint: str) -> Holder:
        now = self._clock.monotonic()
        known = self._known.get(thumbprint)
        if known is not None and now - known[1] < ENTRY_SECONDS:
            return known[0]
        entry = await self._directory.find(CertificateEntry, CertificateEntry.id_of(thumbprint))
        if entry is None or entry.revoked:
            raise CertificateRefused("the certificate is not one of ours, or revoked")
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = serialization.load_der_public_key(base64.b64decode(entry.public_key))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise CertificateRefused("the certificate's key is not an EC key")
        holder = Holder(
            entry.org_id,
            entry.node_id,
            entry.certificate_id,
            thumbprint,
            key,
            entry.not_after,
            entry.shard,
            entry.place,
        )
        if len(self._known) >= MAX_ENTRIES:
            self._known.pop(next(iter(self._known)))
        self._known[thumbprint] = (holder, now)
        return holder

    async def _refresh_revocations(self) -> None:
        now = self._clock.monotonic()
        if self._revoked_at is not None and now - self._revoked_at < REVOCATIONS_SECONDS:
            return
        found = await self._directory.find(Revocations, REVOCATIONS_ID)
        self._revoked = frozenset(found.revoked) if found else frozenset()
        self._revoked_at = now

    async def revoke(self, thumbprint: str, serial: str, not_after: datetime) -> None:
        """Put a certificate on the list; those that have ended meanwhile leave it."""
        now = int(self._clock.now().timestamp())

        def add(list_: Revocations) -> Revocations:
            alive = {key: one for key, one in list_.revoked.items() if one.until > now}
            return list_.having(
                revoked={**alive, thumbprint: Revocation(serial=serial, at=now, until=int(not_after.timestamp()))}
            )

        await self._change_list(add)
        with contextlib.suppress(NotFound):  # its issue was never finished
            await self._directory.update(
                CertificateEntry, CertificateEntry.id_of(thumbprint), lambda entry: entry.having(revoked=True)
            )
        self._known.pop(thumbprint, None)
        self._revoked |= {thumbprint}

    async def _change_list(self, change: Callable[[Revocations], Revocations]) -> None:
        try:
            await self._directory.update(Revocations, REVOCATIONS_ID, change)
        except NotFound:
            try:
                await self._directory.create(change(Revocations(id=REVOCATIONS_ID)))
            except AlreadyExists:
                await self._directory.update(Revocations, REVOCATIONS_ID, change)

    async def revoked(self) -> list[Revocation]:
        """All that stand on the list."""
        found = await self._directory.find(Revocations, REVOCATIONS_ID)
        return list(found.revoked.values()) if found else []
