"""Points the suite at a real Functions app, or starts the local host with the sample app.

To run it against Azure, deploy tests/apps/durable_sample and set MERIDIAN_TEST_FUNCTIONS_URL,
MERIDIAN_TEST_FUNCTIONS_KEY (a host key) and MERIDIAN_TEST_DURABLE_KEY (the system key durabletask_extension).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.contract.functions_host.orchestrations.target import PATIENCE_SECONDS, Target
from tests.support.processes import ROOT, Part, free_port

APP = ROOT / "tests" / "apps" / "durable_sample"


def local_host(data: Path, port: int, marks: Path, executor: str = "check") -> Part:
    """The local host with the sample app, not started yet."""
    return Part.module(
        "local.functions_host",
        str(APP),
        "--port",
        str(port),
        "--data",
        str(data),
        log=data.with_suffix(".log"),
        port=port,
        env={"DURABLE_SAMPLE_FILE": str(marks), "DURABLE_EXECUTOR": executor, "NO_COLOR": "1"},
    )


def local_target(data: Path, port: int) -> Target:
    """The local host as a target, once it answers (its port is taken before its keys are made)."""
    answer = requests.get(f"http://127.0.0.1:{port}/admin/host/ping", timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200
    keys = json.loads((data / "keys.json").read_text())
    return Target(f"http://127.0.0.1:{port}", keys["host"]["default"], keys["system"]["durabletask_extension"])


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The app under test."""
    url = os.environ.get("MERIDIAN_TEST_FUNCTIONS_URL")
    if url:
        yield Target(url, os.environ["MERIDIAN_TEST_FUNCTIONS_KEY"], os.environ["MERIDIAN_TEST_DURABLE_KEY"])
        return
    folder = tmp_path_factory.mktemp("orchestrations")
    port = free_port()
    with local_host(folder / "data", port, folder / "marks"):
        yield local_target(folder / "data", port)
