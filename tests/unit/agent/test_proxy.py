"""Behind a proxy: the only way out, with a name and a password, to a host that this machine cannot even resolve."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.api import Api, ApiUnreachable, proxy_for
from agent.config import Config
from agent.doctor import examine
from shared.messaging.agent_api import BeatAnswer

HOST = "console.invalid"  # a name that nobody can resolve (RFC 6761)
KNOWN = "Basic " + base64.b64encode(b"ann:p@ss").decode()


def certificate(folder: Path) -> Path:
    """A certificate of its own making for the control plane, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Corporate Proxy")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = folder / "console.pem"
    file.write_bytes(key.private_bytes(*encoding) + made.public_bytes(serialization.Encoding.PEM))
    return file


@dataclass
class Network:
    """A control plane that speaks TLS, and a proxy that is the one way to it."""

    ca_file: Path
    proxy_port: int = 0
    tls_port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)  # what the proxy was asked, and by whom

    def environment(self, user: str = "ann:p%40ss@") -> dict[str, str]:
        return {"HTTPS_PROXY": f"http://{user}127.0.0.1:{self.proxy_port}"}

    def config(self, folder: Path, ca_file: str | None = None) -> Config:
        return Config(
            api_url=f"https://{HOST}", folder=str(folder), ca_file=str(self.ca_file) if ca_file is None else ca_file
        )

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        await reader.readexactly(length)
        date = formatdate(usegmt=True)
        writer.write(f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()

    async def tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        known = next((line[21:] for line in head.split("\r\n") if line.startswith("Proxy-Authorization: ")), "")
        self.asked.append((head.split("\r\n")[0].split()[1], known))
        if known != KNOWN:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        there, back = await asyncio.open_connection("127.0.0.1", self.tls_port)
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest_asyncio.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    made = Network(certificate(tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.ca_file)
    async with (
        await asyncio.start_server(made.answer, "127.0.0.1", 0, ssl=context) as plane,
        await asyncio.start_server(made.tunnel, "127.0.0.1", 0) as proxy,
    ):
        made.tls_port, made.proxy_port = (one.sockets[0].getsockname()[1] for one in (plane, proxy))
        yield made


async def doctor(config: Config, environment: dict[str, str]) -> dict[str, tuple[str, str]]:
    found = await asyncio.to_thread(examine, config, environment)
    return {one.subject: (one.verdict, one.text) for one in found}


async def test_calls_go_through_it_with_its_password(network: Network) -> None:
    api = Api(f"https://{HOST}", str(network.ca_file), network.environment())
    await api.post("/v1/agent/beat", {}, BeatAnswer)
    assert network.asked == [(f"{HOST}:443", KNOWN)]
    stranger = Api(f"https://{HOST}", str(network.ca_file), network.environment(user=""))
    with pytest.raises(ApiUnreachable, match="407"):
        await stranger.post("/v1/agent/beat", {}, BeatAnswer)


async def test_the_doctor_looks_the_way_that_calls_go(network: Network, tmp_path: Path) -> None:
    found = await doctor(network.config(tmp_path), network.environment())
    assert "dns" not in found, "the proxy resolves names"
    assert found["proxy"][0] == "warn", "messages do not go through it"
    assert (found["tls"][0], "Corporate Proxy" in found["tls"][1]) == ("ok", True)
    assert (found["clock"][0], found["api"][0]) == ("ok", "ok")
    assert "p@ss" not in str(found)
    assert "p%40ss" not in str(found)


async def test_a_line_that_the_proxy_opens_is_told(network: Network, tmp_path: Path) -> None:
    found = await doctor(network.config(tmp_path, ca_file=""), network.environment())
    assert (found["tls"][0], "a proxy that opens TLS?" in found["tls"][1]) == ("fail", True)


async def test_a_proxy_that_refuses_or_is_away_is_told(network: Network, tmp_path: Path) -> None:
    found = await doctor(network.config(tmp_path), network.environment(user=""))
    assert (found["proxy"][0], "407" in found["proxy"][1]) == ("fail", True)
    found = await doctor(network.config(tmp_path), {"HTTPS_PROXY": "http://127.0.0.1:1"})
    assert found["proxy"][0] == "fail"


@pytest.mark.parametrize(
    ("host", "exempt", "through"),
    [
        (HOST, "", True),
        (HOST, "other.invalid", True),
        (HOST, "invalid", False),
        (HOST, " .console.invalid ,x", False),
        (HOST, "*", False),
        ("localhost", "", False),
    ],
)
def test_who_is_exempt(host: str, exempt: str, through: bool) -> None:
    found = proxy_for("https", host, {"https_proxy": "p:1", "NO_PROXY": exempt})
    assert (found is not None) == through
