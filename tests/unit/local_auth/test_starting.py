"""The sign-in server refuses to start with one clear line, stops when it is asked to, and keeps what it was told."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.support.processes import ROOT, Part, free_port


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.auth", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def site(tmp_path: Path) -> Part:
    port = free_port()
    arguments = ("--port", str(port), "--data", str(tmp_path / "data"))
    return Part.module("local.auth", *arguments, log=tmp_path / "auth.log", port=port)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert all(word in lines[0] for word in ("sign-in:", *words)), lines[0]


def test_a_port_or_folder_in_use_is_told_in_one_line(site: Part, tmp_path: Path) -> None:
    with site:
        refused(run("--port", site.port, "--data", tmp_path / "other"), f"port {site.port}", "--port")
        refused(run("--port", free_port(), "--data", tmp_path / "data"), "in use by another sign-in", "--data")


def test_a_damaged_database_is_told_in_one_line_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "auth.db").write_bytes(b"this is no database, whatever its name says" * 50)
    before = (tmp_path / "auth.db").read_bytes()
    refused(run("--port", free_port(), "--data", tmp_path), "damaged")
    assert (tmp_path / "auth.db").read_bytes() == before


@pytest.mark.parametrize("wrong", [("--port", "70000"), ("--port", "-1")])
def test_an_impossible_port_is_refused(tmp_path: Path, wrong: tuple[str, str]) -> None:
    assert run(*wrong, "--data", tmp_path).returncode == 2


def test_it_stops_when_asked_and_remembers_people_and_secret(site: Part, tmp_path: Path) -> None:
    account = {"email": "ann@example.com", "password": "correct horse battery", "name": "Ann"}
    url = f"http://localhost:{site.port}"
    with site:
        assert requests.get(f"{url}/healthz", timeout=10).json() == {"status": "ok"}
        sign_up = requests.post(f"{url}/api/auth/sign-up/email", json=account, headers={"Origin": url}, timeout=30)
        assert sign_up.status_code == 200
        keys = requests.get(f"{url}/api/auth/jwks", timeout=10).json()
        started = time.monotonic()
        assert site.stop() == 0
        assert time.monotonic() - started < 5
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600
    with site:
        browser = requests.Session()
        sign_in = browser.post(f"{url}/api/auth/sign-in/email", json=account, headers={"Origin": url}, timeout=30)
        assert sign_in.status_code == 200
        assert requests.get(f"{url}/api/auth/jwks", timeout=10).json() == keys


def test_only_its_own_page_may_ask_for_a_code(site: Part) -> None:
    url = f"http://localhost:{site.port}"
    body = {"challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}
    with site:
        for headers, status in (({}, 403), ({"Origin": "http://evil.example"}, 403), ({"Origin": url}, 401)):
            reply = requests.post(f"{url}/cli/authorize", json=body, headers=headers, timeout=10)
            assert reply.status_code == status
        page = requests.get(f"{url}/", timeout=10)
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert requests.get(f"{url}/../auth.mjs", timeout=10).status_code == 404
        assert requests.post(f"{url}/cli/token", data=b"{" * 20_000, timeout=10).status_code == 400
