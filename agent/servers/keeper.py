"""Keeps one server as its spec says: installs, starts, watches, restarts after a crash. Needs no control plane.

What is desired is on disk before anything is done (`Storage.put_server`), what must be remembered of the process after
each change (`put_server_state`). A newer spec ends the work on an older one:

    apply(spec 7) ── installing ──╳ cancelled          apply(spec 8, power off) ── stops ── done
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

from agent.context import Context
from agent.crash import CrashHistory, after_exit
from agent.drivers.base import DriverError, Exit, Handle, Running
from agent.servers.errors import StepFailed
from agent.servers.operation import Operation
from agent.servers.preparing import Preparer
from agent.servers.probes import wait_ready
from shared.messaging import codec
from shared.messaging.reports import Outcome, ReportType, Status
from shared.messaging.server_messages import Observed, Players, ProcessState, Sample, ServerReport
from shared.messaging.server_spec import ServerSpec

log = logging.getLogger("meridian.servers")
LAST_LINES: Final = 20
PROGRESS_SECONDS: Final = 2.0  # how often an operation's progress is told, if it changed
QUIET_SECONDS: Final = 3.0  # what is over sooner is told once, at its end: one message less on the bill


class Keeper:
    """One server."""

    def __init__(self, context: Context, preparer: Preparer, spec: ServerSpec, state: str = "{}") -> None:
        self._context, self._preparer, self.spec = context, preparer, spec
        remembered = json.loads(state)
        self._handle = Handle(**remembered["handle"]) if remembered.get("handle") else None
        self._history = CrashHistory(tuple(remembered.get("ends", ())), remembered.get("delay", 0.0))
        self._restarts: int = remembered.get("restarts", 0)
        self._failure: str = remembered.get("failure", "")
        self.running: Running | None = None
        self.state: ProcessState = remembered.get("state", "absent")
        self.players: Players | None = None
        self.usage: tuple[float, float] = (0.0, 0.0)  # percent of a core, MiB
        self.samples: list[Sample] = []
        self._ready_at: float | None = None
        self._exit: Exit | None = None
        self._last_lines: tuple[str, ...] = ()
        self._next_start: float | None = None
        self._stopping = False
        self._work: asyncio.Task[None] | None = None
        self._work_task_id: str | None = None
        self._waiting: asyncio.Task[None] | None = None  # for the end of a back-off

    # ---------------------------------------------------------------- commands

    async def apply(self, spec: ServerSpec, task_id: str | None) -> Outcome:
        """Bring the server to the spec; how that went."""
        if not self._context.storage.put_server(spec.server_id, spec.revision, codec.to_json(spec).decode()):
            return Outcome(Status.REJECTED, "stale_revision", f"a revision above {spec.revision} is kept already")
        if spec.revision > self.spec.revision:
            self._history = CrashHistory()  # somebody asked anew: earlier crashes are forgiven
        self.spec = spec
        return await self._operate(task_id, self._converge)

    async def kill(self, revision: int, task_id: str | None) -> Outcome:
        """End it now, and keep it down."""
        self.spec = codec.from_wire(
            ServerSpec, {**codec.to_wire(self.spec), "power": "off", "revision": max(revision, self.spec.revision)}
        )
        self._context.storage.put_server(self.spec.server_id, self.spec.revision, codec.to_json(self.spec).decode())
        if self._stopping and self.running is not None:
            await self.running.kill()  # a graceful stop is under way: this ends it
        return await self._operate(task_id, self._kill)

    async def remove(self, task_id: str | None) -> Outcome:
        """Stop it and delete everything of it."""
        return await self._operate(task_id, self._remove)

    def cancel(self, task_id: str) -> bool:
        """End the work of that task; False if it is not at work."""
        if self._work is None or self._work.done() or self._work_task_id != task_id:
            return False
        self._work.cancel("cancelled")
        return True

    async def _operate(self, task_id: str | None, work: Callable[[Operation], Awaitable[None]]) -> Outcome:
        await self._end_work()
        operation = Operation(task_id)
        self._work_task_id = task_id
        task = self._work = asyncio.create_task(_run(work, operation), name=f"work on {self.spec.server_id}")
        telling = self._context.spawn(self._tell_progress(operation), "tell progress") if task_id else None
        try:
            await asyncio.shield(task)
        except StepFailed as error:
            self._save()
            return self._outcome(operation, Status.FAILED, error.code, error.reason, error.output)
        except asyncio.CancelledError:
            if not task.cancelled():
                task.cancel()  # we ourselves are cancelled: the agent ends
                raise
            self._settle_state()
            return self._outcome(
                operation, Status.CANCELLED, "cancelled", "it was cancelled, or something newer was asked"
            )
        finally:
            if telling is not None:
                telling.cancel()
        return self._outcome(operation, Status.SUCCEEDED, "ok", "")

    async def _end_work(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting, self._next_start = None, None
        if self._work is not None and not self._work.done():
            if not self._stopping:  # a stop is waited for: a game that was told to end cannot be told to stay
                self._work.cancel("superseded")
            await asyncio.gather(self._work, return_exceptions=True)

    def _outcome(
        self, operation: Operation, status: Status, code: str, detail: str, output: tuple[str, ...] = ()
    ) -> Outcome:
        ends = {Status.SUCCEEDED: "done", Status.CANCELLED: "cancelled"}
        report = self.report(operation, ends.get(status, "failed"))
        return Outcome(status, code, detail, result={"report": codec.to_wire(report)}, output_tail=output)

    # ---------------------------------------------------------------- what is done

    async def _converge(self, operation: Operation) -> None:
        spec = self.spec
        if self._handle is None:
            await self._discover()
        stale = self._preparer.installed(spec.server_id) < spec.install.generation
        if self.running is not None and (spec.power == "off" or stale or spec.restarts > self._restarts):
            await self._stop(operation)
        if stale:
            await self._install(operation)
        if spec.power == "off":
            if self.running is None:
                await self._preparer.configure(spec, operation)
                self._enter("stopped")
            return
        if self.running is None:
            await self._preparer.configure(spec, operation)
            await self._start(operation)
        self._restarts = spec.restarts
        self._save()

    async def _install(self, operation: Operation) -> None:
        self._enter("installing")
        try:
            await self._preparer.install(self.spec, operation)
        except StepFailed as error:
            self._failure = error.reason
            self._enter("install_failed")
            raise
        self._failure = ""
        self._enter("stopped")

    async def _start(self, operation: Operation) -> None:
        with operation.step("start"):
            try:
                running = await self._context.driver.start(self._preparer.plan(self.spec))
            except DriverError as error:
                self._failure = error.reason
                self._enter("stopped")
                raise StepFailed(error.code, error.reason, retryable=error.code == "port_taken") from None
        first = running.console.next_number
        self._handle, self._ready_at, self._failure = running.handle, None, ""
        self._follow(running)
        self._enter("starting")
        with operation.step("ready"):
            await self._until_ready(running, first)

    async def _until_ready(self, running: Running, first: int) -> None:
        ready = asyncio.ensure_future(wait_ready(self.spec, running, first))
        ended = asyncio.ensure_future(running.wait())
        try:
            await asyncio.wait({ready, ended}, timeout=self.spec.ready_seconds, return_when=asyncio.FIRST_COMPLETED)
            lines = running.console.tail(LAST_LINES)
            if ended.done():
                code = ended.result().code
                raise StepFailed(
                    "ended_before_ready", f"the game ended with code {code} before it was ready", output=lines
                )
            if not ready.done():
                seconds = f"{self.spec.ready_seconds:.0f} s"
                raise StepFailed("not_ready", f"the game was not ready within {seconds}", output=lines)
            ready.result()
        finally:
            ready.cancel()
            ended.cancel()
        self._ready_at = time.time()
        self._enter("running")

    async def _stop(self, operation: Operation) -> None:
        running = self.running
        if running is None:
            return
        self._stopping = True
        self._enter("stopping")
        try:
            with operation.step("stop"):
                await running.stop(self.spec.stop)
        finally:
            self._stopping = False
        self._gone()
        self._enter("stopped")

    async def _kill(self, operation: Operation) -> None:
        running = self.running
        if running is not None:
            self._stopping = True
            try:
                with operation.step("stop"):
                    await running.kill()
            finally:
                self._stopping = False
            self._gone()
        self._enter("stopped")

    async def _remove(self, operation: Operation) -> None:
        await self._kill(operation)
        with operation.step("remove"):
            await self._preparer.remove(self.spec.server_id)
        self.state = "removed"
        self._context.storage.drop_server(self.spec.server_id)
        self._context.changed()

    # ---------------------------------------------------------------- the process's life

    async def take_up(self) -> None:
        """After a start of the agent: adopt what runs, start what should run."""
        if self.state == "removed":
            return
        found = None
        if self._handle is not None:
            found = await self._context.driver.adopt(self._preparer.plan(self.spec), self._handle)
        if found is not None:
            self._follow(found)
            self.state = "running" if self.state in ("running", "starting") else self.state
            return
        if await self._discover():
            return
        if self.spec.power == "off" or self.state in ("crash_loop", "install_failed", "absent", "installing"):
            self._settle_state()
            return
        if self._handle is not None and self.state in ("running", "starting"):
            self._decide(await self._context.driver.last_exit(self._handle))
        else:
            self._start_later(0.0)

    async def _discover(self) -> bool:
        """Whether a game runs of which nothing was remembered: it is taken over, and counts as what was asked for."""
        handle = await self._context.driver.find(self.spec.server_id)
        running = await self._context.driver.adopt(self._preparer.plan(self.spec), handle) if handle else None
        if running is None:
            return False
        log.warning("%s runs, and nothing was remembered of it: taken over", self.spec.server_id)
        self._handle, self._restarts = running.handle, self.spec.restarts
        self._follow(running)
        self._enter("running")
        return True

    def _follow(self, running: Running) -> None:
        self.running = running
        self._context.spawn(self._watch(running), f"watch {self.spec.server_id}")

    async def _watch(self, running: Running) -> None:
        ended = await running.wait()
        if self._stopping or self.running is not running:
            return
        self._last_lines = running.console.tail(LAST_LINES)
        self._exit = ended
        self._gone()
        self._decide(ended)

    def _decide(self, ended: Exit) -> None:
        """What follows an end that nobody asked for."""
        assert self._handle is not None
        decision = after_exit(self.spec.crash, self._history, ended, self._handle.started_at)
        self._history, self._exit, self._failure = decision.history, ended, decision.reason
        if self.spec.power == "off" or decision.action == "stay_down":
            self._enter("stopped")
        elif decision.action == "crash_loop":
            self._enter("crash_loop")
        else:
            self._next_start = decision.at
            self._enter("backing_off")
            self._start_later(max(0.0, decision.at - time.time()))
        self.tell(None)

    def _start_later(self, seconds: float) -> None:
        self._waiting = self._context.spawn(self._start_after(seconds), f"restart {self.spec.server_id}")

    async def _start_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._waiting, self._next_start = None, None
        operation = Operation()
        try:
            await self._preparer.configure(self.spec, operation)
            await self._start(operation)
        except StepFailed as error:
            log.warning("%s did not start: %s", self.spec.server_id, error.reason)
            if self.running is None and self.state == "stopped":  # it never ran, so nothing else will try again
                now = time.time()
                self._handle = Handle(self.spec.server_id, "", now)
                self._decide(Exit(None, now))
                return
        self.tell(None)

    def _gone(self) -> None:
        self.running, self.players, self.usage, self._ready_at = None, None, (0.0, 0.0), None

    def _settle_state(self) -> None:
        """What the state is when work was broken off."""
        installed = self._preparer.installed(self.spec.server_id) > 0
        if self.running is None and self.state not in ("crash_loop", "install_failed"):
            self._enter("stopped" if installed else "absent")
        elif self.running is not None and self.state in ("stopping", "stopped"):
            self._enter("running")

    def _enter(self, state: ProcessState) -> None:
        changed, self.state = state != self.state, state
        self._save()
        if changed:
            self._context.changed()

    def _save(self) -> None:
        remembered: dict[str, Any] = {
            "handle": asdict(self._handle) if self._handle and self._handle.token else None,
            "ends": self._history.ends,
            "delay": self._history.delay,
            "restarts": self._restarts,
            "state": self.state,
            "failure": self._failure,
        }
        self._context.storage.put_server_state(self.spec.server_id, json.dumps(remembered))

    # ---------------------------------------------------------------- telling

    def observed(self) -> Observed:
        """How the server is."""
        running = self.running
        started = self._handle.started_at if self._handle and running else None
        return Observed(
            server_id=self.spec.server_id,
            revision=self.spec.revision,
            state=self.state,
            at=time.time(),
            pid=running.pid if running else None,
            started_at=started,
            ready_at=self._ready_at,
            exit_code=self._exit.code if self._exit and not running else None,
            crashes=len(self._history.ends),
            next_start_at=self._next_start,
            generation=self._preparer.installed(self.spec.server_id),
            restarts=self._restarts,
            cpu_percent=self.usage[0],
            memory_mib=self.usage[1],
            players=self.players,
            bound=running.bound_ports() if running else (),
            last_lines=() if running else self._last_lines,
            reason=self._failure,
        )

    def report(self, operation: Operation | None, outcome: Any = "") -> ServerReport:
        """The report of now."""
        task_id, steps = (operation.task_id, operation.steps) if operation else (None, ())
        samples, self.samples = tuple(self.samples), []
        return ServerReport(self.observed(), task_id, steps, outcome, samples)

    def tell(self, operation: Operation | None) -> None:
        """Put a report into the outbox."""
        report = self.report(operation)
        self._context.outbox.add(
            ReportType.SERVER_REPORT,
            report,
            server_id=self.spec.server_id,
            task_id=report.task_id,
            keep=not report.samples,
        )

    async def _tell_progress(self, operation: Operation) -> None:
        """An operation that lasts is told of: what is over in a moment is told once, at its end."""
        await asyncio.sleep(QUIET_SECONDS)
        while True:
            if operation.changed:
                operation.changed = False
                self.tell(operation)
            await asyncio.sleep(PROGRESS_SECONDS)


async def _run(work: Callable[[Operation], Awaitable[None]], operation: Operation) -> None:
    await work(operation)
