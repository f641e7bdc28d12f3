"""Calling an activity function, and what its end looks like in a history."""

from __future__ import annotations

import asyncio
import time

from local.durable.core.activities import Job
from local.durable.core.clock import now_us
from local.durable.core.events import TASK_COMPLETED, TASK_FAILED, Event
from local.durable.options import DurableOptions, Invocation
from local.durable.outofproc.report import clean
from local.durable.ports import FunctionFailed, Functions, UnknownFunction


class ActivityCaller:
    """Calls activities through the host."""

    def __init__(self, functions: Functions, options: DurableOptions) -> None:
        self._functions, self._on_invocation, self._log = functions, options.on_invocation, options.log

    async def __call__(self, job: Job) -> Event:
        """TaskCompleted or TaskFailed."""
        name = job.task.name or ""
        began, error = time.perf_counter(), None
        try:
            result: str | None = await self._functions.activity(
                name, job.task.data or "null", instance_id=job.instance_id, task_id=job.task.id
            )
        except asyncio.CancelledError:
            raise
        except (FunctionFailed, UnknownFunction) as failure:
            error = clean(str(failure))
        except Exception as failure:  # noqa: BLE001 - a fault of the host must fail one activity, not stop the runner
            error = clean(f"{type(failure).__name__}: {failure}")
            if self._log is not None:
                self._log(f"activity {name} of {job.instance_id}: the host failed: {error}")
        if self._on_invocation is not None:
            seconds = time.perf_counter() - began
            self._on_invocation(Invocation("activity", name, job.instance_id, seconds, error))
        if error is None:
            return Event(TASK_COMPLETED, now_us(), job.task.id, data=result)
        # Two blanks: the host's text of a failure begins with one.
        return Event(TASK_FAILED, now_us(), job.task.id, ref=f"Activity function '{name}' failed:  {error}", data="")
