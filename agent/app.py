"""The running agent: its pieces, put together and kept going."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sqlite3
import time
from collections.abc import Collection, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from agent import __version__
from agent.api import Api, ApiRefused, ApiUnreachable
from agent.backoff import Backoff
from agent.beat import Heart
from agent.config import Config
from agent.context import Context, Handler, Part
from agent.drivers.base import Driver
from agent.drivers.process import ProcessDriver
from agent.heap import slim_heap
from agent.identity import NEW_KEY, Identity, IdentityError, check_certificate, command_keys, make_csr, make_key
from agent.inbox import Inbox
from agent.link import BrokerLink, slim_tls_buffers
from agent.metrics import MachineUse
from agent.node_part import NodePart
from agent.outbox import Outbox
from agent.owners import Owners
from agent.releases import Releases
from agent.status import Status, write_status
from agent.storage import DATABASE, Storage
from agent.updating import Updater
from shared.messaging.agent_api import BeatAnswer, Certificate, RenewRequest, ServerState, SessionAnswer
from shared.messaging.commands import CommandType

log = logging.getLogger("meridian.agent")
PURGE_SECONDS: Final = 3600.0
GATHER_SECONDS: Final = 0.5  # changes come in flocks: they are told once
GOODBYE_SECONDS: Final = 3.0
CANCEL_AGAIN_SECONDS: Final = 0.5


class Agent:
    """See the module."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._changed = asyncio.Event()  # something that the status file tells
        self.identity = Identity(config.path)
        papers = self.identity.papers
        self.storage = Storage(config.path / DATABASE, config.max_reports, config.max_report_mib * 2**20)
        self.api = Api(config.api_url or papers.api_url, config.ca_file)
        self.outbox = Outbox(self.storage, papers.org_id, papers.node_id)
        owners = Owners(config.path, config.game_user)
        if owners.problem:
            log.warning(owners.problem)
        self.context = Context(config, self.storage, make_driver(config), self.outbox, owners)
        self.updater = Updater(self.context, self.stop)
        self.parts = self._make_parts()
        self.inbox = Inbox(self.storage, self.outbox, papers.org_id, papers.node_id, self._handlers())
        self.link = BrokerLink(config, self.storage, self.outbox, self.inbox, lambda: self.identity, self._session)
        self.heart = Heart(
            self.api,
            lambda: self.identity,
            self.storage,
            MachineUse(config.path),
            self.link,
            self._states,
            self._on_answer,
            owners.problem,
        )
        self.context.changed = self._on_change
        self._was_up = False
        self.link.on_state = self._on_link
        self._renew = asyncio.Event()
        self._reached = False
        self._ending = asyncio.Event()
        self.end_reason = ""

    def _make_parts(self) -> list[Part]:
        from agent.doctor import examine

        async def diagnose() -> list[str]:
            return [str(finding) for finding in await asyncio.to_thread(examine, self.config)]

        parts: list[Part] = [NodePart(self.context, diagnose, self.updater.handle)]
        parts.append(make_servers_part(self.context))
        return parts

    def _handlers(self) -> dict[CommandType, Handler]:
        found: dict[CommandType, Handler] = {}
        for part in self.parts:
            for kind, handler in part.handlers().items():
                if kind in found:
                    raise ValueError(f"two parts answer to {kind}")
                found[kind] = handler
        return found

    def _states(self) -> tuple[ServerState, ...]:
        return tuple(state for part in self.parts for state in part.states())

    def stop(self, reason: str) -> None:
        """End, after what is being said has been said."""
        self.end_reason = reason
        self._ending.set()

    async def run(self) -> None:
        """Work until `stop` is called or the task is cancelled. Games are started before anyone is asked."""
        slim_heap()
        slim_tls_buffers()
        for part in self.parts:
            await part.start()
        self.inbox.resume()
        if self.storage.report_count:
            self.outbox.filled.set()
        gc.freeze()  # what was imported stays: it need not be looked through again and again
        loops: tuple[Coroutine[Any, Any, None], ...] = (
            self.link.run(),
            self.heart.run(),
            self._keep_certificate(),
            self._housekeeping(),
            self._tell_status(),
            self._stand_trial(),
        )
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(loop) for loop in loops]
        ending = asyncio.create_task(self._ending.wait())
        try:
            done, _ = await asyncio.wait([*tasks, ending], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {ending}:
                task.result()  # a loop that ended did so by an error: let the supervisor see it
            await self._say_goodbye()
        finally:
            await self._close([*tasks, ending])

    async def _say_goodbye(self) -> None:
        """Give the last reports a moment to leave, if there is a line for them."""
        deadline = time.monotonic() + GOODBYE_SECONDS
        while self.link.state == "up" and self.storage.report_count and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _close(self, tasks: list[asyncio.Task[Any]]) -> None:
        # Once is not enough: a task group whose child fails in the same turn raises that failure, and the cancellation is
        # lost in it (the broker dies while we are told to end: the link would go on to its next try).
        pending: Collection[asyncio.Task[Any]] = tasks
        while pending:
            for task in pending:
                task.cancel()
            done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
            for task in done:
                task.cancelled() or task.exception()  # seen, so that nobody complains
        await self.inbox.close()
        for part in self.parts:
            await part.close()
        await self.context.cancel_all()
        await self.context.driver.close()
        self.storage.close()

    # ---------------------------------------------------------------- papers

    async def _session(self) -> SessionAnswer:
        session = await self.api.post("/v1/agent/session", {}, SessionAnswer, self.identity)
        try:
            self.inbox.keys = command_keys(session.command_keys, self.identity.papers, datetime.now(UTC))
        except IdentityError as error:
            raise ApiUnreachable(f"the session cannot be trusted: {error}") from None
        return session

    def _on_answer(self, answer: BeatAnswer) -> None:
        if not self._reached:
            self._reached = True
            self.updater.reached()
        self._changed.set()
        if answer.refresh_session:
            self.link.refresh()
        if answer.renew_certificate:
            self._renew.set()

    async def _keep_certificate(self) -> None:
        """Renew when two thirds of the certificate's life are over, or when asked."""
        backoff = Backoff(first=10.0, longest=3600.0)
        while True:
            left = self.identity.papers.certificate.renew_after - datetime.now(UTC)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(left, timedelta(days=1)).total_seconds())):
                    await self._renew.wait()
            if not self._renew.is_set() and datetime.now(UTC) < self.identity.papers.certificate.renew_after:
                continue
            try:
                await self.renew_certificate()
                self._renew.clear()
                backoff.reset()
            except (ApiUnreachable, ApiRefused, IdentityError) as error:
                log.warning("the certificate could not be renewed: %s", error)
                await asyncio.sleep(backoff.next())

    async def renew_certificate(self) -> None:
        """A new key, a certificate for it, and from then on those."""
        papers = self.identity.papers
        key = make_key(self.config.path / NEW_KEY)
        request = RenewRequest(make_csr(key, papers.node_id))
        certificate = await self.api.post("/v1/agent/certificates", request, Certificate, self.identity)
        check_certificate(key, certificate, papers.root_pem)
        self.identity.renewed(certificate)
        log.info("certificate renewed, valid until %s", certificate.not_after)

    # ---------------------------------------------------------------- housekeeping

    async def _stand_trial(self) -> None:
        """A release on trial that does not reach the control plane in time ends, and the launcher goes back."""
        trial = Releases(self.config.path).trial
        if trial is not None:
            await asyncio.sleep(max(0.0, trial.deadline - time.time()))
            if not self._reached:
                log.error("this release did not reach the control plane in time")
                self.stop("trial failed")
        await asyncio.Event().wait()

    async def _housekeeping(self) -> None:
        """Forget what is old."""
        while True:
            try:
                self.storage.purge(self.config.journal_days)
            except sqlite3.Error as error:
                log.warning("the journal cannot be cleared: %s", error)
            await asyncio.sleep(PURGE_SECONDS)

    async def _tell_status(self) -> None:
        """Keep the file for `meridian-agent status`: written when something has changed, as it wakes disks otherwise."""
        while True:
            self._changed.clear()
            try:
                write_status(self.config.path, self._status())
            except OSError as error:  # a full disk must not end the agent
                log.warning("the status cannot be written: %s", error)
            await self._changed.wait()
            await asyncio.sleep(GATHER_SECONDS)

    def _status(self) -> Status:
        papers = self.identity.papers
        return Status(
            pid=os.getpid(),
            version=__version__,
            at=time.time(),
            node_id=papers.node_id,
            name=papers.name,
            org_id=papers.org_id,
            api_url=self.api.url,
            link=self.link.state,
            problem=self.link.problem,
            broker=self.link.places,
            last_beat_at=self.heart.last_answered_at,
            reports_waiting=self.storage.report_count,
            reports_dropped=self.storage.reports_dropped,
            commands_at_work=self.inbox.at_work,
            clock_skew_seconds=round(self.api.skew, 1),
            certificate_ends=papers.certificate.not_after.isoformat(),
            servers=[{"id": one.id, "revision": one.revision, "state": one.state} for one in self._states()],
        )

    def _on_change(self) -> None:
        self._changed.set()
        self.heart.changed()

    def _on_link(self) -> None:
        """A line that came up or went down is told at once: a node that cannot take commands is not well."""
        self._changed.set()
        up = self.link.state == "up"
        if up != self._was_up:
            self._was_up = up
            self.heart.changed()


def make_driver(config: Config) -> Driver:
    """The driver that the settings name."""
    if config.driver == "container":
        from agent.drivers.container import ContainerDriver

        return ContainerDriver(config.path / "run", Path(config.container_socket))
    return ProcessDriver(config.path / "run")


def make_servers_part(context: Context) -> Part:
    """The part that keeps servers."""
    from agent.servers.part import ServersPart

    part: Part = ServersPart(context)
    return part
