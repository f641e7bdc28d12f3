"""Tables for people, JSON for programs.

What the API tells is text, not markup, and holds what players typed: nothing of it may colour or steer the terminal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.errors import NobodyReads


class _Paper(Console):
    def on_broken_pipe(self) -> None:
        """Rich would leave with 1."""
        raise NobodyReads


out = _Paper(highlight=False)
err = _Paper(stderr=True, highlight=False)

# Control characters (an escape sequence begins with one); a tab may stay.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0a-\x1f\x7f-\x9f]")
WIDEST = 10_000  # columns of a table that goes to a file or a pipe: one row, one line


def emit_json(value: object, *, to_err: bool = False) -> None:
    """Print a value as JSON, one document."""
    stream = sys.stderr if to_err else sys.stdout
    json.dump(value, stream, indent=2, ensure_ascii=False)
    stream.write("\n")


def emit_line(value: object) -> None:
    """Print a value as JSON on one line: one of a stream."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def lines_of(text: str) -> str:
    """Text of several lines, each without control characters."""
    return "\n".join(map(plain, text.splitlines()))


def plain(text: str) -> str:
    """Text without control characters, so that what a player typed does not steer the reader's terminal."""
    return _CONTROL.sub("", text)


def line(text: str) -> None:
    """Print a line of our own, as it is."""
    out.print(text, markup=False, soft_wrap=True)


def table(rows: Iterable[dict[str, Any]], columns: Sequence[tuple[str, str]], empty: str) -> None:
    """Print rows as a table. Where they do not fit, ids go first: names do as well in every command.

    Args:
        rows: what the API answered.
        columns: (heading, dotted path into the row).
        empty: what to say when there is no row; it goes to standard error, so that a pipe gets nothing.
    """
    cells = [[cell(dig(row, path)) for _, path in columns] for row in rows]
    if not cells:
        err.print(f"[dim]{escape(empty)}[/dim]")
        return
    headings = [heading for heading, _ in columns]
    paper = out if out.is_terminal else _Paper(width=WIDEST, highlight=False)
    if len(headings) > 1 and _needs(headings, cells) > paper.width and headings[-1] == "ID":
        headings, cells = headings[:-1], [row[:-1] for row in cells]
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in cells:
        grid.add_row(*map(escape, row))
    paper.print(grid)


def _needs(headings: list[str], cells: list[list[str]]) -> int:
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    return sum(widths) + 2 * (len(widths) - 1)


def details(item: dict[str, Any], fields: Sequence[tuple[str, str]]) -> None:
    """Print one thing, a field a line."""
    width = max(len(label) for label, _ in fields)
    for label, path in fields:
        text = escape(cell(dig(item, path)))
        if not label and text == "-":  # goes on from the line above, and there is nothing to say
            continue
        out.print(f"[bold]{label.ljust(width)}[/bold]  {text}", soft_wrap=not out.is_terminal)


def dig(row: dict[str, Any], path: str) -> object:
    """The value at a dotted path, or None."""
    value: Any = row
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def cell(value: object) -> str:
    """A value as a person reads it."""
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return plain(", ".join(_sentence(each) if isinstance(each, dict) else str(each) for each in value))
    if isinstance(value, dict):
        return plain(_pairs(value))
    return ago(value) if isinstance(value, str) and _is_time(value) else plain(str(value))


def _sentence(value: dict[str, Any]) -> str:
    """Reasons come with a code and a sentence: a person wants the sentence."""
    return str(value.get("reason") or _pairs(value))


def _pairs(value: dict[str, Any]) -> str:
    return ", ".join(f"{key}={inner}" for key, inner in value.items())


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
