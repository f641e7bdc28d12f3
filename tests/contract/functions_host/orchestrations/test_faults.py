"""Faults of the SDK and the extension that an application will meet in Azure: it must meet them here as well."""

from __future__ import annotations

import time

from tests.contract.functions_host.orchestrations.target import Target, fresh


def test_an_event_by_the_sdk_arrives_as_a_string_of_json(target: Target) -> None:
    instance = target.start("approval", 30)
    target.client("raise", instance, name="approval", data={"by": "ann"})
    assert target.wait(instance)["output"] == {"approved": '{"by": "ann"}'}


def test_a_bare_number_by_plain_http_fails_and_an_object_works(target: Target) -> None:
    """The SDK's client sends its input as a string of JSON; only that and objects can be read back."""
    number = target.api("POST", "orchestrators/plain", "5").json()["id"]
    assert target.wait(number)["runtimeStatus"] == "Failed"
    listed = target.api("POST", "orchestrators/plain", "[1]").json()["id"]
    assert target.wait(listed)["runtimeStatus"] == "Failed"
    whole = target.api("POST", "orchestrators/plain", '{"a": 1}').json()["id"]
    assert target.wait(whole)["output"] == {"input": {"a": 1}}
    text = target.api("POST", "orchestrators/plain", '"[1]"').json()["id"]
    assert target.wait(text)["output"] == {"input": [1]}


def test_of_early_events_with_one_name_the_last_survives_and_comes_again(target: Target) -> None:
    instance = target.start("same_event_twice")
    for number in (1, 2):
        assert target.raise_event(instance, "item", number).status_code == 202
    assert target.wait(instance)["output"] == [2, 2]


def test_an_event_in_another_case_is_taken_by_the_extension_and_missed_by_the_sdk(target: Target) -> None:
    instance = target.start("wait_for_name", "Done")
    target.raise_event(instance, "done", 1)
    target.wait_for_event(instance, "EventRaised")
    target.raise_event(instance, "Done", 2)
    assert target.wait(instance)["output"] == 2


def test_yielding_a_loser_with_retry_again_is_non_deterministic(target: Target) -> None:
    assert "Non-Deterministic workflow detected" in target.run_failing("reyield_loser")


def test_a_result_leaks_into_the_next_operation_of_its_batch(target: Target) -> None:
    """ "silent" sets no result: its caller gets the one of the operation before it."""
    assert target.run("leaking_result") == [3, 3]


def test_an_empty_all_gives_none_instead_of_a_list(target: Target) -> None:
    assert "'NoneType' object is not iterable" in target.run_failing("fan_out", 0)


def test_state_set_before_an_exception_stays(target: Target) -> None:
    assert target.run("with_entities")[3] == 999


def test_a_falsy_signal_carries_no_input(target: Target) -> None:
    entity = fresh()
    target.client("signal", entity, entity="counter", operation="add", input=3)
    target.client("signal", entity, entity="counter", operation="add", input=0)
    target.client("signal", entity, entity="counter", operation="add", input=4)
    deadline = time.monotonic() + 30
    while target.client("entity", entity, entity="counter")["state"] != 7:
        assert time.monotonic() < deadline
        time.sleep(0.02)
