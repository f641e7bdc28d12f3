"""What is kept of a server, and the status that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.platform.clock import Timestamp
from shared.platform.ids import OrgId
from shared.servers.lifecycle import OBSERVED, Status
from shared.store.documents import Document
from shared.templates.models import Resources, Scalar

if TYPE_CHECKING:  # placement is loaded by those who place, not by a door that shows a server
    from shared.placement.models import Foreign, Hold, PortKey

ServerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Kept(BaseModel):
    """Part of a stored document."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Desired(Kept):
    """What shall be. `generation` counts installs, `restarts` restarts asked for."""

    power: Literal["on", "off"] = "on"
    generation: int = 1
    fresh: bool = False
    restarts: int = 0
    suspended: str | None = None  # why
    removed: bool = False


class Operation(Kept):
    """The task that is at work on the server; over when it is the `over` of the observed document, or at `until`."""

    task_id: str
    kind: str
    until: Timestamp


class TemplateRef(Kept):
    """Which template the server was made of; it keeps the version until it is upgraded."""

    id: str
    key: str
    version: int


class Server(Document):
    """A server. `spec` holds what no list asks for: variables, sealed secrets, the template's definition."""

    indexed: ClassVar[tuple[str, ...]] = ("name", "node_id", "labels")
    id_prefix: ClassVar[str] = "srv_"
    type: Literal["server"] = "server"
    name: ServerName
    labels: dict[str, str] = Field(default_factory=dict)
    template: TemplateRef
    node_id: str | None
    address: str = "0.0.0.0"  # noqa: S104  # what its game binds
    join_host: str = ""  # what players type before the port
    ports: dict[str, int] = Field(default_factory=dict)
    resources: Resources
    group: str = ""
    revision: int = 1
    desired: Desired = Desired()
    operation: Operation | None = None
    spec: dict[str, Any] = Field(default_factory=dict)
    by: str = ""

    @property
    def variables(self) -> dict[str, Scalar]:
        """The values that are no secrets."""
        return dict(self.spec.get("variables", {}))


class ServerObserved(Document):
    """What the node last said about a server. Its own document: the node writes it, members never do."""

    type: Literal["server_observed"] = "server_observed"
    server_id: str
    node_id: str
    state: str
    at: float
    observed: dict[str, Any] = Field(default_factory=dict)
    over: str = ""  # the last task that ended

    def elsewhere(self, node_id: str | None) -> ServerObserved:
        """Of a server that was placed on another node: what the old one saw is no longer of it.

        The new node's clock may be behind the old one's, so anything that it says is newer.
        """
        blank: dict[str, Any] = {"node_id": node_id or "", "state": "absent", "at": 0.0, "observed": {}, "over": ""}
        return self.having(**blank)


def observed_id(server_id: str) -> str:
    """The id of a server's observed document."""
    return f"obs_{server_id}"


def nothing_seen(org: OrgId, server_id: str, node_id: str, *, over: str) -> ServerObserved:
    """Of a server whose node has not spoken, and whose task `over` has ended: nothing of it is there."""
    return ServerObserved(
        id=observed_id(server_id), org_id=org, server_id=server_id, node_id=node_id, state="absent", at=0.0, over=over
    )


class NameHeld(Document):
    """Holds a server's name: its id is the name, so two cannot be made."""

    type: Literal["server_name"] = "server_name"
    server_id: str


def name_id(name: str) -> str:
    """The id of the document that holds a name."""
    return f"server_name:{name}"


class HoldKept(Kept):
    """A hold in short words: a node has one document for all of them, which every placement reads and writes."""

    m: int
    c: int
    d: int
    p: tuple[str, ...] = ()
    g: str = ""

    @classmethod
    def of(cls, hold: Hold) -> HoldKept:
        """The stored form."""
        amount = hold.amount
        return cls(
            m=amount.memory_mib,
            c=amount.cpu_millicores,
            d=amount.disk_mib,
            p=tuple(map(str, hold.ports)),
            g=hold.group,
        )

    def hold(self, server_id: str) -> Hold:
        """What placement works with."""
        from shared.placement.models import Amount, Hold, PortKey

        return Hold(server_id, Amount(self.m, self.c, self.d), tuple(PortKey.parse(key) for key in self.p), self.g)


#: So long a port that something else had is not given out. Nobody tells us when it is free again: a start finds out.
FOREIGN_SECONDS: Final = 3600.0


class ForeignKept(Kept):
    """When a port was last seen to be something else's, in seconds since the epoch, and whose."""

    at: float
    by: str = ""


class NodeLedger(Document):
    """What is held on a node: the one place where it is decided and recorded, under its ETag.

    A read (etag 1)          A write if etag 1 -> etag 2
         B read (etag 1)          B write if etag 1 -> refused: B reads again, and sees what A holds
    """

    type: Literal["node_ledger"] = "node_ledger"
    node_id: str
    spec: dict[str, HoldKept] = Field(default_factory=dict)  # by server
    foreign: dict[str, ForeignKept] = Field(default_factory=dict)  # by port key

    def holds(self) -> tuple[Hold, ...]:
        """For placement."""
        return tuple(kept.hold(server_id) for server_id, kept in self.spec.items())

    def holding(self, hold: Hold) -> NodeLedger:
        """With one more hold."""
        return self.having(spec={**self.spec, hold.server_id: HoldKept.of(hold)})

    def without(self, server_id: str) -> NodeLedger:
        """With a hold released; the very same when there is none."""
        if server_id not in self.spec:
            return self
        return self.having(spec={key: kept for key, kept in self.spec.items() if key != server_id})

    def foreign_ports(self, now: float) -> tuple[Foreign, ...]:
        """What is not ours to give now."""
        from shared.placement.models import Foreign, PortKey

        kept = ((key, one) for key, one in self.foreign.items() if one.at + FOREIGN_SECONDS > now)
        return tuple(Foreign(PortKey.parse(key), one.at, one.by) for key, one in kept)

    def with_foreign(self, server_id: str, seen: Iterable[tuple[PortKey, str]], now: float) -> NodeLedger:
        """With ports that the server was to have, and others have; the very same when none is.

        A node speaks of ports that it was given for the server: so there are never more marks than ports in its ranges.
        """
        hold = self.spec.get(server_id)
        known = hold.p if hold is not None else ()
        new = {str(key): ForeignKept(at=now, by=by) for key, by in seen if str(key) in known}
        if not new:
            return self
        still = {key: one for key, one in self.foreign.items() if one.at + FOREIGN_SECONDS > now}
        return self.having(foreign={**still, **new})


def ledger_id(node_id: str) -> str:
    """The id of a node's ledger."""
    return f"led_{node_id}"


class Orphan(Document):
    """A server that its node owes us the cleaning of: it was deleted, or placed on another node before it was ever ready.

    A deleted one goes on holding what it had. One that was placed elsewhere holds nothing here any more.
    """

    indexed: ClassVar[tuple[str, ...]] = ("node_id",)
    type: Literal["server_orphan"] = "server_orphan"
    server_id: str
    node_id: str
    name: str
    revision: int


def orphan_id(server_id: str, node_id: str) -> str:
    """The id of what a node owes us of a server."""
    return f"orphan_{server_id}_{node_id}"


def owed_by(server: Server, node_id: str) -> Orphan:
    """What the node owes us when the server is gone from it."""
    return Orphan(
        id=orphan_id(server.id, node_id),
        org_id=server.org_id,
        server_id=server.id,
        node_id=node_id,
        name=server.name,
        revision=server.revision,
    )


def join_address(host: str, port: int) -> str:
    """What players type; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def status_of(server: Server, observed: ServerObserved | None) -> Status:
    """What people see: deletion and suspension stand above the node's word, which stands above nothing."""
    if server.desired.removed:
        return Status.DELETING
    if observed is not None and observed.state == "removed":
        return Status.FAILED
    if server.desired.suspended is not None:
        return Status.SUSPENDED
    if observed is None:
        return Status.PROVISIONING if server.operation is not None else Status.FAILED
    if observed.state == "absent" and (server.operation is None or observed.over == server.operation.task_id):
        return Status.FAILED
    return OBSERVED[observed.state]


def operation_of(server: Server, observed: ServerObserved | None) -> Operation | None:
    """The operation under way, if it is not over."""
    if server.operation is None or (observed is not None and observed.over == server.operation.task_id):
        return None
    return server.operation
