"""Each pattern of Durable Functions, through HTTP: the same calls work against Azure."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.contract.functions_host.orchestrations.target import Target, fresh

COMPLETING: dict[str, tuple[str, Any, Any]] = {
    "chain": ("chain", ["a", "b"], ["Hello a!", "Hello b!"]),
    "chain without input": ("chain", None, ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]),
    "fan-out of 50": ("fan_out", 50, 2450),
    "timer": ("timer", 0.2, True),
    "timer in the past": ("timer", -5, True),
    "event that never comes": ("approval", 0.2, "timeout"),
    "children": ("parent", None, ["Hello a!", "Hello b!"]),
    "failure of a child": (
        "parent_of_failure",
        None,
        "seen: Orchestrator function 'failing' failed: no luck, child \n ",
    ),
    "continue as new": ("countdown", {"left": 5, "rounds": 0}, 5),
    "entities": ("with_entities", None, [12, "bang", "Hello entity!", 999]),
    "any of all": ("nested", None, [True, [2, 4], 6]),
    "no yield": ("plain", {"a": "ä"}, {"input": {"a": "ä"}}),
}


@pytest.mark.parametrize(("name", "value", "output"), COMPLETING.values(), ids=COMPLETING.keys())
def test_completes(target: Target, name: str, value: object, output: object) -> None:
    assert target.run(name, value) == output


def test_a_fan_out_of_1000_completes(target: Target) -> None:
    assert target.run("fan_out", 1000) == 999_000


def test_many_at_once_all_complete(target: Target) -> None:
    started = [target.start("chain", [str(number)]) for number in range(40)]
    assert [target.wait(instance)["output"] for instance in started] == [[f"Hello {number}!"] for number in range(40)]


# -- retries


def test_a_retry_takes_the_second_result(target: Target) -> None:
    assert target.run("retry", {"key": fresh(), "failures": 1}) == 2


def test_one_more_pause_runs_after_the_last_failed_attempt(target: Target) -> None:
    began = time.monotonic()
    output = target.run("retry", {"key": fresh(), "failures": 9, "interval": 300})
    assert output == "gave up: Activity function 'fail_first' failed:  ValueError: attempt 3 \n "
    assert time.monotonic() - began >= 0.9


def test_back_off_grows_up_to_its_limit(target: Target) -> None:
    began = time.monotonic()
    assert target.run("retry_backoff", {"key": fresh(), "failures": 3}) == 4
    assert time.monotonic() - began >= 0.55  # 100 + 200 + 250 ms


def test_retries_beside_other_tasks(target: Target) -> None:
    assert target.run("retries_in_all") == [3, 8, 2, 100]


def test_a_child_is_retried(target: Target) -> None:
    assert target.run("parent_with_retry", {"key": fresh(), "failures": 2}) == 3


def test_the_step_after_a_failed_all_waits_for_the_rest(target: Target) -> None:
    began = time.monotonic()
    assert target.run("all_fails", 0.6) == ["Hello rescue!", True]
    assert time.monotonic() - began >= 0.6


# -- events


def test_an_event_by_plain_http_arrives_as_its_value(target: Target) -> None:
    instance = target.start("approval", 30)
    assert target.raise_event(instance, "approval", {"by": "ann"}).status_code == 202
    assert target.wait(instance)["output"] == {"approved": {"by": "ann"}}


def test_two_events_in_either_order(target: Target) -> None:
    instance = target.start("two_events")
    target.raise_event(instance, "right", 2)
    target.raise_event(instance, "left", 1)
    assert target.wait(instance)["output"] == [1, 2, "Hello events!"]


def test_an_early_event_is_kept_until_it_is_awaited(target: Target) -> None:
    instance = target.start("custom_status")
    target.raise_event(instance, "two")
    target.raise_event(instance, "one")
    assert target.wait(instance)["output"] == "done"


# -- status, failure


def test_custom_status_is_what_the_last_episode_reported(target: Target) -> None:
    instance = target.start("custom_status")
    target.wait_for_event(instance, "ExecutionStarted")
    while target.status(instance)["customStatus"] != {"step": "one"}:
        time.sleep(0.02)
    target.raise_event(instance, "one")
    while target.status(instance)["customStatus"] != {"step": "two"}:
        time.sleep(0.02)
    target.raise_event(instance, "two")
    assert target.wait(instance)["customStatus"] == {"step": "two"}


def test_a_failure_names_the_orchestrator_and_the_reason(target: Target) -> None:
    assert target.run_failing("failing", "ann") == "Orchestrator function 'failing' failed: no luck, ann"


def test_an_activity_that_nobody_wrote_fails_the_orchestration(target: Target) -> None:
    assert "The function 'nobody_wrote_this' doesn't exist" in target.run_failing("unknown_activity")


def test_continue_as_new_keeps_the_id(target: Target) -> None:
    instance = fresh()
    assert target.run("countdown", {"left": 2, "rounds": 0}, instance) == 2
    assert target.status(instance)["instanceId"] == instance


def test_a_child_has_the_id_it_was_given_or_one_of_its_execution(target: Target) -> None:
    instance = fresh()
    target.run("parent", None, instance)
    assert target.status(f"{instance}-child")["runtimeStatus"] == "Completed"
    events = target.status(instance, showHistory="true", showHistoryOutput="true")["historyEvents"]
    assert [event["EventType"] for event in events] == [
        "ExecutionStarted",
        "SubOrchestrationInstanceCompleted",
        "SubOrchestrationInstanceCompleted",
        "ExecutionCompleted",
    ]
