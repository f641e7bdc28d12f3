"""Tasks: reading, cancelling, retrying, and ending those that nobody ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.audit.models import Actor, AuditEvent, Target
from shared.audit.service import Audit
from shared.platform.clock import Clock
from shared.platform.ids import OrgId
from shared.store.batch import again_on_conflict
from shared.store.query import Slice, Where
from shared.store.scoped import Store
from shared.tasks.errors import TaskNotRetryable, TaskOver
from shared.tasks.models import Task, TaskState
from shared.tasks.rules import DEADLINES


class Tasks:
    """What doors ask about tasks."""

    def __init__(self, store: Store, clock: Clock, audit: Audit) -> None:
        self._store, self._clock, self._audit = store, clock, audit

    async def get(self, org: OrgId, task_id: str) -> Task:
        """A task.

        Raises:
            NotFound: there is none.
        """
        return await self._store.get(org, Task, task_id)

    async def page(
        self, org: OrgId, *, filters: Mapping[str, Any], active: bool | None, limit: int, cursor: str | None
    ) -> Slice[Task]:
        """A page, newest first."""
        where = []
        if active is not None:
            states = [state.value for state in TaskState if state.final is not active]
            where.append(Where("state", "in", states))
        return await self._store.page(org, Task, filters=filters, where=where, limit=limit, cursor=cursor)

    async def request_cancel(self, org: OrgId, task_id: str, *, by: Actor) -> Task:
        """Write down that it shall end, and who said so; its orchestration is told by the caller.

        Raises:
            TaskOver: it has ended.
        """

        async def attempt() -> Task:
            task = await self.get(org, task_id)
            if task.state.final:
                raise TaskOver(f"it is {task.state}", state=task.state.value)
            if task.cancel_requested:
                return task
            entry = self._audit.entry(
                org, by, "task.cancelled", target_of(task), before=shown(task), after={"cancel_requested": True}
            )
            stored = await self._store.batch(org).replace(task.having(cancel_requested=True)).create(entry).commit()
            assert isinstance(stored[0], Task)
            return stored[0]

        return await again_on_conflict(attempt)

    def retried(self, org: OrgId, task: Task, renewed: Task, *, by: Actor) -> AuditEvent:
        """The trail's entry of a retry, for the batch that writes it."""
        return self._audit.entry(org, by, "task.retried", target_of(task), before=shown(task), after=shown(renewed))

    def renewed(self, task: Task) -> Task:
        """The task, to be tried again from the step that failed: what is done stays done on the node.

        Raises:
            TaskNotRetryable: it has not failed.
        """
        if not task.state.final or task.state is TaskState.SUCCEEDED:
            raise TaskNotRetryable(
                f"it is {task.state}: only a task that failed, timed out or was cancelled is retried"
            )
        return task.having(
            state=TaskState.PENDING,
            attempt=task.attempt + 1,
            cancel_requested=False,
            ended_at=None,
            failure=None,
            ttl=None,
            deadline=self._clock.now() + DEADLINES[task.kind],
        )


def target_of(task: Task) -> Target:
    """A task as the audit trail names it."""
    return Target(kind="task", id=task.id, name=task.kind.value)


def shown(task: Task) -> dict[str, Any]:
    """What the audit trail says of a task."""
    return {
        "target": task.target,
        "state": task.state.value,
        "attempt": task.attempt,
        "cancel_requested": task.cancel_requested,
    }
