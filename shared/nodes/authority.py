"""Our certificate authority: a root that is pinned by agents, an issuing authority below it, and the keys that sign commands.

    root (10 years, path length 1)
     └─ issuing authority (1 year; the next one 60 days before the end, both stand until then)
         ├─ node certificates (30 days): spiffe://<domain>/org/<org>/node/<node>
         └─ command signers (90 days; published a day before they sign)

Names after SPIFFE (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md), certificates after RFC 5280.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import TypeAdapter

from shared.nodes.x509 import BACKDATED, KeyPair, key_of, make_certificate, pair_of, pem, thumbprint
from shared.platform.clock import Clock
from shared.platform.secrets import Secrets

ROOT_SECRET: Final = "node-authority-root"  # noqa: S105  # a secret's name
ISSUERS_SECRET: Final = "node-authority-issuers"  # noqa: S105
SIGNERS_SECRET: Final = "command-signers"  # noqa: S105

ROOT_LIFE: Final = timedelta(days=3650)
ISSUER_LIFE: Final = timedelta(days=365)
ISSUER_OVERLAP: Final = timedelta(days=60)
#: A new issuing authority signs nothing for so long. Of two that two instances made at once one is lost by then, and no
#: certificate with it.
ISSUER_AHEAD: Final = timedelta(hours=24)
NODE_LIFE: Final = timedelta(days=30)
NODE_RENEW_AFTER: Final = NODE_LIFE * 2 / 3
SIGNER_LIFE: Final = timedelta(days=90)
SIGNER_OVERLAP: Final = timedelta(days=30)
SIGNER_AHEAD: Final = timedelta(hours=24)


_PAIR: Final = TypeAdapter(KeyPair)
_PAIRS: Final = TypeAdapter(tuple[KeyPair, ...])


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate for a node."""

    chain_pem: str
    thumbprint: str
    serial: str
    issuer: str
    public_key: str
    not_before: datetime
    not_after: datetime
    renew_after: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs commands; its id is its certificate's thumbprint."""

    key: ec.EllipticCurvePrivateKey
    key_id: str
    chain_pem: str
    not_before: datetime


class Authority:
    """See the module. Keys come from the secret store and are parsed once; renewal happens when they are next used."""

    def __init__(self, secrets: Secrets, clock: Clock, domain: str) -> None:
        self._secrets, self._clock, self.domain = secrets, clock, domain
        self._issuers: tuple[tuple[str, KeyPair, ec.EllipticCurvePrivateKey], ...] = ()
        self._signers: dict[str, Signer] = {}

    async def root_pem(self) -> str:
        """The root certificate, which agents pin."""
        return (await self._root()).certificate_pem

    async def root_fingerprint(self) -> str:
        """The root's SHA-256 in hex, to be compared by hand or by `--root-sha256`."""
        der = (await self._root()).certificate.public_bytes(serialization.Encoding.DER)
        return hashlib.sha256(der).hexdigest()

    async def issue(self, csr_pem: str, org_id: str, node_id: str) -> Issued:
        """A certificate for the key of a request; the name is ours to say.

        Raises:
            BadCsr: not a request, not signed by its key, or not a P-256 key.
        """
        public = key_of(csr_pem)
        _, issuer, issuer_key = await self._issuer()
        now = self._clock.now()
        end = min(now + NODE_LIFE, issuer.not_after)
        uri = f"spiffe://{self.domain}/org/{org_id}/node/{node_id}"
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
        leaf = make_certificate(
            public, node_id, issuer.certificate, issuer_key, now - BACKDATED, end, uri=uri, usage=usage
        )
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return Issued(
            chain_pem=pem(leaf) + issuer.certificate_pem,
            thumbprint=thumbprint(leaf),
            serial=f"{leaf.serial_number:x}",
            issuer=thumbprint(issuer.certificate),
            public_key=base64.b64encode(der).decode(),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            renew_after=now + min(NODE_RENEW_AFTER, (end - now) * 2 / 3),
        )

    async def signer(self) -> Signer:
        """The key that signs commands now: the newest that has been published for a day, or the only one."""
        signers = await self._all_signers()
        now = self._clock.now()
        ready = [signer for signer in signers if now - signer.not_before >= SIGNER_AHEAD]
        return ready[-1] if ready else signers[0]

    async def signer_chains(self) -> tuple[str, ...]:
        """The certificates of every key that may sign commands, for agents."""
        return tuple(signer.chain_pem for signer in await self._all_signers())

    async def revocation_list(self, revoked: list[tuple[int, datetime]]) -> bytes:
        """A CRL (PEM) of these serial numbers by each of our issuing authorities: a list speaks for its own issuer alone."""
        await self._issuer()
        now = self._clock.now()
        found = b""
        for _, issuer, key in self._issuers:
            builder = x509.CertificateRevocationListBuilder(
                issuer_name=issuer.certificate.subject, last_update=now, next_update=now + timedelta(days=1)
            )
            for serial, at in revoked:
                entry = x509.RevokedCertificateBuilder(serial_number=serial, revocation_date=at).build()
                builder = builder.add_revoked_certificate(entry)
            found += builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return found

    async def check_chain(self, certificate: x509.Certificate) -> bool:
        """Whether one of our issuing authorities signed this certificate, and it is for clients."""
        await self._issuer()
        try:
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            return False
        if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
            return False
        for _, issuer, _key in self._issuers:
            try:
                certificate.verify_directly_issued_by(issuer.certificate)
                return True
            except Exception:  # noqa: BLE001, S112  # the library has three kinds of exception for the one answer "no"
                continue
        return False

    # ---------------------------------------------------------------- keys

    async def _root(self) -> KeyPair:
        found = await self._secrets.get(ROOT_SECRET)
        if found is None:
            now = self._clock.now()
            key = ec.generate_private_key(ec.SECP256R1())
            end = now + ROOT_LIFE
            made = make_certificate(
                key.public_key(), f"Meridian nodes root ({self.domain})", None, key, now - BACKDATED, end, ca=1
            )
            found = await self._secrets.create(ROOT_SECRET, pair_of(key, made).model_dump_json())
        return _PAIR.validate_json(found)

    async def _issuer(self) -> tuple[str, KeyPair, ec.EllipticCurvePrivateKey]:
        now = self._clock.now()
        stored = await self._secrets.get(ISSUERS_SECRET)
        pairs = _PAIRS.validate_json(stored) if stored else ()
        alive = tuple(pair for pair in pairs if pair.not_after > now)
        if not alive or alive[-1].not_after - now < ISSUER_OVERLAP:
            alive = await self._add_issuer(alive, now)
        if [one[0] for one in self._issuers] != [pair.certificate_pem for pair in alive]:
            self._issuers = tuple((pair.certificate_pem, pair, pair.key) for pair in alive)
        ready = [one for one in self._issuers if now - one[1].not_before >= ISSUER_AHEAD]
        return ready[-1] if ready else self._issuers[0]

    async def _add_issuer(self, alive: tuple[KeyPair, ...], now: datetime) -> tuple[KeyPair, ...]:
        root = await self._root()
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"Meridian nodes issuing {now:%Y-%m} ({self.domain})"
        made = make_certificate(
            key.public_key(), name, root.certificate, root.key, now - BACKDATED, now + ISSUER_LIFE, ca=0
        )
        return await self._keep(ISSUERS_SECRET, (*alive, pair_of(key, made)), first=not alive)

    async def _all_signers(self) -> list[Signer]:
        now = self._clock.now()
        stored = await self._secrets.get(SIGNERS_SECRET)
        pairs = _PAIRS.validate_json(stored) if stored else ()
        alive = tuple(pair for pair in pairs if pair.not_after > now)
        if not alive or alive[-1].not_after - now < SIGNER_OVERLAP:
            alive = await self._add_signer(alive, now)
        return [self._signer(pair) for pair in alive]

    def _signer(self, pair: KeyPair) -> Signer:
        found = self._signers.get(pair.certificate_pem)
        if found is None:
            leaf = x509.load_pem_x509_certificates(pair.certificate_pem.encode())[0]
            found = Signer(pair.key, thumbprint(leaf), pair.certificate_pem, pair.not_before)
            self._signers[pair.certificate_pem] = found
        return found

    async def _add_signer(self, alive: tuple[KeyPair, ...], now: datetime) -> tuple[KeyPair, ...]:
        _, issuer, issuer_key = await self._issuer()
        key = ec.generate_private_key(ec.SECP256R1())
        end = min(now + SIGNER_LIFE, issuer.not_after)
        uri = f"spiffe://{self.domain}/control-plane/commands"
        made = make_certificate(
            key.public_key(), "Meridian commands", issuer.certificate, issuer_key, now - BACKDATED, end, uri=uri
        )
        pair = pair_of(key, made, chain=issuer.certificate_pem)
        return await self._keep(SIGNERS_SECRET, (*alive, pair), first=not alive)

    async def _keep(self, name: str, pairs: tuple[KeyPair, ...], *, first: bool) -> tuple[KeyPair, ...]:
        """Store a ring. Of two instances that make the first one at once, one wins; a later addition is the last writer's,
        and the loser's pair, which nobody has seen for longer than a moment, is gone with the next read."""
        value = _PAIRS.dump_json(pairs).decode()
        if first and await self._secrets.get(name) is None:
            return _PAIRS.validate_json(await self._secrets.create(name, value))
        await self._secrets.set(name, value)
        return pairs
