"""What an episode of user code came to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from local.durable.outofproc.history import json_text

OUT_OF_PROC_MARK = "\n\n$OutOfProcData$:"


class Report(NamedTuple):
    """The state that the SDK reports after an episode.

    Attributes:
        actions: actions; all of them, or (`since` > 0) those after that many known ones.
        since: how many actions at the list's head are left out of `actions`.
        cancelled: positions of known actions in which a timer has been cancelled since, with their new form.
        done: user code has returned or continues as new.
        output: JSON text of what it returned; None if nothing.
        error: text of what it raised.
        custom_status: JSON text; None if none, or a falsy one.
        broken: the SDK itself gave up: the orchestration fails at once.
    """

    actions: list[dict[str, Any]]
    since: int = 0
    cancelled: dict[int, dict[str, Any]] = {}  # noqa: RUF012 - a NamedTuple's default, never written to
    done: bool = False
    output: str | None = None
    error: str | None = None
    custom_status: str | None = None
    broken: bool = False


def clean(text: str) -> str:
    """Text that UTF-8 can carry: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def parse_state(text: str) -> Report:
    """Read the SDK's state JSON."""
    state = json.loads(text)
    output, status = state.get("output"), state.get("customStatus")
    return Report(
        actions=state["actions"][0] if state["actions"] else [],
        done=bool(state["isDone"]),
        output=None if output is None else json_text(output),
        error=clean(state["error"]) if state.get("error") else None,
        custom_status=None if status is None else json_text(status),
    )


def run_handler(handler: Callable[[str], str], context: str) -> Report:
    """Call the SDK's handler of an orchestrator over a whole history."""
    try:
        return parse_state(handler(context))
    except Exception as error:  # noqa: BLE001 - user code and SDK may raise anything; it is the orchestration's failure
        return from_exception(error)


def from_exception(error: Exception) -> Report:
    """The state inside the exception by which the SDK reports a failure, or the failure of the SDK itself."""
    message, mark, state = str(error).rpartition(OUT_OF_PROC_MARK)
    if not mark:
        return Report([], error=clean(f"{type(error).__name__}: {error}"), broken=True)
    report = parse_state(state)
    return report._replace(error=report.error or clean(message))
