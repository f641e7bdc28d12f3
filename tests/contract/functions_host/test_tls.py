"""TLS: the host's certificate, a caller's certificate as X-ARR-ClientCert, and forged ones."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.functions_host import APPS, HostProcess


@dataclass
class Issued:
    """A certificate and its key, on disk."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    certificate_file: Path
    key_file: Path


def issue(folder: Path, name: str, issuer: Issued | None = None) -> Issued:
    """A certificate for localhost; an authority if it has no issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
    )
    made = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Issued(made, key, certificate_file, key_file)


@dataclass
class Tls:
    """A host with TLS, and certificates of callers."""

    host: HostProcess
    authority: Issued
    known: Issued
    foreign: Issued

    def headers(self, client: Issued | None = None, **headers: str) -> dict[str, str]:
        """The headers that a function saw."""
        answer = requests.get(
            f"https://localhost:{self.host.port}/api/echo",
            verify=str(self.authority.certificate_file),
            cert=(str(client.certificate_file), str(client.key_file)) if client else None,
            headers=headers,
            timeout=30,
        )
        assert answer.status_code == 200
        found: dict[str, str] = answer.json()["headers"]
        return found


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder = tmp_path_factory.mktemp("tls")
    authority = issue(folder, "authority")
    own = issue(folder, "host", authority)
    foreign_authority = issue(folder, "foreign-authority")
    host = HostProcess(
        APPS / "http_sample",
        folder / "data",
        *("--tls-cert", str(own.certificate_file), "--tls-key", str(own.key_file)),
        *("--client-ca", str(authority.certificate_file)),
        ca=authority.certificate_file,
    )
    with host:
        yield Tls(host, authority, issue(folder, "known", authority), issue(folder, "foreign", foreign_authority))


def test_without_a_certificate_there_is_no_header(tls: Tls) -> None:
    assert "x-arr-clientcert" not in tls.headers()


def test_a_callers_certificate_reaches_the_app(tls: Tls) -> None:
    header = tls.headers(tls.known)["x-arr-clientcert"]
    assert x509.load_der_x509_certificate(base64.b64decode(header)) == tls.known.certificate


@pytest.mark.parametrize("with_certificate", [False, True], ids=["without a certificate", "over a real one"])
def test_a_forged_header_never_reaches_the_app(tls: Tls, with_certificate: bool) -> None:
    headers = tls.headers(tls.known if with_certificate else None, **{"X-ARR-ClientCert": "forged"})
    assert headers.get("x-arr-clientcert") != "forged"
    assert ("x-arr-clientcert" in headers) is with_certificate


def test_requests_of_one_connection_all_carry_it_and_other_connections_do_not(tls: Tls) -> None:
    with requests.Session() as session:
        session.cert = (str(tls.known.certificate_file), str(tls.known.key_file))
        authority = str(tls.authority.certificate_file)
        url = f"https://localhost:{tls.host.port}/api/echo"
        for _ in range(3):
            assert "x-arr-clientcert" in session.get(url, verify=authority, timeout=30).json()["headers"]
            assert "x-arr-clientcert" not in tls.headers()


def test_a_certificate_of_a_foreign_authority_is_refused_in_the_handshake(tls: Tls) -> None:
    with pytest.raises((requests.exceptions.SSLError, requests.exceptions.ConnectionError)):
        tls.headers(tls.foreign)


def test_the_url_that_a_function_sees_is_https(tls: Tls) -> None:
    answer = requests.get(
        f"https://localhost:{tls.host.port}/api/echo", verify=str(tls.authority.certificate_file), timeout=30
    )
    assert answer.json()["url"] == f"https://localhost:{tls.host.port}/api/echo"


def test_the_durable_client_works_behind_tls_and_its_path_is_for_this_machine_alone(tmp_path: Path) -> None:
    authority = issue(tmp_path, "authority")
    own = issue(tmp_path, "host", authority)
    host = HostProcess(
        APPS / "durable_sample",
        tmp_path / "data",
        *("--tls-cert", str(own.certificate_file), "--tls-key", str(own.key_file)),
        ca=authority.certificate_file,
        env={"DURABLE_SAMPLE_FILE": str(tmp_path / "marks")},
    )
    with host:
        keys = host.keys()
        started = host.call(
            "POST", "/start/chain?id=behind-tls", json=[1], headers={"x-functions-key": keys["host"]["default"]}
        )
        assert started.status_code in (200, 202), started.text
        path = "/runtime/webhooks/durabletask/instances/behind-tls"
        assert host.call("GET", path).status_code == 401
        assert host.call("GET", f"{path}?code={keys['host']['default']}").status_code == 401
        for key in (keys["system"]["durabletask_extension"], keys["master"]):
            assert host.call("GET", f"{path}?code={key}").status_code in (200, 202)
        assert host.call("GET", "/durabletask/guessed/instances/behind-tls").status_code == 404
