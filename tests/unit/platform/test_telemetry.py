"""Traces, metrics and logs of a process, as they leave it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from tests.support.processes import ROOT

TRACE = "0af7651916cd43dd8448eb211c80319c"
_PROGRAM = """
import asyncio
import function_app
import azure.functions as func
from opentelemetry import metrics, trace
functions = {f.get_function_name(): f for f in function_app.app.get_functions()}
async def main():
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "authorization": "Bearer kim@example.com"}
    for name, path in (("healthz", "/healthz"), ("list_roles", "/v1/roles")):
        request = func.HttpRequest("GET", "http://localhost" + path, headers=headers, params={}, route_params={}, body=b"")
        answer = await functions[name].get_user_function()(req=request)
        print(answer.status_code)
asyncio.run(main())
for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
    getattr(provider, "shutdown", lambda: None)()
"""


def _run(**settings: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "COSMOS_ENDPOINT": "http://127.0.0.1:9",
        "COSMOS_KEY": "a2V5",
        "MERIDIAN_WARM_UP": "false",
        **settings,
    }
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )


def test_a_call_is_a_span_of_the_callers_trace_and_a_measurement() -> None:
    done = _run(MERIDIAN_TELEMETRY_EXPORTER="console")
    assert done.stdout.split()[0] == "200"
    spans = [each for each in _objects(done.stderr) if "context" in each]
    named = {span["name"]: span for span in spans}
    assert {"GET /healthz", "GET /v1/roles"} <= set(named)
    for span in named.values():
        assert span["context"]["trace_id"] == f"0x{TRACE}"
    assert named["GET /healthz"]["parent_id"] == "0xb7ad6b7169203331"
    assert "meridian.http.server.duration" in done.stderr
    assert "kim@example.com" not in done.stderr


class _Collector(BaseHTTPRequestHandler):
    got: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def test_an_otlp_collector_gets_traces_and_metrics() -> None:
    with HTTPServer(("127.0.0.1", 0), _Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        _run(MERIDIAN_TELEMETRY_EXPORTER="otlp", MERIDIAN_TELEMETRY_ENDPOINT=address)
        server.shutdown()
    assert {"/v1/traces", "/v1/metrics"} <= set(_Collector.got)


@pytest.mark.parametrize("level", ["INFO", "ERROR"])
def test_without_an_exporter_nothing_is_made(level: str) -> None:
    done = _run(MERIDIAN_LOG_LEVEL=level)
    assert [each for each in _objects(done.stderr) if "context" in each] == []


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, one after another."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            at += 1
            continue
        found.append(value)
    return found
