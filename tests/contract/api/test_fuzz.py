"""Schemathesis against the running API: every route, data that fits the document and data that does not.

It checks that nothing answers with a 5xx, that every status, content type and body is one that the document names, that
what breaks the schema is refused, and that undeclared methods are.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.house import HouseForTests
from tests.support.seeding import Owner, seed_house

SECONDS = int(os.environ.get("MERIDIAN_FUZZ_SECONDS", "25"))
CONFIG = Path(__file__).parent / "schemathesis.toml"
#: Routes that would end the caller's own session or organization, after which everything is a 401.
SPARED = r"^/(docs|diagnostics|openapi|v1/auth/sign-out|v1/me/leave|v1/organization/transfer)"


@dataclass(frozen=True, slots=True)
class Target:
    """The API, and somebody who may do everything."""

    api: str
    owner: Owner
    house: HouseForTests


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    settings = {"MERIDIAN_RATE_LIMITS": "false"}
    with HouseForTests(tmp_path_factory.mktemp("house"), "cosmos", "bus", "host", settings=settings) as house:
        owner = asyncio.run(seed_house(house.settings()))
        yield Target(house.api, owner, house)


@pytest.mark.slow
def test_nothing_that_the_document_does_not_say(target: Target, tmp_path: Path) -> None:
    tool = Path(sys.executable).parent / "schemathesis"
    command = [str(tool), "--config-file", str(CONFIG), "run", f"{target.api}/openapi.json"]
    command += ["-H", f"Authorization: Bearer {target.owner.token}", "--exclude-path-regex", SPARED]
    command += ["--exclude-by", '/x-permission == "org.delete"', "--phases", "examples,coverage,fuzzing"]
    command += [
        "--max-time",
        str(SECONDS),
        "--max-examples",
        "5",
        "--seed",
        "1",
        "--no-shrink",
        "--workers",
        "1",
    ]  # with two threads, CPython 3.11's ast.parse fails at times ("recursion depth mismatch")
    command += ["--suppress-health-check", "all", "--continue-on-failure", "--no-color", "--warnings", "off"]
    env = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=SECONDS + 120)
    assert done.returncode == 0, f"{done.stdout[-12_000:]}\n{done.stderr[-2_000:]}"
    log = target.house.output("host")
    assert log.count("  200") > 20, "the caller was let in: the fuzzing reached the handlers"
    assert '"level": "ERROR"' not in log
