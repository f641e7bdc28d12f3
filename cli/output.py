"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def emit_json(value: object) -> None:
    """Print a value as JSON, one document."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def table(rows: Iterable[dict[str, Any]], columns: Sequence[tuple[str, str]], empty: str) -> None:
    """Print rows as a table.

    Args:
        rows: what the API answered.
        columns: (heading, dotted path into the row).
        empty: what to say when there is no row.
    """
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading, _ in columns:
        grid.add_column(heading, overflow="fold", no_wrap=heading == "ID")
    count = 0
    for row in rows:
        grid.add_row(*(cell(dig(row, path)) for _, path in columns))
        count += 1
    if count:
        out.print(grid)
    else:
        out.print(f"[dim]{empty}[/dim]")


def dig(row: dict[str, Any], path: str) -> object:
    """The value at a dotted path, or None."""
    value: Any = row
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def cell(value: object) -> str:
    """A value as a person reads it."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        # Reasons come with a code and a sentence: a person wants the sentence.
        return ", ".join(str(each.get("text") or each) if isinstance(each, dict) else str(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items())
    return ago(value) if isinstance(value, str) and _is_time(value) else str(value)


def ago(moment: str, now: datetime | None = None) -> str:
    """An RFC 3339 time as its distance from now: `12 s ago`, `in 5 min`."""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    size = abs(seconds)
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if size < limit:
            amount = f"{round(size / divisor)} {unit}"
            break
    else:
        amount = f"{round(size / 86400)} days"
    return f"{amount} ago" if seconds >= 0 else f"in {amount}"


def _is_time(text: str) -> bool:
    return len(text) >= 20 and text[4] == "-" and text[10] == "T" and text[7] == "-"
