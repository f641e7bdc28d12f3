"""A Key Vault at the wire, as far as the secrets' SDK uses it: HTTPS, the challenge, versions, soft delete; and the
endpoint of App Service at which an app's managed identity asks for tokens. Both can be told to fail.

API: https://learn.microsoft.com/en-us/rest/api/keyvault/secrets (7.6); the identity endpoint:
https://learn.microsoft.com/en-us/azure/app-service/overview-managed-identity#rest-endpoint-reference.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from local.servicebus.tls import ensure_certificates

TENANT = "11111111-2222-3333-4444-555555555555"


class VaultStandIn:
    """One vault and one identity, each on a port of its own; `fail` and friends change how it answers."""

    def __init__(self, folder: Path) -> None:
        self._ca, context = ensure_certificates(folder, ["127.0.0.1"])
        self.kept: dict[str, list[tuple[str, str]]] = {}
        self.deleted: dict[str, list[tuple[str, str]]] = {}
        self.asked: list[tuple[str, str, int]] = []
        self.fail: tuple[int, str] | None = None  # a status and an error code, for every request that has a good token
        self.retry_after: int | None = None
        self.silent = threading.Event()  # while it is set nothing is answered
        self.tokens: set[str] = set()
        self._header = secrets.token_hex(16)
        self._vault = _serve(_VaultHandler, self)
        self._vault.socket = context.wrap_socket(self._vault.socket, server_side=True)
        self._identity = _serve(_IdentityHandler, self)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._vault.server_port}"

    @property
    def ca_file(self) -> str:
        return str(self._ca)

    @property
    def resource(self) -> str:
        """What tokens are for. The SDK demands that the vault's host ends with a dot and this: `127` + `.0.0.1`."""
        return f"https://0.0.1:{self._vault.server_port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that App Service gives to an app with an identity."""
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self._identity.server_port}/msi/token",
            "IDENTITY_HEADER": self._header,
        }

    def versions(self, name: str) -> list[str]:
        """The values of a secret, oldest first."""
        return [value for _, value in self.kept.get(name, [])]

    def put(self, name: str, value: str) -> None:
        """As an operator does in the portal: a new version."""
        self.kept.setdefault(name, []).append((secrets.token_hex(16), value))

    def delete(self, name: str) -> None:
        """As an operator does; the name stays taken until it is purged."""
        self.deleted[name] = self.kept.pop(name)

    def requests(self, status: int) -> int:
        """How many requests to the vault got that status."""
        return sum(1 for _, _, each in self.asked if each == status)

    def __enter__(self) -> Self:
        for server in (self._vault, self._identity):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.silent.clear()
        for server in (self._vault, self._identity):
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    world: VaultStandIn

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up in the handshake or while it waits is part of the tests."""


def _serve(handler: type[BaseHTTPRequestHandler], world: VaultStandIn) -> _Server:
    server = _Server(("127.0.0.1", 0), handler)
    server.world = world
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        return

    def answer(self, status: int, body: dict[str, Any], **headers: str) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(raw)


class _IdentityHandler(_Handler):
    def do_GET(self) -> None:
        world, query = self.server.world, parse_qs(urlsplit(self.path).query)
        if self.headers.get("X-IDENTITY-HEADER") != world._header or query.get("resource") != [world.resource]:
            self.answer(400, {"error": "invalid_request", "error_description": "wrong header or resource"})
            return
        token = secrets.token_urlsafe(24)
        world.tokens.add(token)
        self.answer(
            200,
            {
                "access_token": token,
                "expires_on": str(int(time.time()) + 3600),
                "resource": world.resource,
                "token_type": "Bearer",
            },
        )


class _VaultHandler(_Handler):
    def do_GET(self) -> None:
        self._handle("GET")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def _handle(self, method: str) -> None:
        world = self.server.world
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        while world.silent.is_set():
            time.sleep(0.05)
        status, body, headers = self._decide(method, sent)
        world.asked.append((method, urlsplit(self.path).path, status))
        self.answer(status, body, **headers)

    def _decide(self, method: str, sent: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        world = self.server.world
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in world.tokens:
            challenge = (
                f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{world.resource}"'
            )
            return 401, _error("Unauthorized", "AKV10000: no token"), {"WWW_Authenticate": challenge}
        if world.fail is not None:
            status, code = world.fail
            return status, _error(code, "told to"), {"Retry_After": str(world.retry_after)} if world.retry_after else {}
        parts = urlsplit(self.path).path.strip("/").split("/")
        if len(parts) not in (2, 3) or parts[0] != "secrets":
            return 404, _error("NotFound", "no such address"), {}
        name = parts[1]
        if method == "PUT":
            if name in world.deleted:
                return (
                    409,
                    _error("Conflict", "in a deleted but recoverable state", "ObjectIsDeletedButRecoverable"),
                    {},
                )
            world.put(name, json.loads(sent)["value"])
        return self._bundle(name, parts[2] if len(parts) == 3 else "")

    def _bundle(self, name: str, version: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        world = self.server.world
        found = [each for each in world.kept.get(name, []) if version in ("", each[0])]
        if not found:
            return 404, _error("SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault"), {}
        id, value = found[-1]
        attributes = {"enabled": True, "created": 0, "updated": 0, "recoveryLevel": "Recoverable+Purgeable"}
        return 200, {"value": value, "id": f"{world.url}/secrets/{name}/{id}", "attributes": attributes}, {}


def _error(code: str, message: str, inner: str | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **({"innererror": {"code": inner}} if inner else {})}}
