"""The doctor's lines."""

from __future__ import annotations

import socket
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from agent.config import Config
from agent.doctor import Finding, examine, worst
from tests.support.processes import free_port


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
