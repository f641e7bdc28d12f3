"""What callers send about servers, and what they get."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from shared.http.models import In, ListQuery, Out
from shared.placement.strategy import Strategy
from shared.platform.clock import Timestamp
from shared.servers.lifecycle import Event, Status, allowed
from shared.servers.models import (
    Desired,
    Operation,
    Server,
    ServerName,
    ServerObserved,
    TemplateRef,
    join_address,
    operation_of,
    status_of,
)
from shared.templates.models import Resources

LabelKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=20)]


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


class Bulk(In):
    """One action on all servers that carry these labels."""

    labels: Labels = Field(min_length=1)
    action: Literal["start", "stop", "restart", "kill", "suspend", "resume", "reinstall", "delete"]


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
        """The view. Secrets are shown only in `reveal`, elsewhere as `null`; what the template hides only with them."""
        status = status_of(server, observed)
        values = {**server.variables, **dict.fromkeys(server.spec.get("secret_names", ())), **(reveal or {})}
        hidden = () if reveal is not None else server.spec.get("hidden_names", ())
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
            variables={name: value for name, value in values.items() if name not in hidden},
            revision=server.revision,
            desired=server.desired,
            observed=ObservedView.of(observed),
            operation=operation_of(server, observed),
            created_at=server.created_at,
            updated_at=server.updated_at,
        )


class ConsoleLine(Out):
    """One line. Numbers grow by one; a gap says that lines were lost."""

    number: int
    text: str


class ConsolePage(Out):
    """Lines above `since`, oldest first; ask on with `since=next`."""

    lines: list[ConsoleLine]
    next: int
    dropped: int = 0
