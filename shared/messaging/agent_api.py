"""The shapes of `/v1/agent/...`: what an agent asks and what it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from shared.messaging.codec import WireError
from shared.messaging.limits import BEAT_CALM_SECONDS, PROTOCOL_VERSION

MAX_CSR_LENGTH = 8192
MAX_DISKS = 16


@dataclass(frozen=True, slots=True)
class Platform:
    """The machine's system, as it names itself."""

    os: str
    arch: str
    release: str = ""
    distribution: str = ""
    hostname: str = ""
    python: str = ""
    driver: Literal["process", "container"] = "process"  # how its agent runs games

    def __post_init__(self) -> None:
        for name in ("os", "arch", "release", "distribution", "hostname", "python"):
            if len(getattr(self, name)) > 256:
                raise WireError(f"platform.{name}: {len(getattr(self, name))} characters, at most 256")


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the machine has; what is free of it is the control plane's to say."""

    cpu_count: int
    memory_mib: int
    disk_mib: int
    cpu_model: str = ""
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, most in (("cpu_count", 65_536), ("memory_mib", 2**30), ("disk_mib", 2**40)):
            if not 0 < getattr(self, name) <= most:
                raise WireError(f"hardware.{name}: {getattr(self, name)} is not between 1 and {most}")
        if len(self.addresses) > 64 or any(len(address) > 64 for address in self.addresses):
            raise WireError("hardware.addresses: at most 64, of at most 64 characters")


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """`POST /v1/agent/enroll`: the one call without a proof; the token is what is proved."""

    token: str
    csr_pem: str
    agent_version: str
    platform: Platform
    hardware: Hardware
    protocol: int = PROTOCOL_VERSION
    name: str | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.csr_pem) <= MAX_CSR_LENGTH:
            raise WireError(f"csr_pem: {len(self.csr_pem)} characters, 1 to {MAX_CSR_LENGTH}")
        if not 0 < len(self.token) <= 256 or len(self.agent_version) > 64 or len(self.name or "") > 100:
            raise WireError("token, agent_version or name: too long")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A node's certificate with the chain up to, and without, the root."""

    chain_pem: str
    thumbprint: str
    not_before: datetime
    not_after: datetime
    renew_after: datetime


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """Who the node is from now on. `root_pem` is pinned: whatever the agent trusts later must chain up to it."""

    node_id: str
    org_id: str
    name: str
    domain: str
    certificate: Certificate
    root_pem: str
    server_time: datetime


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """`POST /v1/agent/certificates`: a new certificate; with a new key when the request carries one."""

    csr_pem: str

    def __post_init__(self) -> None:
        if not 0 < len(self.csr_pem) <= MAX_CSR_LENGTH:
            raise WireError(f"csr_pem: {len(self.csr_pem)} characters, 1 to {MAX_CSR_LENGTH}")


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where the messages are. `ca_pem` is set only where the broker's certificate is not of a public authority."""

    host: str
    amqp_port: int = 5671
    websocket_port: int = 443
    tls: bool = True
    websocket: bool = True
    ca_pem: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A shared access signature for one entity and one right."""

    entity: str
    expires_at: datetime
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionAnswer:
    """`POST /v1/agent/session`: all that an agent needs to work until `commands.expires_at`.

    `command_keys` are certificates of the keys that sign commands: leaf first, then the issuing authority, each
    chaining up to the pinned root.
    """

    namespace: Namespace
    commands: Grant
    reports: Grant
    command_keys: tuple[str, ...]
    server_time: datetime


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server in a beat: which revision the agent has, and how its process stands."""

    id: str
    revision: int
    state: str


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system of the machine; the first one of a beat is that of the agent's folder."""

    path: str
    size_mib: int
    free_mib: int


@dataclass(frozen=True, slots=True)
class Beat:
    """`POST /v1/agent/beat`: alive, and how. `sequence` grows with each beat, across restarts too (it is a time)."""

    sequence: int
    sent_at: datetime
    agent_version: str
    boot_id: str
    protocol: int = PROTOCOL_VERSION
    cpu_percent: float = 0.0
    memory_used_mib: int = 0
    disk_free_mib: int = 0  # where the agent's folder is
    disks: tuple[Disk, ...] = ()
    received_kib_s: float = 0.0  # by the machine's network cards, since the beat before
    sent_kib_s: float = 0.0
    journal_depth: int = 0
    reports_dropped: int = 0
    link: Literal["up", "connecting", "down"] = "up"
    servers: tuple[ServerState, ...] = ()
    issues: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.sequence < 2**53:
            raise WireError(f"beat.sequence: {self.sequence}")
        if len(self.servers) > 500 or len(self.issues) > 20 or any(len(issue) > 200 for issue in self.issues):
            raise WireError("beat: at most 500 servers and 20 issues of 200 characters")
        if len(self.disks) > MAX_DISKS or any(len(disk.path) > 200 for disk in self.disks):
            raise WireError(f"beat: at most {MAX_DISKS} disks, with paths of at most 200 characters")


@dataclass(frozen=True, slots=True)
class BeatAnswer:
    """When to beat next, and what the agent should do about its papers."""

    next_seconds: int = BEAT_CALM_SECONDS
    watched: bool = False
    renew_certificate: bool = False
    refresh_session: bool = False
    server_time: datetime | None = None
