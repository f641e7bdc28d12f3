"""Reports of nodes: checked against the certificate of the node that claims them, then handed to whoever they concern.

Late and repeated reports change nothing: a result raises an event whose name only one wait of one instance has, and
what is stored from a report is stored by what it says, not by how often it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from shared.audit.models import Actor, Target
from shared.audit.models import Outcome as AuditOutcome
from shared.messaging import codec, jws
from shared.messaging.agent_api import Hardware, Platform
from shared.messaging.commands import report_event
from shared.messaging.limits import CLOCK_LEEWAY, MAX_ENVELOPE_BYTES, MAX_REPORT_AGE
from shared.messaging.reports import REPORT_KIND, NodeEvent, Report, ReportType, open_report
from shared.nodes.errors import CertificateRefused
from shared.nodes.models import Node
from shared.platform import telemetry
from shared.platform.errors import Fault, Kind
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.composition import Services

_log = logging.getLogger("meridian.nodes")
#: Raises an external event: instance id, event name, JSON.
Raise = Callable[[str, str, str], Awaitable[None]]
#: What is done with a report, and which of those belongs to a report: other domains name theirs. It says whether the
#: report's task is its node's to speak about: only then is told who waits for it.
Handler = Callable[["Services", Report], Awaitable[bool]]
HandlerOf = Callable[[Report], Handler | None]


class ReportRefused(Fault):
    """A report that is not believed."""

    kind, code, title = Kind.FORBIDDEN, "report_refused", "The report does not hold"


MAX_SEEN: Final = 1_000  # what comes again comes within seconds: a lock that ran out, an agent whose line broke
#: What may go well when the message comes again: something behind does not answer, or many writers met.
AGAIN: Final = frozenset({Kind.UNAVAILABLE, Kind.PRECONDITION_FAILED})
#: What a signed report can say that no handler expects (a time in the year 3,000,000). It will not do better a second time,
#: and would take with it the reports of others that came in the same batch.
ABSURD: Final = (ValueError, TypeError, LookupError, ArithmeticError)


class Reports:
    """See the module."""

    def __init__(self, services: Services, handler_of: HandlerOf) -> None:
        self._services = services
        self._handler_of = handler_of
        self._seen: dict[str, None] = {}  # ids lately handled here: spares the work, not needed for correctness

    async def take(self, bodies: Sequence[bytes], raise_event: Raise) -> None:
        """Handle messages of the queue: those that hang together in their order, the others beside each other.

        Whatever is wrong with a message is noted, and it is done with.

        Raises:
            Fault: of a kind in `AGAIN`; the messages are to come again.
        """
        lanes: dict[str, list[Report]] = {}
        for body in bodies:
            try:
                report = await self._open(body)
            except (ReportRefused, CertificateRefused) as refusal:
                with contextlib.suppress(*ABSURD):  # what it claims to be need be no name of anything
                    await self._note_refusal(body, refusal.reason)
            else:
                lanes.setdefault(_lane_of(report), []).append(report)
        done = await asyncio.gather(*(self._work(lane, raise_event) for lane in lanes.values()), return_exceptions=True)
        for failure in done:
            if failure is not None:
                raise failure

    async def _work(self, lane: list[Report], raise_event: Raise) -> None:
        for report in lane:
            if report.id in self._seen:
                continue
            await self._handle(report, raise_event)
            self._seen[report.id] = None
            if len(self._seen) > MAX_SEEN:
                self._seen.pop(next(iter(self._seen)))

    async def _open(self, body: bytes) -> Report:
        envelope = body.decode("latin-1")
        try:
            header, _ = jws.peek(envelope, MAX_ENVELOPE_BYTES)
            if header.kind != REPORT_KIND:
                raise ReportRefused(f"a {header.kind[:40]!r} where a report belongs")
            holder = await self._services.certificates.holder(header.key_id)
            report = open_report(envelope, lambda key_id: holder.key if key_id == holder.thumbprint else None)
        except (jws.SignatureError, codec.WireError) as error:
            raise ReportRefused(str(error)) from None
        if (report.org_id, report.node_id) != (holder.org, holder.node):
            raise ReportRefused(f"signed by {holder.node}, and speaks for {report.node_id[:40]}")
        age = self._services.clock.now() - report.created_at
        if not -CLOCK_LEEWAY <= age <= MAX_REPORT_AGE:
            raise ReportRefused(f"made {age.total_seconds():.0f} s ago")
        return report

    async def _handle(self, report: Report, raise_event: Raise) -> None:
        telemetry.counter("nodes.reports", "{report}").add(1, {"type": report.type.value})
        theirs = False
        try:
            handler = self._handler_of(report)
            theirs = handler is not None and await handler(self._services, report)
        except Fault as error:
            if error.kind in AGAIN:
                raise
            # It will not do better a second time: a server that is deleted meanwhile, say.
            _log.warning("a report of %s was not taken: %s", report.node_id, error)
        except ABSURD as error:
            telemetry.counter("nodes.reports_refused", "{report}").add(1)
            _log.warning("a report of %s says what cannot be: %s: %s", report.node_id, type(error).__name__, error)
        if theirs and report.type is ReportType.COMMAND_RESULT and report.task_id and report.command_id:
            await raise_event(report.task_id, report_event(report.command_id), json.dumps(report.payload))

    async def _note_refusal(self, body: bytes, reason: str) -> None:
        """Audited with the organization that the message names, if it names one that exists; counted in any case."""
        telemetry.counter("nodes.reports_refused", "{report}").add(1)
        _log.warning("refused a report of %d bytes: %s", len(body), reason)
        claimed = _claim(body)
        org, node_id = str(claimed.get("org_id", "")), str(claimed.get("node_id", ""))[:64]
        if not org.startswith("org_") or not node_id.startswith("nod_"):
            return
        if await self._services.store.find(OrgId(org), Node, node_id) is None:
            return
        actor, target = Actor(kind="agent", id=node_id), Target(kind="node", id=node_id)
        await self._services.audit.record(
            OrgId(org), actor, "node.report_refused", target, outcome=AuditOutcome.REFUSED, reason=reason[:500]
        )


def _lane_of(report: Report) -> str:
    """Reports with the same lane are handled in their order: of one server, or of one node about itself."""
    if report.server_id is not None:
        return report.server_id
    return report.id if report.type is ReportType.COMMAND_RESULT else report.node_id


def _claim(body: bytes) -> dict[str, Any]:
    """What an unchecked message says of itself: only to note whom it pretends to be."""
    try:
        _, content = jws.peek(body.decode("latin-1"), MAX_ENVELOPE_BYTES)
        found = codec.load_json(content, MAX_ENVELOPE_BYTES)
    except (jws.SignatureError, codec.WireError):
        return {}
    return found if isinstance(found, dict) else {}


async def on_event(services: Services, report: Report) -> bool:
    """Something that the node's owner should know goes to the trail."""
    event = codec.from_wire(NodeEvent, report.payload)
    actor, target = Actor(kind="agent", id=report.node_id), Target(kind="node", id=report.node_id)
    refused = event.code == "command_refused"
    await services.audit.record(
        OrgId(report.org_id),
        actor,
        "node.command_refused" if refused else "node.event_reported",
        target,
        outcome=AuditOutcome.REFUSED if refused else AuditOutcome.DONE,
        after={"code": event.code[:64], "count": event.count},
        reason=event.detail[:500],
    )
    return True


async def on_inventory(services: Services, report: Report) -> bool:
    """What the machine has now."""
    hardware = codec.from_wire(Hardware, report.payload.get("hardware"))
    platform = codec.from_wire(Platform, report.payload.get("platform"))
    inventory = {"platform": codec.to_wire(platform), "hardware": codec.to_wire(hardware)}
    await services.store.update(
        OrgId(report.org_id),
        Node,
        report.node_id,
        lambda node: (
            node if node.inventory == inventory else node.having(inventory=inventory, drivers=(platform.driver,))
        ),
    )
    return True
