"""The HTTP API of instances, by itself and through the SDK's client."""

from __future__ import annotations

import time

import pytest
import requests

from tests.contract.functions_host.orchestrations.target import Target, fresh


def test_a_start_answers_with_links_that_work(target: Target) -> None:
    answer = target.api("POST", "orchestrators/chain", '"[\\"x\\"]"')
    assert answer.status_code == 202
    links = answer.json()
    assert answer.headers["Location"] == links["statusQueryGetUri"]
    target.wait(links["id"])
    status = requests.get(links["statusQueryGetUri"], timeout=30)
    assert (status.status_code, status.json()["output"]) == (200, ["Hello x!"])


def test_a_start_can_wait_for_the_end(target: Target) -> None:
    answer = target.api("POST", "orchestrators/chain", query={"timeout": "30", "pollingInterval": "1"})
    assert (answer.status_code, answer.json()) == (200, ["Hello Tokyo!", "Hello Seattle!", "Hello London!"])
    late = target.api("POST", "orchestrators/timer", '"30"', query={"timeout": "0.1"})
    assert late.status_code == 202
    target.client("terminate", late.json()["id"])


def test_without_the_system_key_nothing_answers(target: Target) -> None:
    answer = target.api("GET", "instances", query={"code": "wrong"})
    assert (answer.status_code, answer.content) == (401, b"")


def test_an_orchestrator_that_nobody_wrote(target: Target) -> None:
    answer = target.api("POST", "orchestrators/nobody_wrote_this")
    assert answer.status_code == 400
    assert "nobody_wrote_this" in answer.json()["ExceptionMessage"]
    assert "nobody_wrote_this" in target.door("start/nobody_wrote_this").json()["error"]


BAD_IDS = {"too long": "x" * 257, "of an entity": "@counter@a", "with a question mark": "a%3Fb", "with a hash": "a%23b"}


@pytest.mark.parametrize("instance_id", BAD_IDS.values(), ids=BAD_IDS.keys())
def test_ids_that_cannot_be(target: Target, instance_id: str) -> None:
    assert target.api("POST", f"orchestrators/chain/{instance_id}").status_code == 400


def test_status_of_what_runs_is_finished_or_is_not_there(target: Target) -> None:
    running = target.start("approval", 60)
    answer = target.api("GET", f"instances/{running}")
    assert answer.status_code == 202
    assert answer.json()["runtimeStatus"] in ("Pending", "Running")
    assert set(answer.json()) == {
        "name", "instanceId", "runtimeStatus", "input", "customStatus", "output", "createdTime", "lastUpdatedTime"
    }  # fmt: skip
    assert answer.json()["input"] == "60"  # the SDK sends JSON text as a JSON string
    assert target.api("GET", f"instances/{fresh()}").status_code == 404
    target.client("terminate", running, reason="enough")
    ended = target.wait(running)
    assert (ended["runtimeStatus"], ended["output"]) == ("Terminated", "enough")
    assert target.api("GET", f"instances/{running}").status_code == 200


def test_a_failure_is_500_only_when_asked_for(target: Target) -> None:
    instance = target.start("failing", "x")
    target.wait(instance)
    assert target.api("GET", f"instances/{instance}").status_code == 200
    asked = target.api("GET", f"instances/{instance}", query={"returnInternalServerErrorOnFailure": "true"})
    assert asked.status_code == 500


@pytest.mark.parametrize("order", ["terminate", "suspend", "resume", "raiseEvent/x"])
def test_orders_to_what_is_finished_or_is_not_there(target: Target, order: str) -> None:
    finished = target.start("plain")
    target.wait(finished)
    assert target.api("POST", f"instances/{finished}/{order}", "{}").status_code == 410
    assert target.api("POST", f"instances/{fresh()}/{order}", "{}").status_code == 404


def test_an_event_must_be_json(target: Target) -> None:
    instance = target.start("approval", 60)
    assert (
        target.api(
            "POST", f"instances/{instance}/raiseEvent/x", "{}", headers={"content-type": "text/plain"}
        ).status_code
        == 400
    )
    assert target.api("POST", f"instances/{instance}/raiseEvent/x", "{").status_code == 400
    target.client("terminate", instance)


def test_a_suspended_instance_keeps_its_events(target: Target) -> None:
    instance = target.start("approval", 60)
    target.wait(instance, "Running")
    target.client("suspend", instance)
    target.wait(instance, "Suspended")
    target.raise_event(instance, "approval", "yes")
    time.sleep(0.3)  # long enough for a wrong engine to take the event
    assert target.status(instance)["runtimeStatus"] == "Suspended"
    target.client("resume", instance)
    assert target.wait(instance)["output"] == {"approved": "yes"}


def test_a_suspended_instance_can_be_terminated(target: Target) -> None:
    instance = target.start("approval", 60)
    target.wait(instance, "Running")
    target.client("suspend", instance)
    target.wait(instance, "Suspended")
    target.client("terminate", instance, reason="no more")
    assert target.wait(instance)["output"] == "no more"


def test_a_terminated_child_fails_in_its_parent(target: Target) -> None:
    instance = target.start("parent_of_waiting", None)
    child = f"{instance}-child"
    target.wait(child, "Running")
    target.client("terminate", child, reason="enough")
    assert target.wait(child)["runtimeStatus"] == "Terminated"
    assert target.wait(instance)["output"].startswith("seen: enough")


def test_ids_are_refused_while_running_and_free_afterwards(target: Target) -> None:
    instance = fresh()
    target.start("approval", 60, instance)
    again = target.door("start/approval", 60, id=instance)
    assert again.status_code == 409
    assert "already exists" in again.text
    target.client("terminate", instance)
    target.wait(instance)
    assert target.run("chain", ["second life"], instance) == ["Hello second life!"]
    assert target.status(instance)["name"] == "chain"


def test_rewinding_runs_what_failed_again(target: Target) -> None:
    instance = target.start("rewindable", {"key": fresh(), "failures": 1})
    assert target.wait(instance)["runtimeStatus"] == "Failed"
    target.client("rewind", instance)
    status = target.wait(instance, "Completed")
    assert status["output"] == [42, 2]
    assert "only supported on failed" in target.client_error("rewind", instance)
    assert "No instance" in target.client_error("rewind", fresh())


def test_restarting_with_the_same_input(target: Target) -> None:
    first = target.start("chain", ["again"])
    target.wait(first)
    links = target.client("restart", first)
    assert links["id"] != first
    assert target.wait(links["id"])["output"] == ["Hello again!"]
    same = target.client("restart", first, new=False)
    assert same["id"] == first
    assert target.wait(first)["output"] == ["Hello again!"]
    assert "No instance" in target.client_error("restart", fresh())


def test_restarting_what_runs_needs_a_new_id(target: Target) -> None:
    instance = target.start("approval", 60)
    answer = target.api("POST", f"instances/{instance}/restart", query={"restartWithNewInstanceId": "false"})
    assert answer.status_code == 400
    target.client("terminate", instance)


def test_purging_one(target: Target) -> None:
    instance = target.start("plain")
    target.wait(instance)
    assert target.client("purge", instance) == 1
    assert target.status(instance) == {}
    assert target.client("purge", instance) == 0


def test_purging_many(target: Target) -> None:
    prefix = fresh("p")
    before = target.status(target.start("plain"))["createdTime"]
    for number in range(3):
        target.run("plain", None, f"{prefix}-{number}")
    running = target.start("approval", 60, f"{prefix}-running")
    answer = target.api(
        "DELETE",
        "instances",
        query={"createdTimeFrom": before, "runtimeStatus": "Completed,Failed", "instanceIdPrefix": prefix},
    )
    assert (answer.status_code, answer.json()) == (200, {"instancesDeleted": 3})
    assert target.client("prefix", prefix) == [running]
    target.client("terminate", running)


def test_lists_come_in_pages_of_100(target: Target) -> None:
    prefix = fresh("l")
    for number in range(105):
        target.start("plain", None, f"{prefix}-{number:03}")
    first = target.api("GET", "instances", query={"instanceIdPrefix": prefix})
    token = first.headers["x-ms-continuation-token"]
    second = target.api(
        "GET", "instances", query={"instanceIdPrefix": prefix}, headers={"x-ms-continuation-token": token}
    )
    assert "x-ms-continuation-token" not in second.headers
    pages = [[status["instanceId"] for status in answer.json()] for answer in (first, second)]
    assert [len(page) for page in pages] == [100, 5]
    assert len({*pages[0], *pages[1]}) == 105
    assert len(target.client("prefix", prefix)) == 100  # the SDK looks at the first page only
    wrong = target.api(
        "GET", "instances", query={"instanceIdPrefix": prefix}, headers={"x-ms-continuation-token": "nonsense"}
    )
    assert wrong.status_code == 400
    whole = target.api("GET", "instances", query={"top": "7"})
    rest = target.api(
        "GET",
        "instances",
        query={"top": "7"},
        headers={"x-ms-continuation-token": whole.headers["x-ms-continuation-token"]},
    )
    assert not {status["instanceId"] for status in whole.json()} & {status["instanceId"] for status in rest.json()}
    five = target.api("GET", "instances", query={"instanceIdPrefix": prefix, "top": "5"})
    assert len(five.json()) == 5


def test_lists_by_status_and_time(target: Target) -> None:
    prefix = fresh("s")
    target.run("plain", None, f"{prefix}-a")
    failed = target.start("failing", "x", f"{prefix}-b")
    target.wait(failed)
    by_status = target.api("GET", "instances", query={"instanceIdPrefix": prefix, "runtimeStatus": "Failed"})
    assert [status["instanceId"] for status in by_status.json()] == [failed]
    future = target.api(
        "GET", "instances", query={"instanceIdPrefix": prefix, "createdTimeFrom": "2999-01-01T00:00:00Z"}
    )
    assert future.json() == []
    assert target.api("GET", "instances", query={"createdTimeFrom": "yesterday"}).status_code == 400
    assert target.api("GET", "instances", query={"runtimeStatus": "Sleeping"}).status_code == 400


def test_history_on_demand(target: Target) -> None:
    instance = target.start("chain", ["x"])
    target.wait(instance)
    assert "historyEvents" not in target.status(instance)
    events = target.status(instance, showHistory="true")["historyEvents"]
    assert [event["EventType"] for event in events] == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]
    assert "Result" not in events[1]
    shown = target.status(instance, showHistory="true", showHistoryOutput="true")["historyEvents"]
    assert shown[1]["Result"] == "Hello x!"
    assert shown[1]["FunctionName"] == "say_hello"


def test_the_sdk_sees_status_input_and_history(target: Target) -> None:
    instance = target.start("chain", ["x"])
    target.wait(instance)
    status = target.client("status", instance, history=True)
    assert (status["runtimeStatus"], status["output"], len(status["events"])) == ("Completed", ["Hello x!"], 3)
    assert target.client("status", fresh()) is None


def test_an_entity_over_http(target: Target) -> None:
    key = fresh()
    assert target.api("GET", f"entities/counter/{key}").status_code == 404
    assert target.api("POST", f"entities/counter/{key}", '"5"', query={"op": "add"}).status_code == 202
    deadline = time.monotonic() + 30
    while target.api("GET", f"entities/Counter/{key}").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert target.api("GET", f"entities/counter/{key}").json() == 5
    target.client("signal", key, entity="counter", operation="reset", input=None)
    while target.client("entity", key, entity="counter")["exists"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert target.api("POST", f"entities/nobody/{key}", query={"op": "x"}).status_code == 400
