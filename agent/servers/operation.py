"""The steps of one operation on a server, as they are reported: what is done, how far it is, what failed."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from agent.servers.errors import StepFailed
from agent.servers.tools import TAIL_LINES
from shared.messaging.server_messages import StepName, StepReport


class Operation:
    """Records steps. `changed` is set by each change, for whoever tells of them."""

    def __init__(self, task_id: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self.task_id = task_id
        self.changed = False
        self._clock = clock
        self._steps: dict[str, StepReport] = {}
        self.output: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def steps(self) -> tuple[StepReport, ...]:
        """All steps so far, in order."""
        return tuple(self._steps.values())

    @property
    def failed(self) -> StepReport | None:
        """The step that failed."""
        return next((step for step in self._steps.values() if step.state == "failed"), None)

    @contextlib.contextmanager
    def step(self, name: StepName) -> Iterator[Callable[[int, str], None]]:
        """Do a step inside the block; what is given is called with percent and detail. A failure is recorded and raised."""
        started = self._clock()
        self._put(StepReport(name, "running", started))

        def tell(percent: int, detail: str) -> None:
            step = self._steps[name]
            if (percent, detail) != (step.percent, step.detail):
                self._put(replace(step, percent=min(max(percent, 0), 99), detail=detail[:200]))

        try:
            yield tell
        except StepFailed as error:
            failed = replace(self._steps[name], state="failed", seconds=self._clock() - started, code=error.code)
            output = error.output[-TAIL_LINES:]
            failed = replace(failed, retryable=error.retryable, output=output, taken=error.taken or None)
            self._put(replace(failed, error=error.reason[:2000]))
            raise
        else:
            self._put(replace(self._steps[name], state="done", seconds=self._clock() - started, percent=100))

    def skip(self, name: StepName, detail: str) -> None:
        """A step that was not needed."""
        self._put(StepReport(name, "skipped", self._clock(), percent=100, detail=detail))

    def _put(self, step: StepReport) -> None:
        self._steps[step.name] = step
        self.changed = True
