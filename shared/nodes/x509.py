"""Keys and X.509 certificates as our authority makes them (RFC 5280), and what is read of a stranger's request."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, ConfigDict

from shared.messaging import jws
from shared.nodes.errors import BadCsr
from shared.platform.clock import Timestamp

#: Certificates begin a little in the past, for machines whose clocks are a little behind.
BACKDATED: Final = timedelta(minutes=5)


class KeyPair(BaseModel):
    """A private key with its certificate; `not_after` is the certificate's."""

    model_config = ConfigDict(frozen=True)
    key_pem: str
    certificate_pem: str
    not_before: Timestamp
    not_after: Timestamp

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The private key."""
        key = serialization.load_pem_private_key(self.key_pem.encode(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("an authority's key is not an EC key")
        return key

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate."""
        return x509.load_pem_x509_certificate(self.certificate_pem.encode())

    def __repr__(self) -> str:
        return f"KeyPair(until {self.not_after:%Y-%m-%d})"


def thumbprint(certificate: x509.Certificate) -> str:
    """The SHA-256 thumbprint in base64url (`x5t#S256`)."""
    return jws.b64url(hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest())


def key_of(csr_pem: str) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = request.public_key()
        signed = request.is_signature_valid
    except Exception as error:  # noqa: BLE001  # whatever a parser says of a stranger's bytes: they are no request
        raise BadCsr(f"it cannot be read: {error}"[:300]) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadCsr("its key is not on the curve P-256")
    if not signed:
        raise BadCsr("it is not signed by its own key")
    return key


def key_digest(csr_pem: str) -> str:
    """The digest of a request's public key: tells whether two requests are for one key.

    Raises:
        BadCsr: not a request.
    """
    encoding = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key_of(csr_pem).public_bytes(*encoding)).hexdigest()


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def pair_of(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, chain: str = "") -> KeyPair:
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return KeyPair(
        key_pem=key.private_bytes(*encoding).decode(),
        certificate_pem=pem(certificate) + chain,
        not_before=certificate.not_valid_before_utc + BACKDATED,
        not_after=certificate.not_valid_after_utc,
    )


def make_certificate(
    public: ec.EllipticCurvePublicKey,
    name: str,
    issuer: x509.Certificate | None,
    signing_key: ec.EllipticCurvePrivateKey,
    start: datetime,
    end: datetime,
    *,
    ca: int | None = None,
    uri: str | None = None,
    usage: list[x509.ObjectIdentifier] | None = None,
) -> x509.Certificate:
    """`ca` is the path length of an authority, None for a leaf; `issuer` None signs itself."""
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Meridian"), x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]
    )
    authority = ca is not None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
        .add_extension(_key_usage(authority), critical=True)
    )
    if uri is not None:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
        )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    return builder.sign(signing_key, hashes.SHA256())


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
