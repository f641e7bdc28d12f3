"""What a cold start of the function app costs until its first answer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from tests.benchmarks.harness import Aim, Bench, Work, bench
from tests.support.processes import ROOT

_START = """
import asyncio, sys
{eager}
import function_app
import azure.functions as func
functions = {{f.get_function_name(): f for f in function_app.app.get_functions()}}
request = func.HttpRequest("GET", "http://localhost/healthz", headers={{}}, params={{}}, route_params={{}}, body=b"")
answer = asyncio.run(functions["healthz"].get_user_function()(req=request))
assert answer.status_code == 200, answer.get_body()
print(len(sys.modules))
"""
_EAGER = """
import azure.cosmos.aio, azure.servicebus.aio, azure.servicebus.aio.management, azure.identity.aio, azure.durable_functions
import azure.keyvault.secrets.aio, cryptography.x509, jwt, opentelemetry.sdk.trace, opentelemetry.sdk.metrics
"""


class Start:
    """A fresh interpreter from its start to the first answer of the function app; CPU of the whole process."""

    def __init__(self, name: str, eager: str, env: dict[str, str]) -> None:
        self.name, self._code, self._env = name, _START.format(eager=eager), env
        self.modules = 0

    def start(self) -> None:
        self._once()

    def run(self, seconds: float) -> Work:
        times = 0
        begun, before = time.monotonic(), os.times()
        while time.monotonic() - begun < seconds:
            self._once()
            times += 1
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return Work(times, cpu=cpu)

    def _once(self) -> None:
        env = {**os.environ, **self._env}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # a deployed app has its bytecode
        done = subprocess.run(
            [sys.executable, "-c", self._code], cwd=ROOT, env=env, check=True, capture_output=True, text=True
        )
        self.modules = int(done.stdout)

    def pids(self) -> Sequence[int]:
        return []

    def check(self) -> None:
        assert self.modules > 0, "the app did not answer"

    def stop(self) -> None:
        """Nothing is left."""


@bench("doors-start")
def doors_start(run: Bench) -> None:
    """Start of the function app to its first answer against the same with every SDK imported at the start."""
    with tempfile.TemporaryDirectory() as name:
        env = {"COSMOS_ENDPOINT": "http://127.0.0.1:1", "COSMOS_KEY": "a2V5", "PYTHONPYCACHEPREFIX": name}
        lean, eager = Start("lean", "", env), Start("eager", _EAGER, env)
        run.compare([lean, eager], [Aim("lean", "eager", "cpu", at_most=0.5)])
        run.result.figures["modules, lean"] = lean.modules
        run.result.figures["modules, eager"] = eager.modules
