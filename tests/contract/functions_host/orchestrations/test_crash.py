"""The host is killed again and again under mixed load: every orchestration ends right, none is lost, none ends twice."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.contract.functions_host.orchestrations.conftest import local_host, local_target
from tests.contract.functions_host.orchestrations.target import Target, fresh
from tests.support.processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.local_only]

ORCHESTRATIONS = 90
KILLS = 7
ACTIVITIES_AT_ONCE = 20  # the engine's own default is ten per core
PATIENCE_SECONDS = 120.0

SHAPES: list[dict[str, Any]] = [
    {"steps": 3},
    {"steps": 2, "wide": 6},
    {"steps": 1, "wait": 0.4},
    {"steps": 2, "child": True},
    {"steps": 1, "count": "total"},
    {"steps": 2, "seconds": 0.05, "wide": 2, "wait": 0.1, "child": True, "count": "total"},
]


def expected(job: dict[str, Any]) -> list[Any]:
    """The output of `journal` for a job."""
    name = job["id"]
    output: list[Any] = [f"{name}:{step}" for step in range(job["steps"])]
    output += [f"{name}:w{number}" for number in range(job.get("wide", 0))]
    output += [f"{name}c:0"] if job.get("child") else []
    return output + ([True] if job.get("count") else [])


def marks(job: dict[str, Any]) -> set[str]:
    """The lines that the activities of a job leave."""
    return {f"{line.split(':')[0]} {line.split(':')[1]}" for line in expected(job) if isinstance(line, str)}


def insist(action: Any, accepted: set[int]) -> None:
    """Repeat a request until the host takes it: it may be dead at the moment, or die before it answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if action().status_code in accepted:
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError("the host takes no request any more")


def start_once(target: Target, name: str, value: object, instance_id: str) -> None:
    """Start unless it is there: an answer may be lost on the way, and an id that has finished could be used again."""

    def start() -> requests.Response:
        known = target.api("GET", f"instances/{instance_id}")
        return known if known.status_code in (200, 202) else target.door(f"start/{name}", value, id=instance_id)

    insist(start, {200, 202})  # 202 from the start means that it is on disk


def submit(target: Target, number: int) -> tuple[str, Any]:
    """Start one orchestration of a random shape; its id and the output it must come to."""
    if number % 9 == 8:
        instance = f"approval-{number}"
        start_once(target, "approval", 300, instance)
        insist(lambda: target.raise_event(instance, "approval", number), {202, 410})
        return instance, {"approved": number}
    job = {"id": f"job{number}", **SHAPES[number % len(SHAPES)]}
    start_once(target, "journal", job, job["id"])
    return job["id"], expected(job)


def test_nothing_is_lost_and_nothing_ends_twice(tmp_path: Path) -> None:
    chance = random.Random(20261123)
    port, lines = free_port(), tmp_path / "marks"
    host = local_host(tmp_path / "data", port, lines, executor="live").start()
    try:
        target = local_target(tmp_path / "data", port)
        over = threading.Event()

        def kill_now_and_then() -> int:
            for kill in range(KILLS):
                if over.wait(chance.uniform(0.2, 0.9)) and kill > 2:
                    return kill
                host.kill()
                host.start()
            return KILLS

        with ThreadPoolExecutor(7) as pool:
            killing = pool.submit(kill_now_and_then)
            submitted = dict(
                pool.map(lambda number: submit(Target(target.url, *_keys(target)), number), range(ORCHESTRATIONS))
            )
            over.set()
            kills = killing.result()
        _check(target, submitted, lines, kills)
    finally:
        host.kill()


def _keys(target: Target) -> tuple[str, str]:
    return target._function_key, target._system_key


def _check(target: Target, submitted: dict[str, Any], lines: Path, kills: int) -> None:
    assert kills >= 3
    for instance, output in submitted.items():
        status = target.wait(instance)
        assert (status["runtimeStatus"], status["output"]) == ("Completed", output), status
        events = target.status(instance, showHistory="true")["historyEvents"]
        assert sum(event["EventType"] == "ExecutionCompleted" for event in events) == 1
    jobs = [{"id": f"job{n}", **SHAPES[n % len(SHAPES)]} for n in range(ORCHESTRATIONS) if n % 9 != 8]
    wanted = set().union(*map(marks, jobs))
    written = Counter(lines.read_text().splitlines())
    assert set(written) == wanted
    again = sum(count - 1 for count in written.values())
    assert again <= kills * ACTIVITIES_AT_ONCE, f"{again} activities ran again after {kills} kills"
    counted = sum(1 for job in jobs if job.get("count"))
    assert target.api("GET", "entities/counter/total").json() == counted


def test_a_timer_that_came_due_while_the_host_was_dead_fires_at_its_start(tmp_path: Path) -> None:
    port = free_port()
    host = local_host(tmp_path / "data", port, tmp_path / "marks").start()
    try:
        target = local_target(tmp_path / "data", port)
        instance = target.start("timer", 0.5)
        target.wait_for_event(instance, "TimerCreated")
        host.kill()
        time.sleep(0.6)  # the timer's time passes while nobody is there: that is the subject
        host.start()
        local_target(tmp_path / "data", port)
        assert target.wait(instance)["output"] is True
    finally:
        host.kill()


def test_a_second_host_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with local_host(tmp_path / "data", (port := free_port()), tmp_path / "marks"):
        local_target(tmp_path / "data", port)
        second = local_host(tmp_path / "data", 0, tmp_path / "marks")
        second.log, second.port = tmp_path / "second.log", None
        process = second.start().process
        assert process is not None
        assert process.wait(60) == 2
        assert "is in use by another" in second.output()
        assert len(second.output().strip().splitlines()) == 1


def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    port = free_port()
    with local_host(tmp_path / "data", port, tmp_path / "marks"):
        local_target(tmp_path / "data", port).run("plain")
    database = tmp_path / "data" / "durable.db"
    for leftover in (tmp_path / "data").glob("durable.db-*"):
        leftover.unlink()
    database.write_bytes(damaged := b"SQLite format 3\0" + b"\x5a" * 8192)
    second = local_host(tmp_path / "data", 0, tmp_path / "marks")
    second.log, second.port = tmp_path / "second.log", None
    process = second.start().process
    assert process is not None
    assert process.wait(60) == 2
    assert "durable.db is damaged" in second.output()
    assert database.read_bytes() == damaged


def test_orchestrations_survive_a_clean_stop(tmp_path: Path) -> None:
    port = free_port()
    host = local_host(tmp_path / "data", port, tmp_path / "marks").start()
    try:
        target = local_target(tmp_path / "data", port)
        instance = target.start("approval", 60, fresh())
        target.wait_for_event(instance, "TimerCreated")
        assert host.stop() == 0
        host.start()
        local_target(tmp_path / "data", port)
        target.raise_event(instance, "approval", json.loads("[1]"))
        assert target.wait(instance)["output"] == {"approved": [1]}
    finally:
        host.kill()
