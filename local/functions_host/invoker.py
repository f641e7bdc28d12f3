"""Calling a function: on the loop or in the thread pool, within its time, with its outputs collected."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from local.functions_host.converters import InvocationContext, OutValue, encode_output
from local.functions_host.log import current_function
from local.functions_host.meter.counters import Meter
from local.functions_host.model import Function
from local.functions_host.places import place_of

_WATCH_SECONDS = 0.5  # how late a functionTimeout may be noticed; its least is one second


class InvocationFailed(Exception):
    """A call failed; the text is "ClassName: message", as Microsoft's worker words it."""

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(text)
        self.place = place

    @property
    def told(self) -> str:
        """The text with the place in the app, for the log."""
        return f"{self} ({self.place})" if self.place else str(self)


class FunctionTimeout(InvocationFailed):
    """A call ran longer than host.json's functionTimeout."""


class Invoker:
    """Runs functions in this process: `async def` on the loop, plain `def` in a pool of threads."""

    def __init__(self, folder: Path, threads: int, timeout: float | None, meter: Meter) -> None:
        """Args: `folder` is the app's; `timeout` is seconds of one call, None for no limit."""
        self._folder = folder
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._timeout = timeout
        self._meter = meter
        self.client_binding: Callable[[], str] = str  # set once the durable engine listens
        self._threads: set[Future[Any]] = set()
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch over functionTimeout."""
        if self._timeout is not None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def call(
        self, function: Function, value: Any, *, traceparent: str | None = None
    ) -> tuple[Any, list[tuple[Mapping[str, Any], Any]]]:
        """Run a function.

        Args:
            function: which.
            value: the decoded value of its trigger.
            traceparent: the W3C trace context that it continues, if there is one.

        Returns:
            What it returned, and (binding, encoded value) of each output that it set.

        Raises:
            InvocationFailed: it raised, took too long, or returned a value that nothing takes.
        """
        arguments = self._arguments(function, value, traceparent)
        group, start = function.group, time.monotonic()
        self._meter.began(group, start)
        failed = True
        token = current_function.set(function.name)
        try:
            work = function.call(**arguments) if function.is_async else self._in_thread(function, arguments)
            result = await (work if self._timeout is None else self._within(work, start + self._timeout, function))
            outputs = self._outputs(function, arguments, result)
            failed = False
            return result, outputs
        except InvocationFailed:
            raise
        except Exception as error:  # whatever user code raises becomes the call's failure, as in the worker
            raise InvocationFailed(describe_failure(error), place_of(error, self._folder)) from error
        finally:
            current_function.reset(token)
            self._meter.ended(function.name, group, start, time.monotonic(), failed)

    async def in_pool(self, function: Function, work: Callable[[], Any]) -> Any:
        """Run a piece of a function's code in the pool, with the log attributed to it."""
        token = current_function.set(function.name)
        try:
            context = contextvars.copy_context()
            started = self._submit(lambda: context.run(work))
            if self._timeout is None:
                return await started
            return await self._within(started, time.monotonic() + self._timeout, function)
        finally:
            current_function.reset(token)

    def close(self) -> int:
        """Take no more calls; how many threads still run (a thread cannot be killed, it ends with the process)."""
        if self._watcher is not None:
            self._watcher.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        return len(self._threads)

    def _in_thread(self, function: Function, arguments: dict[str, Any]) -> Awaitable[Any]:
        context = contextvars.copy_context()
        return self._submit(lambda: context.run(function.call, **arguments))

    def _submit(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        started = self._pool.submit(work)
        self._threads.add(started)
        started.add_done_callback(self._threads.discard)
        return asyncio.wrap_future(started)

    async def _within(self, work: Awaitable[Any], deadline: float, function: Function) -> Any:
        """Await the work until its deadline. Calls have one and the same limit, so `_deadlines` is in their order."""
        task = asyncio.current_task()
        assert task is not None
        self._deadlines[task] = deadline
        try:
            return await work
        except asyncio.CancelledError:
            if task in self._deadlines:  # not by the watch: the host is stopping
                raise
            task.uncancel()
            raise FunctionTimeout(
                f"TimeoutError: function {function.name!r} took longer than functionTimeout ({self._timeout:g} s)"
            ) from None
        finally:
            self._deadlines.pop(task, None)

    async def _watch(self) -> None:
        """Cancel calls that are over their time. A thread cannot be killed: it runs on and its result is ignored."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            now = time.monotonic()
            for task, deadline in list(self._deadlines.items()):
                if deadline > now:
                    break
                del self._deadlines[task]
                task.cancel()

    def _arguments(self, function: Function, value: Any, traceparent: str | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {function.trigger.name: value}
        for parameter in function.inputs:
            arguments[parameter.name] = self.client_binding()
        for parameter in function.outputs:
            arguments[parameter.name] = OutValue()
        if function.needs_context:
            arguments["context"] = InvocationContext(
                str(uuid.uuid4()), function.name, str(self._folder), traceparent, threading.local()
            )
        return arguments

    @staticmethod
    def _outputs(function: Function, arguments: dict[str, Any], result: Any) -> list[tuple[Mapping[str, Any], Any]]:
        if result is not None and function.returns is None:
            raise InvocationFailed(
                f"RuntimeError: function {function.name!r} without a $return binding returned a non-None value"
            )
        found: list[tuple[Mapping[str, Any], Any]] = []
        if not function.outputs and (function.returns is None or function.returns["type"] != "serviceBus"):
            return found
        for parameter in function.outputs:
            set_value = arguments[parameter.name].value
            if set_value is not None:
                found.append((parameter.raw, encode_output(parameter.converter, set_value)))
        if function.returns is not None and function.returns["type"] == "serviceBus" and result is not None:
            found.append((function.returns, encode_output("serviceBus", result)))
        return found


def describe_failure(error: BaseException) -> str:
    """ "ClassName: message"."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
