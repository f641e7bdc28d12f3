"""Is it up? Probes wait for a line, a port, an answer, or some time of life."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from agent.console import Line
from agent.drivers.base import Running
from agent.servers.errors import StepFailed
from agent.servers.query import NoAnswer, query
from shared.messaging.server_messages import Players
from shared.messaging.server_spec import LogProbe, PortProbe, Probe, QueryProbe, ServerSpec, StartedProbe

LAST_LINES: Final = 20  # of output, told with an end
POLL_SECONDS: Final = 0.25
PATTERN_SECONDS: Final = 0.05
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


async def until_ready(spec: ServerSpec, running: Running, first_line: int) -> None:
    """Return when the server is up; see `wait_ready`.

    Raises:
        StepFailed: `ended_before_ready`, or `not_ready` within the spec's time; with the last lines.
    """
    ready = asyncio.ensure_future(wait_ready(spec, running, first_line))
    ended = asyncio.ensure_future(running.wait())
    try:
        await asyncio.wait({ready, ended}, timeout=spec.ready_seconds, return_when=asyncio.FIRST_COMPLETED)
        lines = running.console.tail(LAST_LINES)
        if ended.done():
            reason = f"the game ended {ended.result().how} before it was ready"
            raise StepFailed("ended_before_ready", reason, output=lines)
        if not ready.done():
            raise StepFailed("not_ready", f"the game was not ready within {spec.ready_seconds:.0f} s", output=lines)
        ready.result()
    finally:
        ready.cancel()
        ended.cancel()


async def wait_ready(spec: ServerSpec, running: Running, first_line: int) -> None:
    """Return when the server is up. The caller sets the deadline, and watches for the process's end.

    Args:
        spec: whose `ready` probe decides.
        running: the process.
        first_line: the number of the first console line of this run; earlier ones do not count.
    """
    probe = spec.ready
    match probe:
        case LogProbe():
            await _line(probe, running, first_line)
        case StartedProbe():
            await asyncio.sleep(probe.seconds)
        case PortProbe() | QueryProbe():
            while not await answers(probe, spec, running):  # noqa: ASYNC110  # a game tells nobody that it listens now
                await asyncio.sleep(POLL_SECONDS)


async def _line(probe: LogProbe, running: Running, first_line: int) -> None:
    found = asyncio.get_running_loop().create_future()

    def heard(line: Line) -> None:
        if not found.done() and line_matches(probe, line.text):
            found.set_result(None)

    end = running.console.listen(heard)
    try:
        for line in running.console.since(first_line - 1)[1]:  # what came before we listened
            heard(line)
        await found
    finally:
        end()


def line_matches(probe: LogProbe, text: str) -> bool:
    """Whether a console line is the one; colours do not count."""
    text = _ANSI.sub("", text)[:4096]
    if not probe.regex:
        return probe.pattern in text
    import regex  # a template's pattern may be built to run for ever: this library has a time limit

    try:
        return regex.search(probe.pattern, text, timeout=PATTERN_SECONDS) is not None
    except (TimeoutError, regex.error):
        return False


async def answers(probe: Probe, spec: ServerSpec, running: Running) -> bool:
    """Whether a port or query probe is content right now."""
    if isinstance(probe, PortProbe):
        wanted = {f"{port.protocol}/{port.port}" for port in spec.ports if port.name == probe.port}
        return bool(wanted) and wanted <= set(running.bound_ports())
    if isinstance(probe, QueryProbe):
        return await players(probe, spec) is not None
    return True


async def players(probe: QueryProbe, spec: ServerSpec) -> Players | None:
    """What the game says about itself; None when it does not answer."""
    number = next((port.port for port in spec.ports if port.name == probe.port), None)
    if number is None:
        return None
    try:
        return await query(probe.protocol, number)
    except NoAnswer:
        return None


def query_of(spec: ServerSpec) -> QueryProbe | None:
    """The query that tells the players, where the template names one."""
    return next((probe for probe in (spec.health, spec.ready) if isinstance(probe, QueryProbe)), None)
