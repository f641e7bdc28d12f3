"""Console lines: kept for a short while, while somebody watches; and lines sent to the game."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from shared.audit.models import Actor
from shared.audit.service import Audit
from shared.messaging.codec import from_wire, to_wire
from shared.messaging.commands import CommandType, Order
from shared.messaging.sender import CommandSender
from shared.messaging.server_messages import ConsoleLines, SendLine, WatchConsole
from shared.platform.errors import NotFound
from shared.platform.ids import OrgId
from shared.servers.asking import target_of
from shared.servers.errors import ServerNotRunning
from shared.servers.models import Server, ServerObserved, observed_id
from shared.servers.views import ConsoleLine, ConsolePage
from shared.store.documents import Document
from shared.store.query import Where
from shared.store.scoped import Store

KEPT_SECONDS: Final = 3600
WATCH_SECONDS: Final = 60
BATCH: Final = 200  # lines of one upload, at most
LINE_LIFE: Final = timedelta(seconds=60)  # a line that comes later than that is not what anybody meant


class ConsoleChunk(Document):
    """Lines that came in one report; its id follows from the first, so that a report that comes twice is one."""

    container: ClassVar[str] = "metrics"
    indexed: ClassVar[tuple[str, ...]] = ("at",)
    type: Literal["console_chunk"] = "console_chunk"
    source_id: str
    at: str  # the number of its first line, padded, so that text order is number order
    first: int
    lines: list[str] = Field(default_factory=list)
    dropped: int = 0


def _place(number: int) -> str:
    return f"{max(0, number):015d}"


class Consoles:
    """What doors and reports do with consoles."""

    def __init__(self, store: Store, sender: CommandSender, audit: Audit) -> None:
        self._store, self._sender, self._audit = store, sender, audit

    async def keep(self, org: OrgId, node_id: str, server_id: str, payload: Mapping[str, Any]) -> None:
        """Keep uploaded lines, if they are the node's to speak about.

        Raises:
            WireError: the payload is not of the form.
        """
        told = from_wire(ConsoleLines, payload)
        observed = await self._store.find(org, ServerObserved, observed_id(server_id))
        if told.server_id != server_id or observed is None or observed.node_id != node_id:
            return
        chunk = ConsoleChunk(
            id=f"{server_id}:{_place(told.first)}",
            org_id=org,
            source_id=server_id,
            at=_place(told.first),
            first=told.first,
            lines=list(told.lines[:BATCH]),
            dropped=told.dropped,
            ttl=KEPT_SECONDS,
        )
        await self._store.upsert(org, chunk)

    async def read(self, org: OrgId, server_id: str, since: int, limit: int) -> ConsolePage:
        """Lines above `since`."""
        where = [Where("at", ">=", _place(since - BATCH))]
        page = await self._store.page(org, ConsoleChunk, where=where, sort="at", limit=50, sub=server_id)
        found: dict[int, str] = {}
        for chunk in page.items:
            found |= {chunk.first + index: text for index, text in enumerate(chunk.lines)}
        numbers = sorted(number for number in found if number > since)[:limit]
        gap = numbers[0] - since - 1 if numbers and since else 0
        lines = [ConsoleLine(number=number, text=found[number]) for number in numbers]
        return ConsolePage(lines=lines, next=numbers[-1] if numbers else since, dropped=max(0, gap))

    async def watch(self, org: OrgId, server_id: str, since: int, *, id: str) -> None:
        """Have the node upload its lines for the next minute.

        Raises:
            NotFound: there is no such server, or it has no node.
        """
        server = await self._server(org, server_id)
        payload = to_wire(WatchConsole(server.id, WATCH_SECONDS, since))
        order = Order(CommandType.SERVER_WATCH, f"watch#{id}", server.id, 0, payload, LINE_LIFE)
        await self._sender.send(org, str(server.node_id), order, task_id=id)

    async def write(self, org: OrgId, server_id: str, line: str, *, id: str, by: Actor) -> None:
        """Send one line to the game's input. Who sends what is written down before it goes.

        Raises:
            ServerNotRunning: nothing reads it.
            NotFound: there is no such server.
        """
        server = await self._server(org, server_id)
        observed = await self._store.find(org, ServerObserved, observed_id(server_id))
        if observed is None or observed.state not in ("running", "starting"):
            raise ServerNotRunning(f"it is {observed.state if observed else 'not there yet'}: nothing reads its input")
        payload = to_wire(SendLine(server.id, line))
        order = Order(CommandType.SERVER_CONSOLE, f"line#{id}", server.id, 0, payload, LINE_LIFE)
        await self._audit.record(org, by, "server.console_line_sent", target_of(server), after={"line": line})
        await self._sender.send(org, str(server.node_id), order, task_id=id)

    async def _server(self, org: OrgId, server_id: str) -> Server:
        server = await self._store.get(org, Server, server_id)
        if server.node_id is None:
            raise NotFound(f"Server {server_id} is on no node")
        return server
