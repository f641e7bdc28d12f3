"""Tasks: what is being done, how far it is, and how it ended."""

from __future__ import annotations

from shared.audit.actors import actor_of
from shared.composition import services
from shared.http import Call, ListQuery, Page, Reply, Routes
from shared.identity.permissions import Permission
from shared.platform.ids import TaskId
from shared.servers.doors import within_reach
from shared.servers.errors import NoRoom
from shared.servers.flows import start_flow
from shared.tasks.errors import TaskNotRetryable, TaskOver
from shared.tasks.models import TaskKind, TaskState, TaskView

routes = Routes("tasks", services)
blueprint = routes.blueprint


class TaskList(ListQuery):
    """Filters."""

    target: str | None = None
    kind: TaskKind | None = None
    state: TaskState | None = None
    active: bool | None = None


@routes.get("/v1/tasks", permission=Permission.TASKS_READ, narrowed="target")
async def list_tasks(call: Call, query: TaskList) -> Page[TaskView]:
    """List tasks, newest first."""
    filters = {"target": query.target, "kind": query.kind, "state": query.state}
    found = await call.services.tasks.page(
        call.org, filters=filters, active=query.active, limit=query.limit, cursor=query.cursor
    )
    return call.page(found, TaskView.of)


@routes.get("/v1/tasks/{task_id}", permission=Permission.TASKS_READ, resource="task_id", response=TaskView)
async def read_task(call: Call, task_id: TaskId) -> Reply:
    """Read a task. Poll with `If-None-Match`: an unchanged one is answered with 304."""
    task = await call.services.tasks.get(call.org, task_id)
    return Reply(TaskView.of(task), etag=task.etag)


@routes.post(
    "/v1/tasks/{task_id}/cancel",
    permission=Permission.TASKS_CANCEL,
    resource="task_id",
    durable=True,
    status=202,
    response=TaskView,
    problems=[TaskOver],
)
async def cancel_task(call: Call, task_id: TaskId) -> Reply:
    """Cancel a task, whatever step it is at."""
    task = await call.services.tasks.request_cancel(call.org, task_id, by=actor_of(call))
    await call.durable.raise_event(task.id, f"cancel.{task.attempt}", {"by": call.principal.id})
    return Reply(TaskView.of(task), status=202, etag=task.etag)


@routes.post(
    "/v1/tasks/{task_id}/retry",
    permission=Permission.TASKS_RETRY,
    resource="task_id",
    durable=True,
    status=202,
    response=TaskView,
    problems=[TaskNotRetryable, NoRoom],
)
async def retry_task(call: Call, task_id: TaskId) -> Reply:
    """Try a failed task again, from the step that failed: what its node has done already stays done."""
    try:
        task = await call.services.operations.retry(call.org, task_id, by=actor_of(call))
    except NoRoom as refusal:
        raise await within_reach(call, refusal) from refusal
    await start_flow(call.durable, task)
    return Reply(TaskView.of(task), status=202, etag=task.etag)
