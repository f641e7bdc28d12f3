"""What a task is. Its id is the id of the orchestration that carries it out."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.http.models import Out
from shared.platform.clock import Timestamp
from shared.store.documents import Document

KEPT = timedelta(days=30)  # a task that has ended
MAX_OUTPUT_LINES = 40
PLACE = "place"  # the step that is ours: room looked for once more. All others are the node's


class TaskState(StrEnum):
    """Where a task stands."""

    PENDING = "pending"  # written down; its orchestration may not have begun
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (TaskState.PENDING, TaskState.RUNNING)


class TaskKind(StrEnum):
    """What is done."""

    PROVISION = "server.provision"
    START = "server.start"
    STOP = "server.stop"
    RESTART = "server.restart"
    KILL = "server.kill"
    REINSTALL = "server.reinstall"
    UPDATE = "server.update"
    SUSPEND = "server.suspend"
    RESUME = "server.resume"
    DELETE = "server.delete"
    RECONCILE = "server.reconcile"  # nobody asked: the node had something else than is desired


class Step(BaseModel):
    """One step, as the node tells it (`place` is ours)."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    name: str
    state: Literal["running", "done", "failed", "skipped"]
    started_at: Timestamp | None = None
    seconds: float = 0.0
    percent: int = 0
    detail: str = ""
    code: str = ""
    error: str = ""


class PortTaken(BaseModel):
    """A port that something else on the node has; `by` is who, where the node could see it."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    protocol: Literal["tcp", "udp"]
    address: str
    port: int
    by: str = ""


class Failure(BaseModel):
    """Why it ended badly: a stable code, a sentence, and which step. `ports` are those of a `port_taken`."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    code: str
    reason: str
    step: str = ""
    ports: tuple[PortTaken, ...] = ()


class Task(Document):
    """A task."""

    indexed: ClassVar[tuple[str, ...]] = ("target", "state")
    id_prefix: ClassVar[str] = "tsk_"
    type: Literal["task"] = "task"
    kind: TaskKind
    target: str  # the id of what it is about
    node_id: str | None = None
    state: TaskState = TaskState.PENDING
    attempt: int = 1
    by: str = ""
    deadline: Timestamp  # after this a sweep ends it
    ended_at: Timestamp | None = None
    cancel_requested: bool = False
    steps: tuple[Step, ...] = ()
    output: tuple[str, ...] = ()
    failure: Failure | None = None
    spec: dict[str, Any] = Field(default_factory=dict)  # what the flow needs to begin again

    @property
    def percent(self) -> int:
        """How far it is: the steps that are over, and the part of the running one, of those that the kind has."""
        if self.state is TaskState.SUCCEEDED:
            return 100
        total = STEPS_OF.get(self.kind, 1)
        theirs = [step for step in self.steps if step.name != PLACE]
        done = sum(100 if step.state in ("done", "skipped") else step.percent for step in theirs)
        return min(99, done // total)

    def ending(
        self, state: TaskState, now: datetime, *, failure: Failure | None = None, output: tuple[str, ...] = ()
    ) -> Task:
        """The task ended."""
        return self.having(
            state=state,
            ended_at=now,
            failure=failure,
            output=output[-MAX_OUTPUT_LINES:] or self.output,
            ttl=int(KEPT.total_seconds()),
        )


STEPS_OF = {
    TaskKind.PROVISION: 5,  # prepare, install, configure, start, ready
    TaskKind.REINSTALL: 6,
    TaskKind.START: 3,  # configure, start, ready
    TaskKind.RESTART: 4,
    TaskKind.UPDATE: 4,
    TaskKind.STOP: 1,
    TaskKind.KILL: 1,
    TaskKind.SUSPEND: 1,
    TaskKind.RESUME: 3,
    TaskKind.DELETE: 2,  # stop, remove
    TaskKind.RECONCILE: 3,  # configure, start, ready: most often
}


class TaskView(Out):
    """A task as callers see it. `percent` counts its steps; `output` is the tail of what ran when it failed."""

    id: str
    kind: TaskKind
    target: str
    node_id: str | None
    state: TaskState
    percent: int
    attempt: int
    by: str
    steps: list[Step]
    output: list[str]
    failure: Failure | None
    cancel_requested: bool
    created_at: Timestamp
    updated_at: Timestamp
    ended_at: Timestamp | None
    deadline: Timestamp

    @classmethod
    def of(cls, task: Task) -> TaskView:
        """The view of a task."""
        return cls(
            **{name: getattr(task, name) for name in cls.model_fields if name not in ("steps", "output")},
            steps=list(task.steps),
            output=list(task.output),
        )
