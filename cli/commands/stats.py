"""`meridian servers stats` and `tasks`: how a server has fared."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated

import typer

from cli import output
from cli.commanding import Group
from cli.commands.servers import Name, with_players
from cli.commands.tasks import COLUMNS
from cli.find import by_name
from cli.state import state


class Grain(StrEnum):
    """How much one point holds."""

    MINUTE = "minute"
    HOUR = "hour"


stats = Group()
BARS = "▁▂▃▄▅▆▇█"
POINTS = (("AT", "at"), ("CPU %", "cpu_percent"), ("MEMORY MIB", "memory_mib"), ("PLAYERS", "players"))
WIDTH = 60


@stats.command("stats")
def show_stats(
    context: typer.Context,
    name: Name,
    hours: Annotated[int, typer.Option(min=1, max=744, help="How far back.")] = 24,
    grain: Annotated[Grain | None, typer.Option(help="minute or hour; minutes up to two days unless given.")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Every point as a row, not a curve.")] = False,
) -> None:
    """CPU, memory and players: now, and as a curve of the last hours."""
    current = state(context)
    server = by_name(current.api, "server", name)
    chosen = (grain or (Grain.MINUTE if hours <= 48 else Grain.HOUR)).value
    points = current.api.get(f"/v1/servers/{server['id']}/metrics", hours=hours, grain=chosen)["points"]
    if current.as_json:
        output.emit_json({"server": server, "grain": chosen, "points": points})
        return
    if rows:
        output.table(points, POINTS, "no sample yet: they come each minute while it runs, and are told every five")
        return
    now = ("Status", "status"), ("Players", "players"), ("CPU %", "observed.cpu_percent")
    output.details(
        with_players(server), (*now, ("Memory MiB", "observed.memory_mib"), ("Observed", "observed.observed_at"))
    )
    if not points:
        output.err.print("no sample yet: they come each minute while it runs, and are told every five")
        return
    for label, field in (("CPU %", "cpu_percent"), ("Memory MiB", "memory_mib"), ("Players", "players")):
        values = [float(point[field] or 0) for point in points]
        output.line(f"{label:<11} {curve(values)}  {min(values):g} to {max(values):g}")
    output.line(f"{'':<11} {output.ago(points[0]['at'])} to {output.ago(points[-1]['at'])}, each {chosen}")


@stats.command("tasks")
def server_tasks(
    context: typer.Context,
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 20,
) -> None:
    """What has been done with a server, newest first."""
    current = state(context)
    server = by_name(current.api, "server", name)
    rows = current.api.pages(f"/v1/servers/{server['id']}/tasks", limit=limit)
    current.show_list(rows, [column for column in COLUMNS if column[0] != "ABOUT"], "nothing yet")


def curve(values: Sequence[float], width: int = WIDTH) -> str:
    """Values as a line of bars, from nought to the greatest; several share a bar where there are more than `width`."""
    size = min(width, len(values))
    edges = [round(index * len(values) / size) for index in range(size + 1)] if size else []
    merged = [max(values[begin:end]) for begin, end in pairwise(edges)]
    top = max(merged, default=0.0)
    return "".join(BARS[round(value / top * (len(BARS) - 1)) if top > 0 else 0] for value in merged)
