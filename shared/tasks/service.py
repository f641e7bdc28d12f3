"""Tasks: reading, cancelling, retrying, and ending those that nobody ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.platform.clock import Clock
from shared.platform.ids import OrgId
from shared.store.query import Slice, Where
from shared.store.scoped import Store
from shared.tasks.errors import TaskNotRetryable, TaskOver
from shared.tasks.models import Task, TaskState
from shared.tasks.rules import DEADLINES


class Tasks:
    """What doors ask about tasks."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

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

    async def request_cancel(self, org: OrgId, task_id: str) -> Task:
        """Write down that it shall end; its orchestration is told by the caller.

        Raises:
            TaskOver: it has ended.
        """

        def change(task: Task) -> Task:
            if task.state.final:
                raise TaskOver(f"it is {task.state}", state=task.state.value)
            return task if task.cancel_requested else task.having(cancel_requested=True)

        return await self._store.update(org, Task, task_id, change)

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
