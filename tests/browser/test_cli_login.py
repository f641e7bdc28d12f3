"""`meridian login` through a real browser: the page signs the person in, the terminal gets the tokens."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.browser import chromium
from tests.support.command_line import CommandLine
from tests.support.house import HouseForTests
from tests.support.people import PASSWORD, Person
from tests.support.processes import PATIENCE_SECONDS, ROOT


@pytest.fixture
def house(tmp_path: Path) -> Iterator[HouseForTests]:
    with HouseForTests(tmp_path / "house", "cosmos", "auth", "host") as running:
        yield running


@contextmanager
def started(words: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The command; ended with the block, or a page that fails would be told of when the command's five minutes are over."""
    with subprocess.Popen(
        words, cwd=ROOT, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_browser_signs_the_terminal_in(house: HouseForTests, tmp_path: Path) -> None:
    person = Person.sign_up(house, "erin")
    meridian = CommandLine(house, tmp_path / "home")
    words = meridian.command("login", "--no-browser", "--auth", house.auth)
    with started(words, meridian.env) as waiting, chromium() as browser:
        assert waiting.stderr is not None
        told = re.search(r"http\S+", waiting.stderr.readline())
        assert told is not None
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.goto(told[0])
        page.fill("input[type=email]", person.email)
        page.fill("input[type=password]", PASSWORD)
        page.click("button[type=submit]:visible")
        page.click("#cli button[type=submit]")
        page.wait_for_url("http://127.0.0.1:*/callback?*")
        assert "You are signed in" in page.inner_text("body")
        out, _ = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert waiting.returncode == 0
    assert "signed in" in out
    kept = json.loads((meridian.home / "default.json").read_text())
    assert kept["refresh_token"]
    assert meridian.ask("whoami")["email"] == person.email
