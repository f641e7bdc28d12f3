"""Keeps one server as its spec says: installs, starts, watches, restarts after a crash. Needs no control plane.

What is desired is on disk before anything is done (`Storage.put_server`), what must be remembered of the process after
each change (`put_server_state`). A newer spec ends the work on an older one:

    apply(spec 7) ── installing ──╳ cancelled          apply(spec 8, power off) ── stops ── done
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from agent.context import Context
from agent.crash import CrashHistory, after_exit
from agent.drivers.base import DriverError, Exit, Handle, Running
from agent.servers.errors import StepFailed
from agent.servers.known import Known
from agent.servers.operation import Operation
from agent.servers.preparing import Preparer
from agent.servers.probes import LAST_LINES, until_ready
from shared.messaging import codec
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_spec import ServerSpec

log = logging.getLogger("meridian.servers")


class Keeper:
    """One server."""

    def __init__(self, context: Context, preparer: Preparer, spec: ServerSpec, state: str = "{}") -> None:
        self._context, self._preparer = context, preparer
        self.known = Known(context, preparer, spec, state)
        self._stopping = False
        self._work: asyncio.Task[None] | None = None
        self._work_task_id: str | None = None
        self._waiting: asyncio.Task[None] | None = None  # for the end of a back-off

    # ---------------------------------------------------------------- commands

    async def apply(self, spec: ServerSpec, task_id: str | None) -> Outcome:
        """Bring the server to the spec; how that went."""
        if not self._context.storage.put_server(spec.server_id, spec.revision, codec.to_json(spec).decode()):
            return Outcome(Status.REJECTED, "stale_revision", f"a revision above {spec.revision} is kept already")
        if spec.revision > self.known.spec.revision:
            self.known.history = CrashHistory()  # somebody asked anew: earlier crashes are forgiven
        self.known.spec = spec
        return await self._operate(task_id, self._converge)

    async def kill(self, revision: int, task_id: str | None) -> Outcome:
        """End it now, and keep it down."""
        self.known.spec = codec.from_wire(
            ServerSpec,
            {**codec.to_wire(self.known.spec), "power": "off", "revision": max(revision, self.known.spec.revision)},
        )
        self._context.storage.put_server(
            self.known.spec.server_id, self.known.spec.revision, codec.to_json(self.known.spec).decode()
        )
        if self._stopping and self.known.running is not None:
            await self.known.running.kill()  # a graceful stop is under way: this ends it
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

    async def _operate(self, task_id: str | None, work: Callable[[Operation], Coroutine[Any, Any, None]]) -> Outcome:
        await self._end_work()
        operation = Operation(task_id)
        self._work_task_id = task_id
        task = self._work = asyncio.create_task(work(operation), name=f"work on {self.known.spec.server_id}")
        telling = self._context.spawn(self.known.tell_progress(operation), "tell progress") if task_id else None
        try:
            await asyncio.shield(task)
        except StepFailed as error:
            self.known.save()
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
            self._waiting, self.known.next_start = None, None
        if self._work is not None and not self._work.done():
            if not self._stopping:  # a stop is waited for: a game that was told to end cannot be told to stay
                self._work.cancel("superseded")
            await asyncio.gather(self._work, return_exceptions=True)

    def _outcome(
        self, operation: Operation, status: Status, code: str, detail: str, output: tuple[str, ...] = ()
    ) -> Outcome:
        ends = {Status.SUCCEEDED: "done", Status.CANCELLED: "cancelled"}
        report = self.known.report(operation, ends.get(status, "failed"))
        return Outcome(status, code, detail, result={"report": codec.to_wire(report)}, output_tail=output)

    # ---------------------------------------------------------------- what is done

    async def _converge(self, operation: Operation) -> None:
        spec = self.known.spec
        if self.known.handle is None:
            await self._discover()
        stale = self._preparer.installed(spec.server_id) < spec.install.generation
        if self.known.running is not None and (spec.power == "off" or stale or spec.restarts > self.known.restarts):
            await self._stop(operation)
        if stale:
            await self._install(operation)
        if spec.power == "off":
            if self.known.running is None:
                await self._preparer.configure(spec, operation)
                self.known.enter("stopped")
            return
        if self.known.running is None:
            await self._preparer.configure(spec, operation)
            await self._start(operation)
        self.known.restarts = spec.restarts
        self.known.save()

    async def _install(self, operation: Operation) -> None:
        self.known.enter("installing")
        try:
            await self._preparer.install(self.known.spec, operation)
        except StepFailed as error:
            self.known.failure = error.reason
            self.known.enter("install_failed")
            raise
        self.known.failure = ""
        self.known.enter("stopped")

    async def _start(self, operation: Operation) -> None:
        with operation.step("start"):
            try:
                running = await self._context.driver.start(self._preparer.plan(self.known.spec))
            except DriverError as error:
                self.known.failure = error.reason
                self.known.enter("stopped")
                again = error.code == "port_taken"
                raise StepFailed(error.code, error.reason, retryable=again, taken=error.taken) from None
        first = running.console.next_number
        self.known.handle, self.known.ready_at, self.known.failure = running.handle, None, ""
        self._follow(running)
        self.known.enter("starting")
        with operation.step("ready"):
            await until_ready(self.known.spec, running, first)
        self.known.ready_at = time.time()
        self.known.enter("running")

    async def _stop(self, operation: Operation) -> None:
        running = self.known.running
        if running is None:
            return
        self._stopping = True
        self.known.enter("stopping")
        try:
            with operation.step("stop"):
                await running.stop(self.known.spec.stop)
        finally:
            self._stopping = False
        self.known.gone()
        self.known.enter("stopped")

    async def _kill(self, operation: Operation) -> None:
        running = self.known.running
        if running is not None:
            self._stopping = True
            try:
                with operation.step("stop"):
                    await running.kill()
            finally:
                self._stopping = False
            self.known.gone()
        self.known.enter("stopped")

    async def _remove(self, operation: Operation) -> None:
        await self._kill(operation)
        with operation.step("remove"):
            await self._preparer.remove(self.known.spec.server_id)
        self.known.state = "removed"
        self._context.storage.drop_server(self.known.spec.server_id)
        self._context.changed()

    # ---------------------------------------------------------------- the process's life

    async def take_up(self) -> None:
        """After a start of the agent: adopt what runs, start what should run."""
        if self.known.state == "removed":
            return
        found = None
        if self.known.handle is not None:
            found = await self._context.driver.adopt(self._preparer.plan(self.known.spec), self.known.handle)
        if found is not None:
            self._follow(found)
            self.known.state = "running" if self.known.state in ("running", "starting") else self.known.state
            return
        if await self._discover():
            return
        if self.known.spec.power == "off" or self.known.state in (
            "crash_loop",
            "install_failed",
            "absent",
            "installing",
        ):
            self._settle_state()
            return
        if self.known.handle is not None and self.known.state in ("running", "starting"):
            self._decide(await self._context.driver.last_exit(self.known.handle))
        else:
            self._start_later(0.0)

    async def _discover(self) -> bool:
        """Whether a game runs of which nothing was remembered: it is taken over, and counts as what was asked for."""
        handle = await self._context.driver.find(self.known.spec.server_id)
        running = await self._context.driver.adopt(self._preparer.plan(self.known.spec), handle) if handle else None
        if running is None:
            return False
        log.warning("%s runs, and nothing was remembered of it: taken over", self.known.spec.server_id)
        self.known.handle, self.known.restarts = running.handle, self.known.spec.restarts
        self._follow(running)
        self.known.enter("running")
        return True

    def _follow(self, running: Running) -> None:
        self.known.running = running
        self._context.spawn(self._watch(running), f"watch {self.known.spec.server_id}")

    async def _watch(self, running: Running) -> None:
        ended = await running.wait()
        if self._stopping or self.known.running is not running:
            return
        self.known.last_lines = running.console.tail(LAST_LINES)
        self.known.exit = ended
        self.known.gone()
        self._decide(ended)

    def _decide(self, ended: Exit) -> None:
        """What follows an end that nobody asked for."""
        assert self.known.handle is not None
        decision = after_exit(self.known.spec.crash, self.known.history, ended, self.known.handle.started_at)
        self.known.history, self.known.exit, self.known.failure = decision.history, ended, decision.reason
        if self.known.spec.power == "off" or decision.action == "stay_down":
            self.known.enter("stopped")
        elif decision.action == "crash_loop":
            self.known.enter("crash_loop")
        else:
            # At most the whole delay: the clock may have been set back since the game ended.
            wait = min(max(0.0, decision.at - time.time()), decision.history.delay)
            self.known.next_start = time.time() + wait
            self.known.enter("backing_off")
            self._start_later(wait)
        self.known.tell(None)

    def _start_later(self, seconds: float) -> None:
        self._waiting = self._context.spawn(self._start_after(seconds), f"restart {self.known.spec.server_id}")

    async def _start_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._waiting, self.known.next_start = None, None
        operation = Operation()
        try:
            await self._preparer.configure(self.known.spec, operation)
            await self._start(operation)
        except StepFailed as error:
            log.warning("%s did not start: %s", self.known.spec.server_id, error.reason)
            if (
                self.known.running is None and self.known.state == "stopped"
            ):  # it never ran, so nothing else will try again
                now = time.time()
                self.known.handle = Handle(self.known.spec.server_id, "", now)
                self._decide(Exit(None, now))
                return
        self.known.tell(None)

    def _settle_state(self) -> None:
        """What the state is when work was broken off."""
        installed = self._preparer.installed(self.known.spec.server_id) > 0
        if self.known.running is None and self.known.state not in ("crash_loop", "install_failed"):
            self.known.enter("stopped" if installed else "absent")
        elif self.known.running is not None and self.known.state in ("stopping", "stopped"):
            self.known.enter("running")
