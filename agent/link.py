"""The line to the message broker: connects, keeps papers fresh, receives commands, sends reports; comes back when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sqlite3
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Literal

from agent.amqp.codec import AmqpError
from agent.amqp.connection import Connection, connected
from agent.amqp.frames import Stream
from agent.amqp.links import Link
from agent.amqp.messages import Message
from agent.amqp.websocket import WebSocket
from agent.api import ApiRefused, ApiUnreachable
from agent.backoff import Backoff
from agent.config import Config
from agent.identity import Identity
from agent.inbox import Inbox
from agent.outbox import Outbox
from agent.storage import Storage
from shared.messaging import jws
from shared.messaging.agent_api import Grant, Namespace, SessionAnswer
from shared.messaging.reports import REPORT_KIND

log = logging.getLogger("meridian.agent")
CREDIT: Final = 20
SEND_AT_ONCE: Final = 50
SENDER_IDLE_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
#: A session is renewed when this part of its life is over.
RENEW_AT: Final = 0.8

State = Literal["up", "connecting", "down"]


class TcpStream:
    """A TCP or TLS stream as `Stream` (asyncio's two halves in one)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.readexactly, self.write, self.drain, self.close = (
            reader.readexactly,
            writer.write,
            writer.drain,
            writer.close,
        )


class BrokerLink:
    """See the module."""

    def __init__(
        self,
        config: Config,
        storage: Storage,
        outbox: Outbox,
        inbox: Inbox,
        identity: Callable[[], Identity],
        session: Callable[[], Awaitable[SessionAnswer]],
    ) -> None:
        self._config, self._storage, self._outbox, self._inbox = config, storage, outbox, inbox
        self._identity, self._fetch = identity, session
        self._session: SessionAnswer | None = None
        self._session_since = datetime.now(UTC)
        self._backoff = Backoff()
        self._websocket = config.broker == "websocket"
        self._refresh = asyncio.Event()
        self.on_state: Callable[[], None] = lambda: None  # called when `state` or `problem` may have changed
        self.state: State = "connecting"
        self.problem = ""

    @property
    def places(self) -> list[str]:
        """Where the broker is, as the last session said."""
        if self._session is None:
            return []
        namespace = self._session.namespace
        ports = [namespace.amqp_port, *([namespace.websocket_port] if namespace.websocket else [])]
        return [f"{namespace.host}:{port}" for port in ports]

    def refresh(self) -> None:
        """The control plane asks for a new session."""
        self._refresh.set()

    async def run(self) -> None:
        """Connect and work until cancelled."""
        while True:
            at_least = 0.0
            try:
                await self._work()
            except* (AmqpError, ApiUnreachable, ApiRefused, OSError, TimeoutError, EOFError, sqlite3.Error) as group:
                at_least = self._explain(group)
            self.state = "down" if self.problem else "connecting"
            self.on_state()
            pause = self._backoff.next(at_least)
            log.info("the line is down (%s); next try in %.1f s", self.problem, pause)
            await asyncio.sleep(pause)

    def _explain(self, group: BaseExceptionGroup[Exception]) -> float:
        """Remember why, and whether the session is to blame; how long the API wants us to wait."""
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self.problem = str(error) or type(error).__name__
        if isinstance(error, sqlite3.Error):  # what cannot be written down is not acknowledged: it comes again
            self.problem = f"the journal cannot be written: {error}"
        if isinstance(error, AmqpError) and error.condition in ("amqp:unauthorized-access", "amqp:not-found"):
            self._session = None  # expired, revoked, or the queue was made anew: ask again
        return (error.retry_after or 0.0) if isinstance(error, ApiRefused) else 0.0

    async def _work(self) -> None:
        self.state = "connecting"
        session = await self._fresh_session()
        self._storage.try_room()
        async with self._open(session.namespace) as connection:
            namespace = session.namespace
            await connection.authorize(_audience(namespace, session.commands), session.commands.token)
            receiver = await connection.attach(session.commands.entity, receiver=True)
            connection.grant(receiver, CREDIT)
            self.state, self.problem = "up", ""
            self.on_state()
            self._backoff.reset()
            log.info("connected to %s, receiving from %s", namespace.host, session.commands.entity)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(connection, receiver))
                group.create_task(self._send(connection))
                group.create_task(self._keep_papers(connection))

    async def _receive(self, connection: Connection, receiver: Link) -> None:
        while True:
            delivery = await connection.receive(receiver)
            self._inbox.take(delivery.message.body)  # written down before it is acknowledged
            await connection.settle(delivery)
            if receiver.credit < CREDIT // 2:
                connection.grant(receiver, CREDIT)

    # ---------------------------------------------------------------- reports

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._outbox.filled.wait()
            session = await self._fresh_session()
            await connection.authorize(_audience(session.namespace, session.reports), session.reports.token)
            sender = await connection.attach(session.reports.entity, receiver=False)
            try:
                while await self._send_some(connection, sender):
                    pass
            finally:
                if sender.failed is None:
                    await connection.detach(sender)

    async def _send_some(self, connection: Connection, sender: Link) -> bool:
        """Send what waits; False when there was nothing to say for a while."""
        batch = self._storage.reports(SEND_AT_ONCE)
        if not batch:
            self._outbox.filled.clear()
            try:
                async with asyncio.timeout(SENDER_IDLE_SECONDS):
                    await self._outbox.filled.wait()
            except TimeoutError:
                return False
            return True
        identity = self._identity()
        async with asyncio.TaskGroup() as group:
            for sequence, content in batch:
                group.create_task(connection.send(sender, _report_message(identity, sequence, content)))
        self._storage.delivered(batch[0][0], batch[-1][0])  # the oldest, without a gap: none comes in between
        return True

    # ---------------------------------------------------------------- papers

    async def _fresh_session(self) -> SessionAnswer:
        """A session that holds; while the control plane is away the one that we have, to its end.

        Raises:
            ApiUnreachable, ApiRefused: there is none to be had.
        """
        now, kept = datetime.now(UTC), self._session
        if kept is None or self._refresh.is_set() or now >= self._moment(kept, RENEW_AT):
            try:
                self._session = await self._fetch()
            except ApiUnreachable as error:
                if kept is None or now >= self._moment(kept, 1.0):
                    raise
                log.info("no new session (%s): the present one goes on", error)
                return kept
            self._session_since = now
            self._refresh.clear()
            return self._session
        return kept

    def _moment(self, session: SessionAnswer, part: float) -> datetime:
        """When so much of a session's life is over, by our clock."""
        return self._session_since + (session.commands.expires_at - session.server_time) * part

    async def _keep_papers(self, connection: Connection) -> None:
        """Put new tokens on the same connection before the old ones end."""
        backoff = Backoff()
        while True:
            kept = self._session
            assert kept is not None
            left = (self._moment(kept, RENEW_AT) - datetime.now(UTC)).total_seconds()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(1.0, left)):
                    await self._refresh.wait()
            session = await self._fresh_session()
            if session is kept:  # the control plane is away
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            await connection.authorize(_audience(session.namespace, session.commands), session.commands.token)

    # ---------------------------------------------------------------- transport

    @contextlib.asynccontextmanager
    async def _open(self, namespace: Namespace) -> AsyncIterator[Connection]:
        stream = await self._connect(namespace)
        async with connected(stream, namespace.host) as connection:
            yield connection

    async def _connect(self, namespace: Namespace) -> Stream:
        """AMQP's own port; where that is closed, WebSocket on the port of HTTPS, and that from then on."""
        if not self._websocket:
            try:
                return await self._dial(namespace, namespace.amqp_port, websocket=False)
            except (OSError, TimeoutError) as error:
                if self._config.broker == "amqp" or not namespace.websocket:
                    raise
                log.info("port %d of %s is closed (%s): trying WebSocket", namespace.amqp_port, namespace.host, error)
        stream = await self._dial(namespace, namespace.websocket_port, websocket=True)
        self._websocket = self._config.broker != "amqp"
        return stream

    async def _dial(self, namespace: Namespace, port: int, *, websocket: bool) -> Stream:
        context = _tls(namespace) if namespace.tls else None
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                namespace.host, port, ssl=context, server_hostname=namespace.host if context else None, limit=64 * 1024
            )
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if websocket:
                return await WebSocket.open(reader, writer, namespace.host)
        return TcpStream(reader, writer)


def _tls(namespace: Namespace) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=namespace.ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def slim_tls_buffers() -> None:
    """asyncio holds a buffer of 256 KiB for each TLS connection; messages here are small. A test guards the attribute."""
    from asyncio import sslproto

    sslproto.SSLProtocol.max_size = 16 * 1024


def _audience(namespace: Namespace, grant: Grant) -> str:
    return f"sb://{namespace.host}/{grant.entity}"


def _report_message(identity: Identity, sequence: int, content: str) -> Message:
    papers = identity.papers
    envelope = jws.sign(content.encode(), identity.key, REPORT_KIND, papers.certificate.thumbprint)
    return Message(
        body=envelope.encode(),
        id=f"{papers.node_id}:{sequence}",
        subject="report",
        application={"node": papers.node_id},
    )
