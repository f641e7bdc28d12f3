"""What is kept of a server, and what callers see."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.http.models import In, ListQuery, Out
from shared.placement.models import Amount, Hold, PortKey, Strategy
from shared.platform.clock import Timestamp
from shared.servers.lifecycle import OBSERVED, Event, Status, allowed
from shared.store.documents import Document
from shared.templates.models import Resources, Scalar

ServerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=20)]


class Kept(BaseModel):
    """Part of a stored document."""

    model_config = ConfigDict(frozen=True)


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


def observed_id(server_id: str) -> str:
    """The id of a server's observed document."""
    return f"obs_{server_id}"


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
        return Hold(server_id, Amount(self.m, self.c, self.d), tuple(PortKey.parse(key) for key in self.p), self.g)


class NodeLedger(Document):
    """What is held on a node: the one place where it is decided and recorded, under its ETag.

    A read (etag 1)          A write if etag 1 -> etag 2
         B read (etag 1)          B write if etag 1 -> refused: B reads again, and sees what A holds
    """

    type: Literal["node_ledger"] = "node_ledger"
    node_id: str
    spec: dict[str, HoldKept] = Field(default_factory=dict)  # by server

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


def ledger_id(node_id: str) -> str:
    """The id of a node's ledger."""
    return f"led_{node_id}"


class Orphan(Document):
    """A deleted server whose node has not yet said that its files are gone. It goes on holding what it had."""

    type: Literal["server_orphan"] = "server_orphan"
    server_id: str
    node_id: str
    name: str
    revision: int


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


# ---------------------------------------------------------------- what callers send


class ServerCreate(In):
    """A new server. Resources and ports that are not given are the template's; the node is chosen unless named."""

    name: ServerName
    template: str = Field(max_length=80, description="The template's id, or the key of one of ours.")
    version: int | None = Field(None, ge=1, description="The newest unless given.")
    variables: dict[str, Any] = Field(default_factory=dict, max_length=200)
    resources: Resources | None = None
    labels: Labels = Field(default_factory=dict)
    node_id: str | None = Field(None, max_length=64)
    node_labels: Labels = Field(default_factory=dict)
    group: str = Field("", max_length=63, description="No two servers of one group share a node.")
    strategy: Strategy = Strategy.PACKED
    start: bool = True


class PlacementTry(In):
    """As `ServerCreate`, without a name: nothing is made."""

    template: str = Field(max_length=80)
    version: int | None = Field(None, ge=1)
    resources: Resources | None = None
    node_id: str | None = Field(None, max_length=64)
    node_labels: Labels = Field(default_factory=dict)
    group: str = Field("", max_length=63)
    strategy: Strategy = Strategy.PACKED


class ServerEdit(In):
    """Changes; what is left out stays."""

    name: ServerName | None = None
    labels: Labels | None = None
    variables: dict[str, Any] | None = Field(None, max_length=200)
    resources: Resources | None = None
    version: int | None = Field(None, ge=1, description="Upgrade (or go back) to this version of the template.")


class Suspension(In):
    """Why a server is suspended."""

    reason: str = Field("suspended by a member", max_length=200)


class Reinstall(In):
    """`fresh` downloads anew even what the node has."""

    fresh: bool = False


class ServerList(ListQuery):
    """Filters. `label` is `key=value`, several times for all of them."""

    name: str | None = Field(None, max_length=63)
    node_id: str | None = Field(None, max_length=64)
    template: str | None = Field(None, max_length=80)
    label: list[str] = Field(default_factory=list, max_length=10)


BULK_ACTIONS = ("start", "stop", "restart", "kill", "suspend", "resume", "delete")


class Bulk(In):
    """One action on all servers that carry these labels."""

    labels: Labels = Field(min_length=1)
    action: Literal["start", "stop", "restart", "kill", "suspend", "resume", "delete"]


# ---------------------------------------------------------------- what callers get


class PlayersView(Out):
    """Who plays, as the game itself says."""

    online: int
    maximum: int
    names: list[str] = Field(default_factory=list)
    version: str = ""
    map: str = ""


class ObservedView(Out):
    """What the node last said, and when."""

    state: str
    observed_at: Timestamp | None
    revision: int = 0
    pid: int | None = None
    exit_code: int | None = None
    crashes: int = 0
    cpu_percent: float = 0.0
    memory_mib: float = 0.0
    players: PlayersView | None = None
    bound: list[str] = Field(default_factory=list)
    last_lines: list[str] = Field(default_factory=list)
    reason: str = ""

    @classmethod
    def of(cls, kept: ServerObserved | None) -> ObservedView | None:
        """The view."""
        if kept is None:
            return None
        from datetime import UTC, datetime

        raw = {key: value for key, value in kept.observed.items() if key in cls.model_fields}
        return cls.model_validate({**raw, "state": kept.state, "observed_at": datetime.fromtimestamp(kept.at, UTC)})


class ServerView(Out):
    """A server. `status` follows from desired, observed and operation; `allowed` is what may be asked now."""

    id: str
    name: str
    status: Status
    allowed: list[Event]
    labels: dict[str, str]
    template: TemplateRef
    node_id: str | None
    ports: dict[str, int]
    join: str | None
    resources: Resources
    variables: dict[str, Any]
    revision: int
    desired: Desired
    observed: ObservedView | None
    operation: Operation | None
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, server: Server, observed: ServerObserved | None, *, reveal: dict[str, Any] | None = None) -> ServerView:
        """The view; secrets are shown only in `reveal`, elsewhere as `null`."""
        status = status_of(server, observed)
        hidden = dict.fromkeys(server.spec.get("secret_names", ()))
        game = next(iter(server.ports.values()), None)
        return cls(
            id=server.id,
            name=server.name,
            status=status,
            allowed=list(allowed(status)),
            labels=server.labels,
            template=server.template,
            node_id=server.node_id,
            ports=server.ports,
            join=join_address(server.join_host, game) if game else None,
            resources=server.resources,
            variables={**server.variables, **hidden, **(reveal or {})},
            revision=server.revision,
            desired=server.desired,
            observed=ObservedView.of(observed),
            operation=operation_of(server, observed),
            created_at=server.created_at,
            updated_at=server.updated_at,
        )
