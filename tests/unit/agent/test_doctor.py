"""The doctor's lines."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from agent.config import Config
from agent.doctor import Finding, examine, worst
from agent.lock import hold
from agent.status import Status, write_status
from tests.support.processes import ROOT, free_port


class Answer(BaseHTTPRequestHandler):
    """Answers with a Date that is off by `server.skew` seconds."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Date", formatdate(__import__("time").time() - self.server.skew, usegmt=True))  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silence."""


def findings(config: Config, environment: dict[str, str] | None = None) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(config, environment or {})}


@pytest.mark.parametrize(("skew", "verdict"), [(0, "ok"), (45, "warn"), (600, "fail")])
def test_the_clock_is_compared(tmp_path: Path, skew: int, verdict: str) -> None:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.skew = skew  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found = findings(Config(api_url=f"http://127.0.0.1:{server.server_port}", folder=str(tmp_path)))
    server.shutdown()
    server.server_close()
    thread.join()
    assert found["clock"].verdict == verdict
    assert found["port"].verdict == found["dns"].verdict == found["folder"].verdict == "ok"
    assert worst(list(found.values())) == int(verdict == "fail")


def test_a_closed_port_and_a_name_that_is_none_are_told(tmp_path: Path) -> None:
    closed = findings(Config(api_url=f"https://127.0.0.1:{free_port()}", folder=str(tmp_path)))
    assert closed["port"].verdict == "fail"
    assert "does not accept" in closed["port"].text
    unknown = findings(Config(api_url="https://no-such-host.invalid", folder=str(tmp_path)))
    assert unknown["dns"].verdict == "fail"


def test_tls_that_is_no_tls_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def babble() -> None:
            for _ in range(3):
                try:
                    peer, _address = listener.accept()
                except OSError:
                    return
                peer.sendall(b"SSH-2.0-hello\r\n")
                peer.close()

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        found = findings(Config(api_url=f"https://127.0.0.1:{port}", folder=str(tmp_path)))
        thread.join(10)
    assert found["tls"].verdict == "fail"


def test_a_proxy_and_a_missing_enrolment_are_pointed_out(tmp_path: Path) -> None:
    found = findings(Config(folder=str(tmp_path)), {"HTTPS_PROXY": "http://proxy.example:3128"})
    assert "proxy.example:3128" in found["proxy"].text
    assert found["enrolment"].verdict == "warn"
    assert all("\n" not in str(finding) for finding in found.values())


def status_with(broker: list[str]) -> Status:
    return Status(
        pid=1, version="1.0", at=0, node_id="nod_1", name="attic", org_id="org_1", api_url="https://c", link="down",
        problem="nobody home", broker=broker, last_beat_at=None, reports_waiting=0, reports_dropped=0, commands_at_work=0,
        clock_skew_seconds=0.0, certificate_ends="",
    )  # fmt: skip


def test_one_way_to_the_messages_is_enough_and_none_is_a_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        open_, closed = f"127.0.0.1:{listener.getsockname()[1]}", f"127.0.0.1:{free_port()}"
        write_status(tmp_path, status_with([closed, open_]))
        lines = [one for one in examine(Config(folder=str(tmp_path)), {}) if one.subject == "broker"]
        assert [(one.verdict, one.text.split()[0]) for one in lines] == [("warn", closed), ("ok", open_)]
    write_status(tmp_path, status_with([closed]))
    found = examine(Config(folder=str(tmp_path)), {})
    assert [one.verdict for one in found if one.subject == "broker"] == ["warn", "fail"]
    assert [one.text for one in found if one.subject == "messages"] == ["down: nobody home"]
    assert worst(found) == 1


def test_a_running_agent_is_told_and_programs_are_named(tmp_path: Path) -> None:
    with hold(tmp_path):
        assert findings(Config(folder=str(tmp_path)))["agent"].verdict == "ok"
    assert "agent" not in findings(Config(folder=str(tmp_path))), "not enrolled: nobody expects it to run"
    programs = [one for one in examine(Config(folder=str(tmp_path)), {}) if one.subject == "programs"]
    assert any("python3" in one.text for one in programs)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_look_is_told_so() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "agent"
        with hold(folder):
            write_status(folder, status_with([]))
        folder.parent.chmod(0o711)
        folder.chmod(0o711)
        for command in ("status", "run", "update x", "uninstall --yes"):
            done = subprocess.run(
                ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-m", "agent", *command.split(), "--folder", str(folder)],
                cwd=ROOT, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            if "No module" in done.stderr:
                pytest.skip("another user cannot reach this Python's libraries")
            assert done.returncode == 1, done.stderr
            assert len(done.stderr.splitlines()) == 1, done.stderr
