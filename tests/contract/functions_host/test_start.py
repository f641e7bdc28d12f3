"""What keeps the host from starting: one clear line, exit code 2, and nothing lost."""

from __future__ import annotations

import json
import socket
import sqlite3
from pathlib import Path

import pytest

from tests.support.functions_host import HostProcess, refused
from tests.support.processes import free_port

GOOD_APP = """
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="a")
def main(req: func.HttpRequest) -> str:
    return "a"
"""


def make_app(folder: Path, text: str = GOOD_APP, host_json: str = '{"version": "2.0"}') -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function_app.py").write_text(text)
    (folder / "host.json").write_text(host_json)
    return folder


BROKEN = {
    "a syntax error": ("import os\ndef main(:\n", "function_app.py:2: SyntaxError"),
    "an exception": (GOOD_APP + "\nraise KeyError('setting')\n", "function_app.py:9: KeyError: 'setting'"),
    "a missing module": ("import not_there\n", "function_app.py:1: ModuleNotFoundError: No module named 'not_there'"),
    "it ends the program": ("raise SystemExit(3)\n", "ends the program while it is imported (exit code 3)"),
    "no app object": ("x = 1\n", "no app object found"),
    "two app objects": (GOOD_APP + "\nother = func.FunctionApp()\n", "exactly one app object is allowed at its top level, found app, other"),
    "a refused function": (GOOD_APP.replace("-> str", "-> None"), "function main (function_app.py:5)"),
    "a bad schedule": (
        GOOD_APP + '\n@app.timer_trigger(arg_name="t", schedule="61 * * * * *")\ndef tick(t): ...\n',
        "function tick (function_app.py:9): the schedule \"61 * * * * *\": '61' is not a second (0 to 59)",
    ),
    "a missing setting": (
        GOOD_APP + '\n@app.timer_trigger(arg_name="t", schedule="%WHEN%")\ndef tick(t): ...\n',
        "function tick (schedule) needs the app setting WHEN, which is not set",
    ),
    "a missing connection": (
        GOOD_APP + '\n@app.service_bus_queue_trigger(arg_name="m", queue_name="q", connection="Bus")\ndef take(m): ...\n',
        "needs the app setting Bus (a connection string) or Bus__fullyQualifiedNamespace, and neither is set",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_app(tmp_path: Path, text: str, reason: str) -> None:
    line = refused(make_app(tmp_path / "app", text), tmp_path / "data", "--port", "0")
    assert line.startswith("functions-host: ")
    assert reason in line


def test_the_line_names_the_apps_own_file_below_a_library(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app", "import helper\n" + GOOD_APP)
    (app / "helper.py").write_text("import json\n\njson.loads('{')\n")
    assert "helper.py:3: JSONDecodeError" in refused(app, tmp_path / "data", "--port", "0")


HOST_JSON = {
    "not JSON": ("{", "cannot be read as JSON"),
    "another version": ('{"version": "1.0"}', '"version" must be "2.0"'),
    "a bad timeout": ('{"version": "2.0", "functionTimeout": "5 minutes"}', "'5 minutes' is not a duration"),
    "a bad number": (
        '{"version": "2.0", "extensions": {"serviceBus": {"maxConcurrentCalls": 0}}}',
        "extensions.serviceBus.maxConcurrentCalls is 0; it must be a number from 1",
    ),
}


@pytest.mark.parametrize(("text", "reason"), HOST_JSON.values(), ids=HOST_JSON.keys())
def test_a_broken_host_json(tmp_path: Path, text: str, reason: str) -> None:
    line = refused(make_app(tmp_path / "app", host_json=text), tmp_path / "data", "--port", "0")
    assert "host.json" in line
    assert reason in line


def test_a_folder_without_an_app(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    assert "holds no function_app.py" in refused(tmp_path, tmp_path / "data", "--port", "0")


def test_a_port_in_use(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(app, tmp_path / "data", "--port", str(port))
    assert line == f"functions-host: port {port} for HTTP is in use; stop what uses it, or choose another with --port"
    assert not (tmp_path / "data").exists()


def test_a_folder_in_use_by_a_second_host(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    with HostProcess(app, tmp_path / "data") as first:
        assert first.part.process is not None
        line = refused(app, tmp_path / "data", "--port", str(free_port()))
        assert f"in use by another functions-host (process {first.part.process.pid})" in line
        assert first.call("GET", "/api/a").text == "a"
        first.part.kill()
        first.start()  # a killed host leaves no lock behind


@pytest.mark.parametrize("name", ["keys.json", "host.db"])
def test_a_damaged_state_file_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    app = make_app(tmp_path / "app")
    with HostProcess(app, tmp_path / "data") as host:
        host.part.stop()
    whole = (tmp_path / "data" / name).read_bytes()
    damaged = whole[:120] + b"\xff" * (len(whole) - 120)  # an SQLite file keeps its header, so only its content tells
    (tmp_path / "data" / name).write_bytes(damaged)
    line = refused(app, tmp_path / "data", "--port", "0")
    assert f"{name} is damaged" in line
    assert "nothing was changed" in line
    assert (tmp_path / "data" / name).read_bytes() == damaged


def test_a_state_file_of_a_newer_version(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    with HostProcess(app, tmp_path / "data") as host:
        host.part.stop()
    with sqlite3.connect(tmp_path / "data" / "host.db") as database:
        database.execute("PRAGMA user_version = 99")
    assert "was written by a newer version (schema 99" in refused(app, tmp_path / "data", "--port", "0")


SETTINGS = {
    "missing": (None, "does not exist"),
    "not JSON": ("{", "cannot be read as JSON"),
    "encrypted": ('{"IsEncrypted": true, "Values": {}}', "is encrypted"),
    "a number": ('{"Values": {"A": 1}}', 'the value of "A" must be text in quotes'),
}


@pytest.mark.parametrize(("text", "reason"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_broken_settings_file(tmp_path: Path, text: str | None, reason: str) -> None:
    app, settings = make_app(tmp_path / "app"), tmp_path / "settings.json"
    if text is not None:
        settings.write_text(text)
    assert reason in refused(app, tmp_path / "data", "--port", "0", "--settings", str(settings))


def test_settings_come_from_the_file_and_the_environment_wins(tmp_path: Path) -> None:
    text = GOOD_APP.replace('return "a"', 'import os\n    return os.environ["ONE"] + os.environ["TWO"]')
    app = make_app(tmp_path / "app", text)
    (app / "local.settings.json").write_text(json.dumps({"Values": {"ONE": "file", "TWO": "file"}}))
    with HostProcess(app, tmp_path / "data", env={"TWO": "environment"}) as host:
        assert host.call("GET", "/api/a").text == "fileenvironment"


def test_tls_files_that_are_not_there(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    line = refused(
        app, tmp_path / "data", "--port", "0", "--tls-cert", str(tmp_path / "c"), "--tls-key", str(tmp_path / "k")
    )
    assert "does not exist; give a PEM file with --tls-cert" in line


def test_it_stops_cleanly_when_asked(tmp_path: Path) -> None:
    with HostProcess(make_app(tmp_path / "app"), tmp_path / "data") as host:
        host.call("GET", "/api/a")
        assert host.part.stop() == 0
        assert "Azure would have billed 1 executions" in host.part.output()
