"""The supervisor over small real processes."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from pathlib import Path

from local.supervisor.console import Console
from local.supervisor.parts import Part
from local.supervisor.process import State
from local.supervisor.supervisor import Supervisor
from tests.support.processes import PATIENCE_SECONDS, free_port
from tests.support.waiting import eventually

SERVER = "import socket,sys,time\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])))\nprint('listening',flush=True)\nwhile True: s.accept()"


def server(name: str, *needs: str) -> Part:
    port = free_port()
    return Part(
        name, (sys.executable, "-c", SERVER, str(port)), port=port, addresses=((name, f"port {port}"),), needs=needs
    )


def house(tmp_path: Path, *parts: Part) -> tuple[Supervisor, io.StringIO]:
    out = io.StringIO()
    return Supervisor(parts, Console([p.name for p in parts], tmp_path, out)), out


async def test_parts_start_in_order_and_all_stop(tmp_path: Path) -> None:
    job = Part("job", (sys.executable, "-c", "print('done')"), needs=("one",), once=True)
    supervisor, out = house(tmp_path, server("two", "job"), job, server("one"))
    running = asyncio.create_task(supervisor.run())
    await eventually(lambda: "is up after" in out.getvalue())
    pids = [process.pid for process in supervisor.processes.values() if process.pid]
    supervisor.leave()
    assert await running == 0
    text = out.getvalue()
    assert text.index("done") < text.index("is up after")
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_a_part_that_dies_is_told_and_comes_back(tmp_path: Path) -> None:
    supervisor, out = house(tmp_path, server("one"))
    running = asyncio.create_task(supervisor.run())
    process = supervisor.processes["one"]
    await eventually(lambda: process.state is State.READY)
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: "one is back" in out.getvalue())
    assert "one ended (signal SIGKILL); starting it again" in out.getvalue()
    assert process.pid not in (None, first)
    supervisor.leave()
    assert await running == 0


async def test_a_part_that_refuses_stops_the_house(tmp_path: Path) -> None:
    refusing = Part("two", (sys.executable, "-c", "import sys; print('port 1 is in use'); sys.exit(2)"), needs=("one",))
    supervisor, out = house(tmp_path, server("one"), refusing)
    assert await asyncio.wait_for(supervisor.run(), PATIENCE_SECONDS) == 2
    assert "port 1 is in use" in out.getvalue()
    assert "two will not start" in out.getvalue()
    assert supervisor.processes["one"].state is State.STOPPED


async def test_output_is_kept_in_a_file_a_part(tmp_path: Path) -> None:
    supervisor, out = house(tmp_path, server("one"))
    running = asyncio.create_task(supervisor.run())
    await eventually(lambda: "listening" in out.getvalue())
    supervisor.leave()
    await running
    assert "listening" in (tmp_path / "one.log").read_text()


SLOW = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if time.monotonic() - begun > 1 else 503); self.end_headers()
    def log_message(self, *_): pass
begun = time.monotonic()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


async def test_a_part_with_a_path_is_ready_when_that_path_says_so(tmp_path: Path) -> None:
    port = free_port()
    part = Part("slow", (sys.executable, "-c", SLOW, str(port)), port=port, ready_path="/healthz")
    supervisor, out = house(tmp_path, part)
    running = asyncio.create_task(supervisor.run())
    await eventually(lambda: "is up after" in out.getvalue())
    assert supervisor.processes["slow"].ready_seconds > 1
    supervisor.leave()
    assert await running == 0


async def test_a_quiet_part_is_heard_once_the_house_is_up_and_not_while_it_comes_and_goes(tmp_path: Path) -> None:
    talker = "import sys,time\nprint('a secret',flush=True)\ntime.sleep(1)\nwhile True:\n print('at work',flush=True);time.sleep(.05)"
    quiet = Part("quiet", (sys.executable, "-c", talker), quiet=True)
    supervisor, out = house(tmp_path, quiet, server("loud"))
    running = asyncio.create_task(supervisor.run())
    await eventually(lambda: "at work" in out.getvalue())
    supervisor.leave()
    assert await running == 0
    assert "a secret" not in out.getvalue()
    assert out.getvalue().index("is up after") < out.getvalue().index("at work")
    assert "a secret" in (tmp_path / "quiet.log").read_text()


async def test_a_quiet_part_that_does_not_start_says_why(tmp_path: Path) -> None:
    supervisor, out = house(
        tmp_path, Part("quiet", (sys.executable, "-c", "print('no room');raise SystemExit(2)"), quiet=True, port=1)
    )
    assert await supervisor.run() == 2
    text = out.getvalue()
    assert text.index("no room") < text.index("quiet will not start; its last line says why")
