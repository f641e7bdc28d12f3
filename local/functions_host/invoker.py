"""Calling a function: on the loop or in the thread pool, within its time, with its outputs collected."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from local.functions_host.converters import InvocationContext, OutValue, encode_output
from local.functions_host.log import current_function
from local.functions_host.meter.counters import Meter
from local.functions_host.model import Function


class InvocationFailed(Exception):
    """A call failed; the text is "ClassName: message", as Microsoft's worker words it."""


class FunctionTimeout(InvocationFailed):
    """A call ran longer than host.json's functionTimeout."""


def group_of(function: Function) -> str:
    """The set of functions that share instances on Flex Consumption: all HTTP, all Durable, else each its own.

    https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#per-function-scaling
    """
    if function.kind == "httpTrigger":
        return "http"
    if function.kind in ("orchestrationTrigger", "activityTrigger", "entityTrigger"):
        return "durable"
    return function.name


class Invoker:
    """Runs functions in this process: `async def` on the loop, plain `def` in a pool of threads."""

    def __init__(self, folder: Path, threads: int, timeout: float | None, meter: Meter) -> None:
        """Args: `folder` is the app's; `timeout` is seconds of one call, None for no limit."""
        self._folder = str(folder)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._timeout = timeout
        self._meter = meter
        self.client_binding: Callable[[], str] = str  # set once the durable engine listens
        self.running = 0

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
        group, start = group_of(function), time.monotonic()
        self._meter.began(group, start)
        self.running += 1
        failed = True
        token = current_function.set(function.name)
        try:
            result = await self._run(function, arguments)
            outputs = self._outputs(function, arguments, result)
            failed = False
            return result, outputs
        except InvocationFailed:
            raise
        except Exception as error:  # whatever user code raises becomes the call's failure, as in the worker
            raise InvocationFailed(describe_failure(error)) from error
        finally:
            current_function.reset(token)
            self.running -= 1
            self._meter.ended(function.name, group, start, time.monotonic(), failed)

    async def in_pool(self, function: Function, work: Callable[[], Any]) -> Any:
        """Run a piece of a function's code in the pool, with the log attributed to it."""
        token = current_function.set(function.name)
        try:
            context = contextvars.copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, work)
        finally:
            current_function.reset(token)

    def close(self) -> None:
        """Take no more calls; threads that still run are left to end with the process (a thread cannot be killed)."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Function, arguments: dict[str, Any]) -> Any:
        if function.is_async:
            work = function.call(**arguments)
        else:
            context = contextvars.copy_context()
            work = asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: context.run(function.call, **arguments)
            )
        if self._timeout is None:
            return await work
        # A thread cannot be killed: after the timeout its late result is ignored.
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                return await work
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise FunctionTimeout(
                f"TimeoutError: function {function.name!r} took longer than functionTimeout ({self._timeout:g} s)"
            ) from error

    def _arguments(self, function: Function, value: Any, traceparent: str | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {function.trigger.name: value}
        for parameter in function.inputs:
            arguments[parameter.name] = self.client_binding()
        for parameter in function.outputs:
            arguments[parameter.name] = OutValue()
        if function.needs_context:
            arguments["context"] = InvocationContext(
                str(uuid.uuid4()), function.name, self._folder, traceparent, threading.local()
            )
        return arguments

    @staticmethod
    def _outputs(function: Function, arguments: dict[str, Any], result: Any) -> list[tuple[Mapping[str, Any], Any]]:
        if result is not None and function.returns is None:
            raise InvocationFailed(
                f"RuntimeError: function {function.name!r} without a $return binding returned a non-None value"
            )
        found: list[tuple[Mapping[str, Any], Any]] = []
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
