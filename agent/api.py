"""Calling the control plane: HTTPS with a proof of possession on each call, through a proxy where one is set."""

from __future__ import annotations

import asyncio
import base64
import http.client
import os
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from agent import __version__
from agent.identity import Identity
from shared.messaging import codec
from shared.messaging.proof import PROOF_HEADER, Proof, body_digest, make_proof

T = TypeVar("T")
_MAX_ANSWER: Final = 1024 * 1024
_TIMEOUT: Final = 30.0


class ApiUnreachable(Exception):
    """No answer: no line, no name, no TLS, or a gateway that could not reach the API."""


class ApiRefused(Exception):
    """An answer, and it is no. `code` is the problem's stable code."""

    def __init__(self, status: int, code: str, detail: str, retry_after: float | None) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail, self.retry_after = status, code, detail, retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON that came, and how far our clock is from the server's (theirs minus ours, seconds)."""

    body: Any
    skew: float


class Api:
    """The control plane, as an agent calls it."""

    def __init__(self, url: str, ca_file: str = "", environment: Mapping[str, str] = os.environ) -> None:
        self.url = url
        self._parts = urlsplit(url)
        self._ca_file = ca_file
        self.proxy = proxy_for(self._parts.scheme, self._parts.hostname or "", environment)
        self._context: ssl.SSLContext | None = None
        self.skew = 0.0

    async def post(self, path: str, body: object, kind: type[T], identity: Identity | None = None) -> T:
        """Call, and read the answer as `kind`.

        Raises:
            ApiUnreachable: there was no answer of the API.
            ApiRefused: it refused.
        """
        return await asyncio.to_thread(self._post, path, codec.to_json(body), kind, identity)

    def _post(self, path: str, body: bytes, kind: type[T], identity: Identity | None) -> T:
        headers = {"Content-Type": "application/json", "User-Agent": f"meridian-agent/{__version__}"}
        target = f"{self._parts.path}{path}"
        if identity is not None:
            proof = Proof(
                secrets.token_urlsafe(16), "POST", target, identity.papers.domain, datetime.now(UTC), body_digest(body)
            )
            headers[PROOF_HEADER] = make_proof(proof, identity.key, identity.papers.certificate.thumbprint)
        status, answer_headers, answer = self._exchange(target, body, headers)
        if status >= 400:
            raise _refusal(status, answer_headers, answer)
        try:
            return codec.from_json(kind, answer, _MAX_ANSWER)
        except codec.WireError as error:
            raise ApiUnreachable(f"{self.url}{path} answered what no control plane does: {error}") from None

    def _exchange(self, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        connection = self.connection()
        try:
            before = time.time()
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            data = response.read(_MAX_ANSWER + 1)
            self._measure_skew(response.headers.get("Date"), (before + time.time()) / 2)
            return response.status, dict(response.headers.items()), data
        except (OSError, http.client.HTTPException) as error:
            raise ApiUnreachable(f"{self.url}: {str(error) or type(error).__name__}") from None
        finally:
            connection.close()

    def connection(self, seconds: float = _TIMEOUT) -> http.client.HTTPConnection:
        """The way to the API, not dialled yet; `seconds` is how long each wait on it may take."""
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme != "https":
            return http.client.HTTPConnection(host, port or 80, timeout=seconds)
        if self.proxy is None:
            return http.client.HTTPSConnection(host, port or 443, timeout=seconds, context=self._tls())
        connection = http.client.HTTPSConnection(self.proxy.host, self.proxy.port, timeout=seconds, context=self._tls())
        connection.set_tunnel(host, port or 443, self.proxy.headers)
        return connection

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca_file or None)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._context

    def _measure_skew(self, date: str | None, at: float) -> None:
        if date:
            try:
                self.skew = parsedate_to_datetime(date).timestamp() + 0.5 - at  # the header's seconds are cut off
            except ValueError:
                return


@dataclass(frozen=True, slots=True)
class Proxy:
    """Through which calls go. `headers` may hold its password."""

    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def proxy_for(scheme: str, host: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy of the usual variables (`HTTPS_PROXY`, `NO_PROXY`)."""
    exempt = (environment.get("no_proxy") or environment.get("NO_PROXY") or "").split(",")
    if any(
        one.strip() and (one.strip() == "*" or f".{host}".endswith(f".{one.strip().lstrip('.')}")) for one in exempt
    ):
        return None
    if scheme != "https" or host in ("localhost", "127.0.0.1", "::1"):
        return None
    text = environment.get("https_proxy") or environment.get("HTTPS_PROXY")
    if not text:
        return None
    parts = urlsplit(text if "//" in text else f"//{text}")
    headers = {}
    if parts.username is not None:
        known = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(known).decode()}"
    return Proxy(parts.hostname or "", parts.port or 3128, headers)


def _refusal(status: int, headers: Mapping[str, str], answer: bytes) -> Exception:
    try:
        problem = codec.load_json(answer, _MAX_ANSWER)
    except codec.WireError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    code, detail = str(problem.get("code", "unknown"))[:64], str(problem.get("detail", ""))[:1000]
    retry_after = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    if status in (502, 503, 504) and code == "unknown":
        return ApiUnreachable(f"a gateway answered {status}")
    return ApiRefused(status, code, detail, float(retry_after) if retry_after.isdecimal() else None)
