"""`meridian tasks`: what is being done, and how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import output
from cli.commanding import Group
from cli.complete import active_task_ids, server_names, task_ids
from cli.find import by_name, names_by_id
from cli.state import state
from cli.tasks import failure_text, follow, step_line

tasks = Group(help="What is being done, and how it ended.")

COLUMNS = (
    ("KIND", "kind"),
    ("STATE", "state"),
    ("%", "percent"),
    ("ABOUT", "about"),
    ("SINCE", "created_at"),
    ("ID", "id"),
)
Id = Annotated[str, typer.Argument(metavar="TASK", help="Its id.", autocompletion=task_ids)]
ActiveId = Annotated[str, typer.Argument(metavar="TASK", help="Its id.", autocompletion=active_task_ids)]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is done, or only ask for it.")]


@tasks.command("list")
def list_tasks(
    context: typer.Context,
    active: Annotated[bool, typer.Option("--active", help="Only what is under way.")] = False,
    server: Annotated[str | None, typer.Option(help="Only of this one.", autocompletion=server_names)] = None,
    kind: Annotated[str | None, typer.Option(help="Such as server.provision.")] = None,
    having: Annotated[str | None, typer.Option("--state", help="Such as failed.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
) -> None:
    """List tasks, newest first."""
    current = state(context)
    target = by_name(current.api, "server", server)["id"] if server else None
    query = {"active": "true" if active else None, "target": target, "kind": kind, "state": having}
    rows = current.api.pages("/v1/tasks", limit=limit, **query)
    names = {} if current.as_json else names_by_id(current.api, "/v1/servers")
    told = rows if current.as_json else ({**row, "about": names.get(row["target"], row["target"])} for row in rows)
    current.show_list(told, COLUMNS, "nothing of that kind")


@tasks.command("show")
def show(context: typer.Context, task_id: Id) -> None:
    """One task with its steps."""
    current = state(context)
    task = current.api.get(f"/v1/tasks/{task_id}")
    if current.as_json:
        output.emit_json(task)
        return
    output.line(f"{task['kind']} {task['state']}, {task['percent']} %, attempt {task['attempt']}")
    for step in task["steps"]:
        output.out.print(step_line(step))
    if task.get("failure"):
        output.line(failure_text(task))


@tasks.command("follow")
def follow_task(context: typer.Context, task_id: ActiveId) -> None:
    """Show a task's steps until it ends. Ctrl-C leaves the task running."""
    current = state(context)
    current.say("done", follow(current.api, task_id))


@tasks.command("cancel")
def cancel(context: typer.Context, task_id: ActiveId) -> None:
    """Cancel a task."""
    current = state(context)
    current.say("it is being cancelled", current.api.post(f"/v1/tasks/{task_id}/cancel"))


@tasks.command("retry")
def retry(context: typer.Context, task_id: Id, wait: Wait = True) -> None:
    """Try a failed task again, from the step that failed."""
    current = state(context)
    asked = current.api.post(f"/v1/tasks/{task_id}/retry")
    current.say("done", follow(current.api, task_id)) if wait else current.say("it is tried again", asked)
