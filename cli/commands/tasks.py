"""`meridian tasks`: what is being done, and how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import output
from cli.state import state
from cli.tasks import failure_text, follow, step_line

tasks = typer.Typer(help="What is being done, and how it ended.", no_args_is_help=True)

COLUMNS = (
    ("KIND", "kind"),
    ("STATE", "state"),
    ("%", "percent"),
    ("ABOUT", "target"),
    ("SINCE", "created_at"),
    ("ID", "id"),
)


@tasks.command("list")
def list_tasks(
    context: typer.Context,
    active: Annotated[bool, typer.Option("--active", help="Only what is under way.")] = False,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 20,
) -> None:
    """List tasks, newest first."""
    current = state(context)
    query = {"active": "true"} if active else {}
    current.show_list(current.api.pages("/v1/tasks", limit=limit, **query), COLUMNS, "nothing has been done yet")


@tasks.command("show")
def show(context: typer.Context, task_id: str) -> None:
    """One task with its steps."""
    current = state(context)
    task = current.api.get(f"/v1/tasks/{task_id}")
    if current.as_json:
        output.emit_json(task)
        return
    output.out.print(f"{task['kind']} {task['state']}, {task['percent']} %")
    for step in task["steps"]:
        output.out.print(step_line(step))
    if task.get("failure"):
        output.out.print(failure_text(task))


@tasks.command("follow")
def follow_task(context: typer.Context, task_id: str) -> None:
    """Show a task's steps until it ends."""
    current = state(context)
    current.say("done", follow(current.api, task_id))


@tasks.command("cancel")
def cancel(context: typer.Context, task_id: str) -> None:
    """Cancel a task."""
    current = state(context)
    current.say("it is being cancelled", current.api.post(f"/v1/tasks/{task_id}/cancel"))


@tasks.command("retry")
def retry(context: typer.Context, task_id: str) -> None:
    """Try a failed task again, from the step that failed."""
    current = state(context)
    current.api.post(f"/v1/tasks/{task_id}/retry")
    current.say("done", follow(current.api, task_id))
