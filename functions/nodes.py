"""Machines of the organization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from shared.audit.actors import actor_of
from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.permissions import Permission
from shared.messaging.codec import WireError, to_wire
from shared.messaging.commands import CommandType
from shared.messaging.jws import SignatureError
from shared.messaging.releases import UpdateNode, peek_manifest
from shared.nodes.errors import CertificateNotFound, NodeNameTaken, NodeNotEmpty, NodeNotFound, NodeStateConflict
from shared.nodes.models import NodeCertificate, NodeState, PortRange
from shared.nodes.rules import NodeEvent
from shared.nodes.views import CapacityView, HealthView, InventoryView, NodeView, capacity_view, health_view
from shared.platform.clock import Timestamp
from shared.platform.ids import CertificateId, NodeId, TaskId
from shared.store.query import Where

if TYPE_CHECKING:
    from shared.nodes.capacity import Capacity
    from shared.nodes.models import NodeCommand

routes = Routes("nodes", services)
blueprint = routes.blueprint

LabelKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$")]
LabelValue = Annotated[str, StringConstraints(max_length=63)]


class NodeList(ListQuery):
    """Filters by field name."""

    state: NodeState | None = None
    name: str | None = Field(default=None, max_length=100)
    label: list[str] = Field(default_factory=list, max_length=8, description="`key=value`, all must match.")
    sort: Literal["id", "-id", "name", "-name", "enrolled_at", "-enrolled_at"] = "-id"


class NodeChange(In):
    """What can be changed; what is absent stays."""

    name: str | None = Field(default=None, min_length=1, max_length=100, pattern=r"\S")
    labels: dict[LabelKey, LabelValue] | None = Field(default=None, max_length=32)
    overcommit_memory: float | None = Field(default=None, ge=0.1, le=10)
    overcommit_cpu: float | None = Field(default=None, ge=0.1, le=100)
    overcommit_disk: float | None = Field(default=None, ge=0.1, le=10)
    reserve_memory_mib: int | None = Field(default=None, ge=0, le=2**30)
    address: str | None = Field(default=None, max_length=64)
    public_host: str | None = Field(
        default=None, max_length=253, pattern=r"^[A-Za-z0-9.:-]*$", description="How players reach the machine."
    )
    port_ranges: tuple[PortRange, ...] | None = Field(default=None, min_length=1, max_length=20)
    maximum_servers: int | None = Field(default=None, ge=0, le=500)


class Why(In):
    """The reason, for the trail and for whoever asks later."""

    reason: str = Field(default="", max_length=500)


class Farewell(Why):
    """As `Why`; `force` gives up the servers that are still on the node."""

    force: bool = False


class CertificateView(Out):
    """A certificate of a node."""

    id: str
    thumbprint: str
    serial: str
    not_before: Timestamp
    not_after: Timestamp
    revoked_at: Timestamp | None
    revoked_reason: str

    @classmethod
    def of(cls, found: NodeCertificate) -> CertificateView:
        """As shown to members."""
        return cls.model_validate(found, from_attributes=True)


class CertificateList(Out):
    """All that are known."""

    items: list[CertificateView]


@routes.get("/v1/nodes", permission=Permission.NODES_READ, narrowed="id")
async def list_nodes(call: Call, query: NodeList) -> Page[NodeView]:
    """List nodes."""
    labels = [Where(("labels", k), "=", v) for k, _, v in (text.partition("=") for text in query.label)]
    found = await call.services.nodes.page(
        call.org, filters={"state": query.state, "name": query.name}, where=labels, sort=query.sort,
        limit=query.limit, cursor=query.cursor,
    )  # fmt: skip
    return call.page(found, NodeView.of)


@routes.get(
    "/v1/nodes/{node_id}",
    permission=Permission.NODES_READ,
    resource="node_id",
    response=NodeView,
    problems=[NodeNotFound],
)
async def read_node(call: Call, node_id: NodeId) -> Reply:
    """Read a node; it tells more often how it is while it is read."""
    seen = await call.services.nodes.see(call.org, node_id, watch=True)
    return Reply(NodeView.of(seen), etag=seen.node.etag)


@routes.patch(
    "/v1/nodes/{node_id}", permission=Permission.NODES_UPDATE, resource="node_id", response=NodeView,
    problems=[NodeNotFound, NodeNameTaken],
)  # fmt: skip
async def change_node(call: Call, node_id: NodeId, body: NodeChange) -> Reply:
    """Rename a node, set its labels or its limits."""
    changes = {name: getattr(body, name) for name in body.model_fields_set if getattr(body, name) is not None}
    changed = await call.services.nodes.change(call.org, node_id, changes, etag=call.if_match, by=actor_of(call))
    seen = await call.services.nodes.see(call.org, node_id)
    return Reply(NodeView.of(seen), etag=changed.etag)


def _event_route(path: str, event: NodeEvent, summary: str) -> None:
    async def handler(call: Call, node_id: NodeId, body: Why) -> NodeView:
        await call.services.nodes.apply(call.org, node_id, event, body.reason, by=actor_of(call))
        return NodeView.of(await call.services.nodes.see(call.org, node_id))

    handler.__name__ = f"{event.value}_node"
    handler.__doc__ = summary
    routes.post(
        f"/v1/nodes/{{node_id}}/{path}",
        permission=Permission.NODES_MAINTAIN,
        resource="node_id",
        problems=[NodeNotFound, NodeStateConflict],
    )(handler)


_event_route("drain", NodeEvent.DRAIN, "Let the node run what it has, and give it nothing new.")
_event_route(
    "maintenance",
    NodeEvent.MAINTAIN,
    "Take the node out of service: it gets nothing new. Its servers run on until they are stopped.",
)
_event_route("resume", NodeEvent.RESUME, "Put the node back into service.")


@routes.post(
    "/v1/nodes/{node_id}/decommission", permission=Permission.NODES_DECOMMISSION, resource="node_id",
    problems=[NodeNotFound, NodeNotEmpty, NodeStateConflict],
)  # fmt: skip
async def decommission_node(call: Call, node_id: NodeId, body: Farewell) -> NodeView:
    """Let a node go, reachable or not: its certificates are revoked and its queue removed."""
    await call.services.nodes.decommission(call.org, node_id, body.reason, by=actor_of(call), force=body.force)
    return NodeView.of(await call.services.nodes.see(call.org, node_id))


@routes.delete(
    "/v1/nodes/{node_id}", permission=Permission.NODES_DECOMMISSION, resource="node_id", status=204,
    problems=[NodeNotFound, NodeStateConflict],
)  # fmt: skip
async def forget_node(call: Call, node_id: NodeId) -> None:
    """Forget a decommissioned node."""
    await call.services.nodes.forget(call.org, node_id, etag=call.if_match, by=actor_of(call))


@routes.get(
    "/v1/nodes/{node_id}/inventory", permission=Permission.NODES_READ, resource="node_id", problems=[NodeNotFound]
)
async def read_node_inventory(call: Call, node_id: NodeId) -> InventoryView:
    """What the machine is and has, as its agent told it last."""
    return InventoryView.of(await call.services.nodes.get(call.org, node_id))


@routes.get(
    "/v1/nodes/{node_id}/capacity", permission=Permission.NODES_READ, resource="node_id", problems=[NodeNotFound]
)
async def read_node_capacity(call: Call, node_id: NodeId) -> CapacityView:
    """What the node offers, what is held of it and what is free, summed from the holds there are now."""
    found: Capacity = await call.services.capacity.of_node(call.org, node_id)
    return capacity_view(found)


@routes.get("/v1/nodes/{node_id}/health", permission=Permission.NODES_READ, resource="node_id", problems=[NodeNotFound])
async def read_node_health(call: Call, node_id: NodeId) -> HealthView:
    """How the node is, with every reason, and its figures."""
    return health_view(*await call.services.nodes.health(call.org, node_id))


@routes.get(
    "/v1/nodes/{node_id}/certificates", permission=Permission.NODES_READ, resource="node_id", problems=[NodeNotFound]
)
async def list_node_certificates(call: Call, node_id: NodeId) -> CertificateList:
    """The node's certificates, newest first."""
    found = await call.services.papers.of_node(call.org, node_id)
    return CertificateList(items=[CertificateView.of(one) for one in found])


@routes.post(
    "/v1/nodes/{node_id}/certificates/{certificate_id}/revoke", permission=Permission.NODES_DECOMMISSION,
    resource="node_id", problems=[NodeNotFound, CertificateNotFound],
)  # fmt: skip
async def revoke_node_certificate(
    call: Call, node_id: NodeId, certificate_id: CertificateId, body: Why
) -> CertificateView:
    """Revoke a certificate; within a minute nothing signed with it is believed."""
    found = await call.services.papers.revoke(call.org, node_id, certificate_id, body.reason, by=actor_of(call))
    return CertificateView.of(found)


class ReleaseWanted(In):
    """A release of the agent. Nodes take it only if its manifest is signed by the key that they know."""

    url: str = Field(max_length=2000, pattern=r"^https://|^http://127\.0\.0\.1:", description="Where nodes fetch it.")
    manifest: str = Field(max_length=4096, description="The content of the release's `.manifest` file.")


class CommandCreate(In):
    """What the node itself is asked."""

    type: Literal["node.ping", "node.inventory", "node.doctor", "node.update"]
    release: ReleaseWanted | None = Field(default=None, description="For `node.update`, and for nothing else.")

    @model_validator(mode="after")
    def _release_belongs_to_an_update(self) -> Self:
        if (self.release is not None) != (self.type == "node.update"):
            raise ValueError("`node.update` needs a `release`, and nothing else takes one")
        if self.release is not None:
            try:
                peek_manifest(self.release.manifest)
            except (SignatureError, WireError) as error:
                raise ValueError(f"release.manifest: {error}") from None
        return self

    def payload(self) -> dict[str, Any]:
        """What the command carries."""
        if self.release is None:
            return {}
        said = peek_manifest(self.release.manifest)
        wire: dict[str, Any] = to_wire(
            UpdateNode(self.release.url, said.version, said.sha256, self.release.manifest.strip())
        )
        return wire


class CommandView(Out):
    """A command, and what came of it."""

    id: str
    node_id: str
    command: str
    state: str
    outcome: dict[str, Any]
    created_at: Timestamp
    updated_at: Timestamp


@routes.post(
    "/v1/nodes/{node_id}/commands", permission=Permission.NODES_COMMANDS, resource="node_id", idempotent=True, in_batch=True,
    durable=True, status=202, response=CommandView, problems=[NodeNotFound, NodeStateConflict],
)  # fmt: skip
async def send_node_command(call: Call, node_id: NodeId, body: CommandCreate) -> Reply:
    """Ask the node something, or have it change to a release; the answer comes with the command's record."""
    commands = call.services.node_commands
    if call.made_before is not None:
        return _sent(await commands.again(call.org, node_id, call.made_before, flows=call.durable))
    made = await commands.ask(
        call.org,
        call.new_id("tsk"),
        node_id,
        CommandType(body.type),
        body.payload(),
        flows=call.durable,
        by=actor_of(call),
        beside=lambda batch, command: call.keep(batch, _sent(command), command.id),
    )
    return _sent(made)


def _sent(command: NodeCommand) -> Reply:
    view = CommandView.model_validate(command, from_attributes=True)
    return Reply(view, status=202, location=f"/v1/nodes/{command.node_id}/commands/{command.id}")


@routes.get(
    "/v1/nodes/{node_id}/commands/{task_id}", permission=Permission.NODES_READ, resource="node_id",
    problems=[NodeNotFound],
)  # fmt: skip
async def read_node_command(call: Call, node_id: NodeId, task_id: TaskId) -> CommandView:
    """Read a command's record."""
    found = await call.services.node_commands.read(call.org, node_id, task_id)
    return CommandView.model_validate(found, from_attributes=True)
