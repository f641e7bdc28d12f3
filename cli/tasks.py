"""Following a task: its steps as they come, one line each, a bar where there is a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli import output
from cli.api import Api
from cli.errors import CliError, Unreachable

FINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 1.0
AWAY_SECONDS = 120.0  # so long the control plane may be away while somebody looks on
MARKS = {"done": "[green]✓[/green]", "failed": "[red]✗[/red]", "skipped": "[dim]-[/dim]", "running": "…"}


def changes(api: Api, task_id: str) -> Iterator[dict[str, Any]]:
    """The task each time it has changed, to its end. Unchanged ones cost a 304 and no body."""
    etag, pause = "", FIRST_POLL_SECONDS
    while True:
        response = _patiently(api, f"/v1/tasks/{task_id}", {"If-None-Match": etag} if etag else {})
        if response.status_code != 304:
            etag, pause = response.headers.get("etag", ""), FIRST_POLL_SECONDS
            task: dict[str, Any] = response.json()
            yield task
            if task["state"] in FINAL:
                return
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)


def _patiently(api: Api, path: str, headers: dict[str, str]) -> httpx.Response:
    """An answer, even if the control plane is being restarted: the task goes on meanwhile."""
    end, told = time.monotonic() + AWAY_SECONDS, False
    while True:
        try:
            return api.call("GET", path, headers=headers)
        except Unreachable as error:
            if time.monotonic() > end:
                raise
            if not told:
                output.err.print(f"[dim]{escape(str(error))}; waiting for it[/dim]", soft_wrap=True)
            told = True
            time.sleep(LONGEST_POLL_SECONDS)


def follow(api: Api, task_id: str, say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Show a task until it ends.

    Args:
        say: takes the lines (Rich markup) instead of standard error.

    Returns:
        The task as it ended well.

    Raises:
        CliError: it ended otherwise; the text has the reason and the last lines of what ran.
        KeyboardInterrupt: somebody pressed Ctrl-C; they were told that the task goes on.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    task: dict[str, Any] = {}
    with Progress(*columns, console=output.err, transient=True, disable=not output.err.is_terminal) as progress:
        bar = progress.add_task("waiting for the node", total=100)
        steps = _Steps(say or progress.console.print, patient=output.err.is_terminal)
        try:
            for task in changes(api, task_id):
                running = steps.tell(task)
                progress.update(bar, completed=task["percent"], description=escape(running or task["state"]))
        except KeyboardInterrupt:
            output.err.print(f"it goes on without you: `meridian tasks follow {task_id}`, or `tasks cancel {task_id}`")
            raise
    if task["state"] != "succeeded":
        raise CliError(failure_text(task))
    return task


class _Steps:
    """Tells each step once when it is over; where there is no moving bar, also that a long one has begun."""

    def __init__(self, say: Callable[[str], None], *, patient: bool) -> None:
        self._say, self._patient = say, patient
        self._told: dict[str, str] = {}

    def tell(self, task: dict[str, Any]) -> str:
        """Say what is new; the name of the step that runs."""
        running = ""
        for position, step in enumerate(task["steps"]):
            name, state = step["name"], step["state"]
            times = sum(before["name"] == name for before in task["steps"][:position])
            key = f"{name}#{times}"  # room may be looked for more than once
            if state == "running":
                running = name
                if not self._patient and key not in self._told:
                    self._told[key] = state
                    self._say(f"  {MARKS[state]} {name:<10} has begun")
            elif self._told.get(key) != state:
                self._told[key] = state
                self._say(step_line(step))
        return running


def step_line(step: dict[str, Any]) -> str:
    """One step that is over, as a line."""
    told = step.get("error") or step.get("detail") or ""
    detail = f"  [dim]{escape(output.plain(told))}[/dim]" if told else ""
    return f"  {MARKS.get(step['state'], '?')} {step['name']:<10} {step['seconds']:7.2f} s{detail}"


def failure_text(task: dict[str, Any]) -> str:
    """Why a task did not end well, with the tail of what ran."""
    failure = task.get("failure") or {}
    where = f" at step {failure['step']}" if failure.get("step") else ""
    lines = [
        f"{task['kind']} {task['state'].replace('_', ' ')}{where}: {failure.get('reason') or 'no reason was told'}"
    ]
    lines += [f"  | {output.plain(line)}" for line in task.get("output", [])[-15:]]
    if task["state"] in ("failed", "timed_out"):
        lines.append(f"  `meridian tasks retry {task['id']}` tries again from that step")
    return "\n".join(lines)
