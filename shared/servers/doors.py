"""What several doors do alike: ask, start the flow, answer 202; bulk actions with a result for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.audit.actors import actor_of
from shared.http.models import Out, Reply, accepted
from shared.identity.permissions import Permission
from shared.platform.errors import Fault, Invalid
from shared.servers.errors import NoRoom
from shared.servers.flows import send_later, start_flow
from shared.servers.lifecycle import Event, Status
from shared.servers.models import status_of
from shared.servers.views import Bulk, PlacementTry, ServerCreate, ServerView

if TYPE_CHECKING:
    from shared.http.call import Call
    from shared.placement.models import Placed, Verdict
    from shared.servers.asking import Asked

#: For the broker, of a caller who waits; after that it is a flow's.
PATIENCE_SECONDS: Final = 3.0
PERMISSIONS: Final = {
    Event.START: Permission.SERVERS_START,
    Event.STOP: Permission.SERVERS_STOP,
    Event.RESTART: Permission.SERVERS_RESTART,
    Event.KILL: Permission.SERVERS_KILL,
    Event.SUSPEND: Permission.SERVERS_SUSPEND,
    Event.RESUME: Permission.SERVERS_SUSPEND,
    Event.REINSTALL: Permission.SERVERS_REINSTALL,
    Event.DELETE: Permission.SERVERS_DELETE,
}


class Accepted(Out):
    """The request is written down; the task tells how it goes."""

    server_id: str
    task_id: str
    status: Status
    node_id: str | None
    ports: dict[str, int]

    @classmethod
    def of(cls, asked: Asked) -> Accepted:
        """The answer."""
        server = asked.server
        return cls(
            server_id=server.id,
            task_id=asked.task.id,
            status=status_of(server, None),
            node_id=server.node_id,
            ports=server.ports,
        )


class ItemResult(Out):
    """What became of one server of a bulk action."""

    server_id: str
    name: str
    task_id: str | None = None
    code: str | None = None
    reason: str | None = None


async def create(call: Call, body: ServerCreate) -> Asked:
    """Write a server down and begin its provisioning."""
    server_id, task_id = call.new_id("srv"), call.new_id("tsk")
    try:
        made = await call.services.servers.creation.create(
            call.org,
            body,
            server_id=server_id,
            task_id=task_id,
            actor=actor_of(call),
            beside=lambda batch, asked: call.keep(batch, reply_of(asked)),
        )
    except NoRoom as refusal:
        raise await within_reach(call, refusal) from refusal
    await tell(call, made)
    return made


def reply_of(asked: Asked) -> Reply:
    """202, with what was written down."""
    return accepted(asked.task.id, Accepted.of(asked))


async def within_reach(call: Call, refusal: NoRoom) -> NoRoom:
    """The refusal without what it says of nodes that are kept from the caller."""
    reach = await call.services.identity.authorizer.reach(call, Permission.NODES_READ)
    verdicts = refusal.refused.verdicts
    shown = tuple(verdict for verdict in verdicts if not reach.withholds(verdict.node_id))
    if len(shown) == len(verdicts):
        return refusal
    from shared.placement.models import Refused

    return NoRoom(Refused(shown, withheld=len(verdicts) - len(shown)))


async def place_nowhere(call: Call, body: PlacementTry) -> tuple[Placed | None, list[Verdict]]:
    """Where a server would go, and what speaks against each node that is not kept from the caller."""
    placed, verdicts = await call.services.servers.creation.dry_run(call.org, body)
    reach = await call.services.identity.authorizer.reach(call, Permission.NODES_READ)
    return placed, [verdict for verdict in verdicts if not reach.withholds(verdict.node_id)]


async def ask(
    call: Call, server_id: str, event: Event, *, etag: str | None = None, reason: str = "", fresh: bool = False
) -> Reply:
    """Write a request down, tell the node, begin the flow that waits for it."""
    return reply_of(await begin(call, server_id, event, etag=etag, reason=reason, fresh=fresh))


async def begin(
    call: Call, server_id: str, event: Event, *, etag: str | None = None, reason: str = "", fresh: bool = False
) -> Asked:
    """As `ask`, with what was written down."""
    try:
        asked = await call.services.servers.ask(
            call.org,
            server_id,
            event,
            task_id=call.new_id("tsk"),
            actor=actor_of(call),
            etag=etag,
            reason=reason,
            fresh=fresh,
        )
    except NoRoom as refusal:
        raise await within_reach(call, refusal) from refusal
    await tell(call, asked)
    return asked


async def tell(call: Call, asked: Asked) -> None:
    """Begin the flow of what was written down, and send the command to its node."""
    await start_flow(call.durable, asked.task, sent=True)
    # Sent from here, not from the flow's first activity: that spares two executions. The sweep sends the same command
    # again when no answer comes, so nothing is lost if this process dies on this very line.
    dispatcher = call.services.dispatcher
    try:
        await dispatcher.send(call.org, asked.task, asked.task.attempt, asked.server, within=PATIENCE_SECONDS)
    except Fault:  # it is written down: the caller is told so, and the task goes on, or is told why it does not
        await send_later(call.durable, asked.task)


async def bulk(call: Call, body: Bulk) -> list[ItemResult]:
    """One action on every server with the labels.

    Raises:
        TooManyChosen: they are more than one call acts on.
    """
    event = Event(body.action)
    found = await call.services.servers.chosen(call.org, body.labels, visible=call.visible)
    return [await _one(call, server.id, server.name, event) for server in found]


async def _one(call: Call, server_id: str, name: str, event: Event) -> ItemResult:
    try:
        await call.services.authorizer.authorise(call, PERMISSIONS[event], server_id)
        asked = await begin(call, server_id, event)
    except Fault as fault:
        return ItemResult(server_id=server_id, name=name, code=fault.code, reason=fault.reason)
    return ItemResult(server_id=server_id, name=name, task_id=asked.task.id)


async def reveal(call: Call, server_id: str) -> ServerView:
    """A server with its secrets; the audit trail tells who looked."""
    server, observed = await call.services.servers.get(call.org, server_id)
    values = await call.services.servers.secrets_of(call.org, server, by=actor_of(call))
    return ServerView.of(server, observed, reveal=values)


def labels_of(pairs: list[str]) -> dict[str, str]:
    """`key=value` pairs of a query.

    Raises:
        Invalid: one has no `=`.
    """
    found = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise Invalid(f"label={pair[:80]!r}: expected key=value")
        found[key] = value
    return found
