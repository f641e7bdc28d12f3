"""The one place that knows whom the tests talk to."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus import ServiceBusClient, TransportType
from azure.servicebus.aio import ServiceBusClient as AioClient
from azure.servicebus.management import QueueProperties, ServiceBusAdministrationClient

from local.servicebus.sas import sign
from tests.support.processes import Part, free_port

CAPABILITIES = {
    "local": frozenset({"sas", "restart", "faults", "websocket", "tls", "many", "exact", "lax", "admin"}),
    "ms-emulator": frozenset({"admin"}),
    "azure": frozenset({"sas", "websocket", "tls", "admin"}),
}
# keep_alive=0: else closing a sender waits for the end of a second's sleep of its keep-alive thread.
QUICK = {"retry_total": 1, "retry_backoff_factor": 0.05, "retry_backoff_max": 0.2, "keep_alive": 0}
RULES = {"listen": "Listen", "send": "Send"}


def fields_of(connection: str) -> dict[str, str]:
    """The `Name=value` pairs of a connection string, names in lower case."""
    pairs = (part.partition("=") for part in connection.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


class _PlainHttp(RequestsTransport):
    """The SDK always says https; Microsoft's emulator speaks http."""

    def send(self, request: Any, **kwargs: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **kwargs)


@dataclass
class Target:
    """An endpoint, and how to reach it."""

    name: str
    connection: str
    admin_connection: str
    ca: str | None = None
    part: Part | None = None
    ports: dict[str, int] = field(default_factory=dict)
    data: Path | None = None

    @property
    def lock_seconds(self) -> int:
        """The shortest lock that the target allows."""
        return 2 if self.name == "local" else 5

    @property
    def host(self) -> str:
        """The name that tokens must carry."""
        endpoint = fields_of(self.connection)["endpoint"]
        return endpoint.split("//")[1].strip("/").split(":")[0]

    def client(self, connection: str | None = None, **options: Any) -> ServiceBusClient:
        """A sync client."""
        return ServiceBusClient.from_connection_string(connection or self.connection, **{**QUICK, **options})

    def aio(self, connection: str | None = None, **options: Any) -> AioClient:
        """An aio client."""
        return AioClient.from_connection_string(connection or self.connection, **{**QUICK, **options})

    def admin(self, connection: str | None = None) -> ServiceBusAdministrationClient:
        """A management client."""
        options: dict[str, Any] = {"connection_verify": self.ca} if self.ca else {}
        if os.environ.get("SB_TEST_ADMIN_HTTP") == "1":
            options["transport"] = _PlainHttp()
        return ServiceBusAdministrationClient.from_connection_string(
            connection or self.admin_connection, retry_total=0, **options
        )

    def token(self, path: str, *, rule: str | None = None, key: str | None = None, life: float = 600) -> str:
        """A token for a path, signed by a rule of the namespace."""
        fields = fields_of(self.connection)
        return sign(
            f"sb://{self.host}/{path}",
            rule or fields["sharedaccesskeyname"],
            key or fields["sharedaccesskey"],
            int(time.time() + life),
        )

    def with_token(self, token: str) -> str:
        """A connection string that carries a token."""
        endpoint = fields_of(self.connection)["endpoint"]
        plain = ";UseDevelopmentEmulator=true" if "UseDevelopmentEmulator" in self.connection else ""
        return f"Endpoint={endpoint};SharedAccessSignature={token}{plain}"

    def custom(self, kind: str) -> dict[str, Any]:
        """Options that lead a client over TLS or WebSocket to the local endpoint."""
        transport = TransportType.Amqp if kind == "tls" else TransportType.AmqpOverWebsocket
        options: dict[str, Any] = {"transport_type": transport}
        if self.ports:
            options |= {"custom_endpoint_address": f"sb://localhost:{self.ports[kind]}", "connection_verify": self.ca}
        return options

    def secure(self) -> str:
        """The connection string without the development flag, for TLS."""
        fields = fields_of(self.connection)
        return (
            f"Endpoint=sb://{self.host};SharedAccessKeyName={fields['sharedaccesskeyname']};"
            f"SharedAccessKey={fields['sharedaccesskey']}"
        )


class Queues:
    """Makes queues with a prefix of their own and takes them away again."""

    def __init__(self, target: Target) -> None:
        self.target, self.admin = target, target.admin()
        self._names: list[str] = []

    def make(self, name: str = "", **properties: Any) -> str:
        """A fresh queue; its name."""
        full = f"t-{secrets.token_hex(5)}{'-' + name if name else ''}"
        self.admin.create_queue(full, **properties)
        self._names.append(full)
        return full

    def properties(self, name: str) -> QueueProperties:
        """What the target says of a queue."""
        return self.admin.get_queue(name)

    def clear(self) -> None:
        """Delete what was made."""
        for name in self._names:
            try:
                self.admin.delete_queue(name)
            except Exception:  # noqa: BLE001 - a test may have deleted it
                continue
        self.admin.close()


def local_part(folder: Path, *extra: str, ports: dict[str, int] | None = None) -> Target:
    """The endpoint of this repository in a process of its own (not yet started)."""
    ports = ports or {name: free_port() for name in ("amqp", "admin", "tls", "websocket")}
    data, tail = folder / "data", "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=test-key"
    part = Part.module(
        "local.servicebus", "--data", str(data), "--key", "test-key", "--lax", "--faults",
        "--port", str(ports["amqp"]), "--admin-port", str(ports["admin"]), "--tls-port", str(ports["tls"]),
        "--websocket-port", str(ports["websocket"]), *extra,
        log=folder / "servicebus.log", port=ports["amqp"],
    )  # fmt: skip
    connections = [
        f"Endpoint=sb://localhost:{ports[name]};{tail};UseDevelopmentEmulator=true" for name in ("amqp", "admin")
    ]
    return Target("local", *connections, ca=str(data / "ca.pem"), part=part, ports=ports, data=data)


@contextmanager
def open_target(folder: Path) -> Iterator[Target]:
    """The target that the environment names."""
    name = os.environ.get("SB_TEST_TARGET", "local")
    if name != "local":
        yield Target(
            name,
            os.environ["SB_TEST_CONNECTION"],
            os.environ.get("SB_TEST_ADMIN_CONNECTION", os.environ["SB_TEST_CONNECTION"]),
            os.environ.get("SB_TEST_CA"),
        )
        return
    target = local_part(folder, "--rule", "listen=Listen", "--rule", "send=Send")
    assert target.part is not None
    with target.part:
        yield target


def eventually(condition: Any, seconds: float = 20.0) -> Any:
    """The first true result of `condition`; its last result when time is up."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return result
