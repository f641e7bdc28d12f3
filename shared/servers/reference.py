"""`python -m shared.servers.reference`: writes docs/reference/server-states.md from the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.servers.asking import INTERRUPTS, TAKES_BACK
from shared.servers.lifecycle import ASKED, OBSERVED, TRANSITIONS, Status, allowed, diagram

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/reference/server-states.md"

MEANINGS: Final = {
    Status.PROVISIONING: "placed and written down; its node has not begun",
    Status.INSTALLING: "its files are being brought",
    Status.FAILED: "its files could not be installed; the task names the step and the last lines",
    Status.STOPPED: "installed, and not running",
    Status.STARTING: "the process lives, the game is not ready yet",
    Status.RUNNING: "ready for players",
    Status.STOPPING: "asked to end",
    Status.CRASHED: "ended unasked; its node starts it again when the back-off is over",
    Status.CRASH_LOOP: "ended too often in too short a time; it stays down until somebody starts it",
    Status.SUSPENDED: "may not run until it is resumed",
    Status.DELETING: "its node is cleaning, or will when it is back",
    Status.DELETED: "gone",
}


def page() -> str:
    """The page's text."""
    rows = [
        f"| `{status}` | {MEANINGS[status]} | {', '.join(f'`{event}`' for event in allowed(status)) or '-'} |"
        for status in Status
    ]
    told = [f"| `{state}` | `{status}` |" for state, status in OBSERVED.items()]
    moves = [f"| `{source}` | `{event}` | `{target}` |" for (source, event), target in TRANSITIONS.items()]
    return "\n".join(
        [
            "# Server states",
            "",
            "Written by `python -m shared.servers.reference` from the tables in `shared/servers/lifecycle.py`.",
            "",
            "A server has three things that are kept apart: what is **desired** (a revision that only grows), what is",
            "**observed** (its node's last word, with its time) and the **operation** (a task) that leads from one to the",
            "other. Its status follows from the three: deletion and suspension count at once, whatever the node says.",
            "",
            "| status | meaning | may be asked |",
            "| --- | --- | --- |",
            *rows,
            "",
            "```mermaid",
            diagram(),
            "```",
            "",
            "## While a task is under way",
            "",
            f"{', '.join(f'`{event}`' for event in INTERRUPTS)} may be asked all the same: they end what is being done. (A server",
            "that is being provisioned for the first time takes `delete` alone; its task can be cancelled.) What was asked can be",
            "taken back before the node has done it, so also while the node is away:",
            "",
            *(f"- `{event}` takes back `{kind}`" for kind, event in TAKES_BACK),
            "",
            "Anything else is refused with `operation_under_way`, which names the task.",
            "",
            "## What nodes tell",
            "",
            "| the node says | people see |",
            "| --- | --- |",
            *told,
            "",
            "## Every move",
            "",
            f"Requests ({', '.join(f'`{event}`' for event in ASKED)}) that have no row here are refused with",
            "`not_in_this_state`. What a node tells that has no row changes nothing.",
            "",
            "| from | event | to |",
            "| --- | --- | --- |",
            *moves,
            "",
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
