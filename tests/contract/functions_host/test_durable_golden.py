"""The wire as the pinned SDK speaks it: a new version that changes a byte fails here first.

`GOLDEN=write` in the environment writes the files anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import pytest
from aiohttp import web
from azure.durable_functions.entity import Entity
from azure.durable_functions.models.utils import http_utils
from azure.durable_functions.orchestrator import Orchestrator

from local.durable.core.decision import Execution
from local.durable.core.events import EXECUTION_STARTED, ORCHESTRATOR_STARTED, TASK_COMPLETED, TASK_FAILED, Event
from local.durable.outofproc.history import context_json

GOLDEN = Path(__file__).parent / "golden"
START = 1_767_225_600_123_456  # 2026-01-01T00:00:00.123456Z
EXECUTION = Execution("instance", "execution", "flow", "parent")


def matches(name: str, text: str) -> None:
    """The text is byte for byte what the file holds."""
    path = GOLDEN / f"{name}.json"
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text + "\n"


def history(*more: Event) -> str:
    """The trigger's argument after these events."""
    events = [
        Event(ORCHESTRATOR_STARTED, START),
        Event(EXECUTION_STARTED, START, name="flow", data='"{\\"a\\": 1}"', ref="execution"),
        *more,
    ]
    return context_json(events, EXECUTION, short_timer_seconds=518_400, hop_seconds=259_200)


class Backoff(df.RetryOptions):
    """Retry options as an application extends them."""

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "backoffCoefficient": 2.0, "maxRetryIntervalInMilliseconds": 250}


def cancelled(context: Any) -> Any:
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=30))
    yield context.task_any([timer, context.call_activity("a", 1)])
    timer.cancel()
    yield context.wait_for_external_event("go")


ACTIONS: dict[str, Callable[[Any], Any]] = {
    "activity": lambda c: c.call_activity("a", {"x": "ä"}),
    "activity_none": lambda c: c.call_activity("a"),
    "activity_retry": lambda c: c.call_activity_with_retry("a", df.RetryOptions(1000, 3), 5),
    "activity_backoff": lambda c: c.call_activity_with_retry("a", Backoff(1000, 3), 5),
    "child": lambda c: c.call_sub_orchestrator("b", [1], "its-id"),
    "child_without_id": lambda c: c.call_sub_orchestrator("b"),
    "child_retry": lambda c: c.call_sub_orchestrator_with_retry("b", df.RetryOptions(1000, 3), 5, "its-id"),
    "timer": lambda c: c.create_timer(c.current_utc_datetime + timedelta(days=1)),
    "long_timer": lambda c: c.create_timer(c.current_utc_datetime + timedelta(days=7)),
    "event": lambda c: c.wait_for_external_event("Approval"),
    "call_entity": lambda c: c.call_entity(df.EntityId("Counter", "Key"), "add", 5),
    "call_http": lambda c: c.call_http("POST", "http://localhost/", {"a": 1}, {"h": "v"}),
    "any": lambda c: c.task_any([c.call_activity("a", 1), c.wait_for_external_event("e")]),
    "all": lambda c: c.task_all([c.call_activity("a", 1), c.task_any([c.call_activity("b", 2)])]),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action(name: str) -> None:
    def flow(context: Any) -> Any:
        yield ACTIONS[name](context)

    matches(f"action_{name}", Orchestrator.create(flow)(history()))


def signal(context: Any) -> Any:
    context.signal_entity(df.EntityId("Counter", "Key"), "add", 5)
    yield context.call_activity("a", 1)


def continue_as_new(context: Any) -> Any:
    yield context.call_activity("a", 1)
    context.continue_as_new({"round": 2})
    return "ignored"


def with_status(context: Any) -> Any:
    context.set_custom_status({"step": 1})
    yield context.call_activity("a", context.get_input())


def returning(context: Any) -> Any:
    result = yield context.call_activity("a", 1)
    return {"result": result, "at": str(context.current_utc_datetime), "id": str(context.new_guid())}


def returning_nothing(context: Any) -> Any:
    yield context.call_activity("a", 1)


DONE = Event(TASK_COMPLETED, START, 0, data='"ä"')
AGAIN = Event(ORCHESTRATOR_STARTED, START + 1_000_000)
STATES: dict[str, tuple[Callable[[Any], Any], list[Event]]] = {
    "signal_entity": (signal, []),
    "continue_as_new": (continue_as_new, [AGAIN, DONE]),
    "custom_status": (with_status, []),
    "cancelled_timer": (cancelled, [AGAIN, Event(TASK_COMPLETED, START, 1, data="1")]),
    "output": (returning, [AGAIN, DONE]),
    "output_none": (returning_nothing, [AGAIN, DONE]),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state(name: str) -> None:
    flow, events = STATES[name]
    matches(f"state_{name}", Orchestrator.create(flow)(history(*events)))


def test_a_failure_is_an_exception_that_carries_the_state() -> None:
    with pytest.raises(Exception, match="OutOfProcData") as caught:
        Orchestrator.create(returning)(history(AGAIN, Event(TASK_FAILED, START, 0, ref="Reason", data="Details")))
    matches("state_failure", json.dumps(str(caught.value)))


def test_the_argument_of_an_orchestrator() -> None:
    matches("context", history(AGAIN, DONE))


def test_the_reply_of_an_entity() -> None:
    def counter(context: Any) -> None:
        if context.operation_name == "fail":
            raise ValueError("no")
        context.set_state(context.get_state(lambda: 0) + context.get_input())
        context.set_result(context.get_state())

    batch = [
        {"name": "add", "input": '"5"', "isSignal": True},
        {"name": "add", "input": '"6"', "isSignal": False},
        {"name": "fail", "input": None, "isSignal": False},
    ]
    request = {"self": {"name": "counter", "key": "Key"}, "exists": False, "state": None, "batch": batch}
    reply = json.loads(Entity.create(counter)(json.dumps(request)))
    for result in reply["results"]:
        assert result.pop("duration") >= 0
        assert result.pop("startTime") > 0
    matches("entity_reply", json.dumps(reply))


async def test_the_requests_of_the_client() -> None:
    """Method, path, query, headers and body of each call, as a server of our own hears them."""
    heard: list[dict[str, Any]] = []

    async def hear(request: web.Request) -> web.Response:
        kept = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("content-type", "x-azure-functions-invocationid")
        }
        heard.append(
            {"method": request.method, "url": str(request.rel_url), "headers": kept, "body": await request.text()}
        )
        if request.method == "DELETE":
            return web.json_response({"instancesDeleted": 1})
        if request.path.endswith("instances/"):
            return web.json_response([])
        entity = "/entities/" in request.path
        return web.json_response({"id": "i"}, status=202 if request.method == "POST" or not entity else 200)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        await _call_everything(port)
    finally:
        await http_utils._close_session()
        await runner.cleanup()
    matches("client_requests", json.dumps(heard, indent=1))


async def _call_everything(port: int) -> None:
    links = {"id": "INSTANCEID", "statusQueryGetUri": "http://x/INSTANCEID"}
    binding = {
        "taskHubName": "hub",
        "creationUrls": {},
        "managementUrls": links,
        "rpcBaseUrl": f"http://127.0.0.1:{port}/rpc/",
    }
    client = df.DurableOrchestrationClient(json.dumps(binding), "invocation")
    since = datetime(2026, 1, 1, tzinfo=UTC)
    await client.start_new("flow", "i", {"a": "ä"})
    await client.start_new("flow")
    await client.get_status("i")
    await client.get_status("i", show_history=True, show_history_output=True, show_input=True)
    await client.get_status_all()
    await client.get_status_by(since, since, [df.OrchestrationRuntimeStatus.Running], "pre")
    await client.raise_event("i", "e", {"a": 1})
    await client.raise_event("i", "e")
    await client.terminate("i", "a reason")
    await client.suspend("i", "a reason")
    await client.resume("i", "a reason")
    await client.rewind("i", "reason")
    await client.restart("i")
    await client.restart("i", False)
    await client.purge_instance_history("i")
    await client.purge_instance_history_by(since, since, [df.OrchestrationRuntimeStatus.Completed])
    await client.signal_entity(df.EntityId("Counter", "Key"), "add", 5)
    await client.signal_entity(df.EntityId("Counter", "Key"), "add", 0)
    await client.read_entity_state(df.EntityId("Counter", "Key"))
