"""Running the host: timers over restarts, functions by hand, reload on change, what it would cost."""

from __future__ import annotations

import json
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.functions_host.timers import TimerStatus, TimerStore
from tests.support.functions_host import HostProcess
from tests.support.waiting import until

PATIENCE = 60.0

APP = """
import logging, os
from pathlib import Path
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="a")
def main(req: func.HttpRequest) -> str:
    logging.warning("twelve bytes")
    return "first"

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
def yearly(timer: func.TimerRequest) -> None:
    with Path(os.environ["NOTES"]).open("a") as file:
        file.write(f"{timer.past_due}\\n")
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "function_app.py").write_text(APP)
    (folder / "host.json").write_text('{"version": "2.0"}')
    return folder


def test_a_timer_that_came_due_while_the_host_was_dead_runs_at_its_start(app: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with HostProcess(app, tmp_path / "data", env={"NOTES": str(notes)}) as host:
        until(lambda: "Ctrl-C stops" in host.part.output())  # told last: by then timers keep their schedule
        host.part.kill()
        store = TimerStore(tmp_path / "data")
        kept = store.get("yearly")
        assert kept is not None
        assert (kept.next.month, kept.next.day) == (1, 1)
        past = datetime.now(UTC) - timedelta(hours=1)
        store.put("yearly", TimerStatus(kept.schedule, None, past, past))
        assert not notes.exists()
        host.start()
        # Killed between the run and the note of it, it would run once more, as in Azure: so the note is waited for.
        until(lambda: (status := store.get("yearly")) is not None and status.next > past)
        store.close()
        assert notes.read_text() == "True\n"
        host.part.kill()
        host.start()  # it has run: not again
        assert host.call("GET", "/api/a").status_code == 200
        host.part.stop()
        assert notes.read_text() == "True\n"


def test_a_timer_function_by_hand(app: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with HostProcess(app, tmp_path / "data", env={"NOTES": str(notes)}) as host:
        master = {"x-functions-key": host.keys()["master"]}
        assert host.call("POST", "/admin/functions/Yearly", json={"input": ""}).status_code == 401
        assert host.call("POST", "/admin/functions/none", headers=master, json={}).status_code == 404
        assert host.call("POST", "/admin/functions/Yearly", headers=master, json={"input": ""}).status_code == 202
        until(notes.exists)
        assert notes.read_text() == "False\n"


def test_reload_takes_up_changed_code_and_outlives_broken_code(app: Path, tmp_path: Path) -> None:
    with HostProcess(app, tmp_path / "data", "--reload", env={"NOTES": str(tmp_path / "notes")}) as host:
        assert host.call("GET", "/api/a").text == "first"
        script = app / "function_app.py"
        script.write_text("import nothing_of_that_name\n")
        until(lambda: "ModuleNotFoundError" in host.part.output())
        script.write_text(APP.replace('return "first"', 'return "second, longer"'))
        until(lambda: host.part.output().count("functions at http") == 2)
        assert host.call("GET", "/api/a").text == "second, longer"
        assert "function_app.py changed; starting again" in host.part.output()
        assert host.part.stop() == 0
        assert "stopping" in host.part.output()


def test_the_meter_counts_and_the_page_shows_it(app: Path, tmp_path: Path) -> None:
    with HostProcess(app, tmp_path / "other", env={"NOTES": str(tmp_path / "notes")}) as other:
        # Any JSON of numbers is a source: here the report of another host, which has neither of the known counters.
        url = f"{other.url}/diagnostics/cost?code={other.keys()['master']}"
        sources = ("--meter-source", f"other={url}", "--meter-source", "gone=http://127.0.0.1:1/meter")
        with HostProcess(app, tmp_path / "data", *sources, env={"NOTES": str(tmp_path / "notes")}) as host:
            for _ in range(3):
                assert host.call("GET", "/api/a").status_code == 200
            key = {"x-functions-key": host.keys()["master"]}
            report = host.call("GET", "/diagnostics/cost", headers=key).json()
            (counted,) = [each for each in report["functions"] if each["name"] == "main"]
            assert counted["executions"] == 3
            assert counted["gb_seconds_alone"] == 6.0  # three calls, each at least a second of two GB
            assert counted["log_bytes"] == 3 * (3_000 + 1_000 + len("twelve bytes"))
            assert report["totals"]["executions"] == 3
            assert 2.0 <= report["totals"]["gb_seconds"] <= 6.0
            assert report["sources"]["other"]["totals"]["executions"] == 0
            assert "refused" in report["sources"]["gone"]["error"]
            page = host.call("GET", "/diagnostics/cost", headers={**key, "Accept": "text/html"})
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert f"${report['usd']:.6f}" in page.text
            assert host.part.stop() == 0
            line = re.search(
                r"Azure would have billed 3 executions, [\d.]+ GB-s, .* at list prices", host.part.output()
            )
            assert line is not None


def test_the_table_of_functions_and_addresses_is_shown(app: Path, tmp_path: Path) -> None:
    with HostProcess(app, tmp_path / "data", env={"NOTES": str(tmp_path / "notes")}) as host:
        output = until(lambda: host.part.output() if "Ctrl-C stops" in host.part.output() else None)
        assert re.search(rf"http +main +ANY http://localhost:{host.port}/api/a  \[anonymous\]", output)
        assert re.search(r"timer +yearly +0 0 0 1 1 \*", output)
        assert f"2 functions at http://localhost:{host.port}" in output
        assert json.dumps(host.keys()["master"]) not in output


def test_idle_it_does_next_to_nothing(app: Path, tmp_path: Path) -> None:
    from tests.benchmarks.machine import cpu_seconds

    with HostProcess(app, tmp_path / "data", env={"NOTES": str(tmp_path / "notes")}) as host:
        assert isinstance(host.part.process, subprocess.Popen)
        pid = host.part.process.pid
        before = cpu_seconds([pid])
        time.sleep(3)  # the span that is measured
        assert (cpu_seconds([pid]) - before) / 3 < 0.02
