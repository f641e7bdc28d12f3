"""Entity batches as JSON for the SDK, and its reply."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from local.durable.core.clock import now_us
from local.durable.core.entities import BatchResult, Reply
from local.durable.core.events import EVENT_RAISED, Event
from local.durable.options import Invocation
from local.durable.outofproc.report import clean
from local.durable.ports import FunctionFailed, Functions, UnknownFunction


def entity_id(name: str, key: str) -> str:
    """The id of an entity: `@name@key`, the name in lower case."""
    return f"@{name.lower()}@{key}"


def split_id(text: str) -> tuple[str, str]:
    """Name and key of an entity id; the key may hold an @."""
    name, _, key = text[1:].partition("@")
    return name, key


def client_signal(operation: str, input_json: str | None) -> Event:
    """A signal from a client. The input is the JSON text of the request's body: a JSON string that holds JSON text."""
    request = {"op": operation, "signal": True, "input": input_json, "id": ""}
    return Event(EVENT_RAISED, now_us(), name="op", data=json.dumps(request))


class EntityCaller:
    """Runs batches through the SDK's handler of an entity function."""

    def __init__(self, functions: Functions, on_invocation: Callable[[Invocation], None] | None) -> None:
        self._functions, self._on_invocation = functions, on_invocation

    async def __call__(self, entity: str, state: str | None, operations: list[Event]) -> BatchResult:
        """Run a batch; a batch that fails as a whole leaves the state as it was, and each caller gets the failure."""
        requests = [json.loads(operation.data or "{}") for operation in operations]
        name, key = split_id(entity)
        batch = [
            {"name": request["op"], "input": request["input"], "isSignal": request["signal"]} for request in requests
        ]
        body = {"self": {"name": name, "key": key}, "exists": state is not None, "state": state, "batch": batch}
        began, error = time.perf_counter(), None
        try:
            reply = json.loads(await self._functions.entity(name, json.dumps(body)))
            new_state, results = _read(reply)
        except (FunctionFailed, UnknownFunction, ValueError, KeyError, TypeError) as failure:
            error = clean(str(failure)) or type(failure).__name__
            text = json.dumps(f"Entity function '{name}' failed: {error}")
            new_state, results = state, [{"isError": True, "result": text} for _ in requests]
        if self._on_invocation is not None:
            self._on_invocation(Invocation("entity", name, entity, time.perf_counter() - began, error))
        return BatchResult(new_state, _replies(requests, results))


def _read(reply: dict[str, Any]) -> tuple[str | None, list[dict[str, Any]]]:
    state = reply["entityState"] if reply["entityExists"] else None
    return state, list(reply["results"])


def _replies(requests: list[dict[str, Any]], results: list[dict[str, Any]]) -> list[Reply]:
    replies = []
    for request, result in zip(requests, results, strict=False):
        if request["signal"]:
            continue
        payload = {"result": result["result"]}
        if result["isError"]:
            payload["exceptionType"] = "Error"
        event = Event(EVENT_RAISED, now_us(), name=request["id"], data=json.dumps(payload))
        replies.append(Reply(request["parent"], request.get("parentExecution"), event))
    return replies
