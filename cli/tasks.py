"""Following a task: its steps as they come, one line each, a bar where there is a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli import output
from cli.api import Api
from cli.errors import CliError

FINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 1.0
MARKS = {"done": "[green]✓[/green]", "failed": "[red]✗[/red]", "skipped": "[dim]-[/dim]", "running": "…"}


def changes(api: Api, task_id: str) -> Iterator[dict[str, Any]]:
    """The task each time it has changed, to its end. Unchanged ones cost a 304 and no body."""
    etag, pause = "", FIRST_POLL_SECONDS
    while True:
        response = api.call("GET", f"/v1/tasks/{task_id}", headers={"If-None-Match": etag} if etag else {})
        if response.status_code != 304:
            etag, pause = response.headers.get("etag", ""), FIRST_POLL_SECONDS
            task: dict[str, Any] = response.json()
            yield task
            if task["state"] in FINAL:
                return
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)


def follow(api: Api, task_id: str, say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Show a task until it ends.

    Returns:
        The task as it ended well.

    Raises:
        CliError: it ended otherwise; the text has the reason and the last lines of what ran.
    """
    told: dict[str, str] = {}
    task: dict[str, Any] = {}
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.err, transient=True, disable=not output.err.is_terminal) as progress:
        bar = progress.add_task("waiting for the node", total=100)
        for task in changes(api, task_id):
            for step in task["steps"]:
                if step["state"] != "running" and told.get(step["name"]) != step["state"]:
                    told[step["name"]] = step["state"]
                    (say or progress.console.print)(step_line(step))
            running = next((step["name"] for step in task["steps"] if step["state"] == "running"), task["state"])
            progress.update(bar, completed=task["percent"], description=running)
    if task["state"] != "succeeded":
        raise CliError(failure_text(task))
    return task


def step_line(step: dict[str, Any]) -> str:
    """One step that is over, as a line."""
    detail = f"  [dim]{step['detail']}[/dim]" if step.get("detail") else ""
    return f"  {MARKS.get(step['state'], '?')} {step['name']:<10} {step['seconds']:7.2f} s{detail}"


def failure_text(task: dict[str, Any]) -> str:
    """Why a task did not end well, with the tail of what ran."""
    failure = task.get("failure") or {}
    where = f" at step {failure['step']}" if failure.get("step") else ""
    lines = [
        f"{task['kind']} {task['state'].replace('_', ' ')}{where}: {failure.get('reason') or 'no reason was told'}"
    ]
    lines += [f"  | {line}" for line in task.get("output", [])[-15:]]
    if task["state"] in ("failed", "timed_out"):
        lines.append(f"  `meridian tasks retry {task['id']}` tries again from that step")
    return "\n".join(lines)
