"""Flows without the SDK: the same bindings, the same handler, the same JSON of retries."""

from __future__ import annotations

import inspect
import json
from collections.abc import Generator
from typing import Any

import azure.durable_functions as df
import azure.functions as func
import pytest

from shared.platform.flows import Flows, Retry


def _registered(blueprint: Any) -> dict[str, Any]:
    def flow(context: Any) -> Generator[Any, Any, str]:
        name = yield context.call_activity_with_retry("greet", RETRY, "kim")
        return str(name)

    async def greet(name: str) -> str:
        return f"hello {name}"

    blueprint.orchestration_trigger(context_name="context")(flow)
    blueprint.activity_trigger(input_name="name")(greet)
    app = func.FunctionApp()
    app.register_functions(blueprint)
    return {each.get_function_name(): each for each in app.get_functions()}


RETRY: Any = Retry(1_000, 3)


def _bindings(function: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in json.loads(raw).items() if v is not None} for raw in function.get_raw_bindings()]


@pytest.mark.parametrize("name", ["flow", "greet"])
def test_bindings_and_signature_are_those_of_the_sdks_blueprint(name: str) -> None:
    ours, theirs = _registered(Flows())[name], _registered(df.Blueprint())[name]
    assert _bindings(ours) == _bindings(theirs)
    assert list(inspect.signature(ours.get_user_function()).parameters) == list(
        inspect.signature(theirs.get_user_function()).parameters
    )
    assert ours.is_http_function() == theirs.is_http_function()


def test_the_handler_is_the_sdks_own() -> None:
    state = {
        "history": [
            {"EventType": 12, "EventId": -1, "IsPlayed": False, "Timestamp": "2026-01-31T09:30:00Z"},
            {
                "EventType": 0,
                "EventId": -1,
                "IsPlayed": False,
                "Timestamp": "2026-01-31T09:30:00Z",
                "Name": "flow",
                "Input": None,
                "Version": None,
            },
        ],
        "input": None,
        "instanceId": "i1",
        "isReplaying": False,
        "parentInstanceId": None,
        "upperSchemaVersion": 2,
        "upperSchemaVersionNew": 2,
        "longRunningTimerIntervalDuration": "3.00:00:00",
        "maximumShortTimerDuration": "6.00:00:00",
        "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
    }
    answers = [
        json.loads(_registered(blueprint)["flow"].get_user_function()(json.dumps(state)))
        for blueprint in (Flows(), df.Blueprint())
    ]
    assert answers[0] == answers[1]
    text = json.dumps(answers[0])
    assert '"greet"' in text
    assert '{"firstRetryIntervalInMilliseconds": 1000, "maxNumberOfAttempts": 3}' in text


def test_the_engine_finds_the_function_as_its_author_wrote_it() -> None:
    for blueprint in (Flows(), df.Blueprint()):
        handler = _registered(blueprint)["flow"].get_user_function()
        assert inspect.isgeneratorfunction(handler.orchestrator_function)
        assert handler.__name__ == "flow"


def test_retries_are_written_as_the_sdk_writes_them_and_may_back_off() -> None:
    assert Retry(500, 4).to_json() == df.RetryOptions(500, 4).to_json()
    assert Retry(500, 4, backoff=2, longest_ms=8_000).to_json() == {
        "firstRetryIntervalInMilliseconds": 500,
        "maxNumberOfAttempts": 4,
        "backoffCoefficient": 2,
        "maxRetryIntervalInMilliseconds": 8_000,
    }


@pytest.mark.parametrize(("first", "attempts", "backoff"), [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.5)])
def test_senseless_retries_are_refused(first: int, attempts: int, backoff: float) -> None:
    with pytest.raises(ValueError, match="a retry has"):
        Retry(first, attempts, backoff=backoff)
