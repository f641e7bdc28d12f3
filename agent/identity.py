"""Who this node is: a key that never leaves, the certificate that speaks for it, and what it trusts."""

from __future__ import annotations

import hashlib
import itertools
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.messaging import codec, jws
from shared.messaging.agent_api import Certificate, EnrolAnswer

if TYPE_CHECKING:
    from cryptography import x509

KEY, NEW_KEY, NODE = "node.key", "node.key.new", "node.json"
_MAX_NODE_FILE: Final = 256 * 1024


class IdentityError(Exception):
    """The node's papers are missing, damaged, or do not fit together."""


@dataclass(frozen=True, slots=True)
class Papers:
    """What enrolment gave, kept as `node.json`; `command_keys` maps a key id to a PEM public key, checked up to the root."""

    api_url: str
    node_id: str
    org_id: str
    name: str
    domain: str
    certificate: Certificate
    root_pem: str


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.tmp")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def make_key(path: Path) -> jws.PrivateKey:
    """A new P-256 key in a file of mode 0600."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write_private(path, key.private_bytes(*encoding))
    return key


def load_key(path: Path) -> jws.PrivateKey:
    """The key of a file.

    Raises:
        IdentityError: it is not there, not a P-256 key, or others may read it.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise IdentityError(f"{path} can be read by others; chmod 600 it, and enrol this node again if it was read")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise IdentityError(f"{path}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IdentityError(f"{path} is not a P-256 key")
    return key


def key_for(token: str) -> str:
    """The name of the key that is made for one token, beside the one in use until that token has brought papers."""
    return f"{KEY}.{hashlib.sha256(token.encode()).hexdigest()[:16]}"


def make_csr(key: jws.PrivateKey, name: str) -> str:
    """A request for a certificate. The name in it is decoration: the control plane decides who the node is."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "node")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def check_certificate(key: jws.PrivateKey, certificate: Certificate, root_pem: str) -> None:
    """Whether what came back is for our key, named rightly, and chains up to the root.

    Raises:
        IdentityError: it is not.
    """
    from cryptography import x509

    chain = x509.load_pem_x509_certificates(certificate.chain_pem.encode())
    leaf = chain[0]
    if _public_bytes(leaf.public_key()) != _public_bytes(key.public_key()):
        raise IdentityError("the certificate is not for this node's key")
    if thumbprint_of(leaf) != certificate.thumbprint:
        raise IdentityError("the certificate is not the one that its thumbprint names")
    check_chain(chain, root_pem, datetime.now(UTC))


def check_chain(chain: list[x509.Certificate], root_pem: str, now: datetime) -> None:
    """Whether each certificate is issued by the next and the last by the pinned root, all within their dates.

    Raises:
        IdentityError: it is not so.
    """
    from cryptography import x509

    root = x509.load_pem_x509_certificate(root_pem.encode())
    path = [*chain, root]
    for child, parent in itertools.pairwise(path):
        try:
            child.verify_directly_issued_by(parent)
        except (
            Exception
        ) as error:  # the library raises ValueError, TypeError and InvalidSignature for the one answer "no"
            raise IdentityError(f"the certificate of {child.subject.rfc4514_string()} does not chain up") from error
        constraints = parent.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca:
            raise IdentityError(f"{parent.subject.rfc4514_string()} is not an authority")
    for one in path:
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            raise IdentityError(
                f"the certificate of {one.subject.rfc4514_string()} is not valid at {now:%Y-%m-%d %H:%M} UTC"
            )


def thumbprint_of(certificate: x509.Certificate) -> str:
    """The SHA-256 thumbprint in base64url, as `x5t#S256` has it."""
    return jws.b64url(hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest())


def _public_bytes(key: object) -> bytes:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class Identity:
    """The node's papers and key, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.papers, self.key = _load(folder)

    @classmethod
    def enrolled(cls, folder: Path) -> bool:
        """Whether this machine has papers."""
        return (folder / NODE).exists()

    @staticmethod
    def save_enrolment(folder: Path, api_url: str, answer: EnrolAnswer, key_file: Path) -> None:
        """Keep what enrolment gave, and of all keys the one that it is for.

        Timeline of a crash: see `renewed`.
        """
        papers = Papers(
            api_url, answer.node_id, answer.org_id, answer.name, answer.domain, answer.certificate, answer.root_pem
        )
        write_private(folder / NODE, codec.to_json(papers))
        key_file.replace(folder / KEY)
        for left in folder.glob(f"{KEY}.*"):
            left.unlink()

    def renewed(self, certificate: Certificate) -> None:
        """Change to a new certificate, and to the key that was made for it.

        Timeline of a crash: the new key is in node.key.new until the papers name its certificate; `_load` takes
        whichever key fits the papers, so each moment of the change leaves a node that works.
        """
        papers = Papers(
            self.papers.api_url,
            self.papers.node_id,
            self.papers.org_id,
            self.papers.name,
            self.papers.domain,
            certificate,
            self.papers.root_pem,
        )
        write_private(self._folder / NODE, codec.to_json(papers))
        self.papers, self.key = _load(self._folder)


def _load(folder: Path) -> tuple[Papers, jws.PrivateKey]:
    try:
        papers = codec.from_json(Papers, (folder / NODE).read_bytes(), _MAX_NODE_FILE)
    except OSError:
        raise IdentityError(
            f"this machine is not enrolled ({folder / NODE} is not there): meridian-agent enroll"
        ) from None
    except codec.WireError as error:
        raise IdentityError(f"{folder / NODE} is damaged: {error}") from None
    from cryptography import x509

    try:
        leaf = x509.load_pem_x509_certificates(papers.certificate.chain_pem.encode())[0]
    except ValueError as error:
        raise IdentityError(f"{folder / NODE} is damaged: {error}") from None
    wanted = _public_bytes(leaf.public_key())
    problem = IdentityError(f"the key in {folder / KEY} is not that of the certificate; enrol this node again")
    for file in (folder / KEY, *folder.glob(f"{KEY}.*")):
        if file.exists():
            try:
                key = load_key(file)
            except IdentityError as error:  # damaged; the one that fits may lie beside it
                problem = error
                continue
            if _public_bytes(key.public_key()) == wanted:
                if file.name != KEY:
                    file.replace(folder / KEY)
                return papers, key
    raise problem


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that may sign commands, until its certificate ends."""

    key_id: str
    key: jws.PublicKey
    not_after: datetime


def command_keys(chains: tuple[str, ...], papers: Papers, now: datetime) -> dict[str, TrustedKey]:
    """The keys of the certificates that the session named, after checking each up to the pinned root.

    A key counts only with the SPIFFE name of the control plane in its certificate: a node's certificate chains up to
    the same root, and must not be able to command.

    Raises:
        IdentityError: none of them stands.
    """
    from cryptography import x509

    name, found = f"spiffe://{papers.domain}/control-plane/commands", {}
    reason = "the session names none"
    for chain_pem in chains[:8]:
        try:
            chain = x509.load_pem_x509_certificates(chain_pem.encode())
            check_chain(chain, papers.root_pem, now)
            names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, IdentityError, x509.ExtensionNotFound) as error:
            reason = str(error)
            continue
        key = chain[0].public_key()
        if names.get_values_for_type(x509.UniformResourceIdentifier) == [name] and isinstance(
            key, ec.EllipticCurvePublicKey
        ):
            key_id = thumbprint_of(chain[0])
            found[key_id] = TrustedKey(key_id, key, chain[0].not_valid_after_utc)
    if not found:
        raise IdentityError(f"no key that may sign commands: {reason}")
    return found
