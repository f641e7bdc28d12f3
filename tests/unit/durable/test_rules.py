"""Pure decisions of the engine, in tables."""

from __future__ import annotations

import re

import pytest

from local.common.errors import StartError
from local.durable.core import clock
from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_COMPLETED,
    EXECUTION_STARTED,
    ORCHESTRATOR_COMPLETED,
    ORCHESTRATOR_STARTED,
    SUB_COMPLETED,
    SUB_CREATED,
    SUB_FAILED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_SCHEDULED,
    TIMER_CREATED,
    TIMER_FIRED,
    Event,
    pack,
    unpack,
)
from local.durable.core.ids import new_id, why_bad
from local.durable.core.rewind import rewound
from local.durable.options import DurableOptions, options_for
from local.durable.outofproc.entities import entity_id, split_id
from local.durable.outofproc.history import time_span
from local.durable.outofproc.nodes import RetryPolicy
from local.durable.outofproc.report import OUT_OF_PROC_MARK, from_exception

PAUSES = {
    "the first failure": (RetryPolicy(200, 3), 1, 0, 200_000),
    "constant without a coefficient": (RetryPolicy(200, 9), 5, 0, 200_000),
    "doubled": (RetryPolicy(100, 9, 2.0), 3, 0, 400_000),
    "held by the limit": (RetryPolicy(100, 9, 2.0, 250), 4, 0, 250_000),
    "a coefficient beyond all numbers": (RetryPolicy(1e300, 9, 1e300, 1000), 9, 0, 1_000_000),
    "within the time allowed": (RetryPolicy(100, 9, timeout_ms=1000), 1, 999_999, 100_000),
    "past the time allowed": (RetryPolicy(100, 9, timeout_ms=1000), 1, 1_000_000, None),
}


@pytest.mark.parametrize(("policy", "failures", "elapsed", "pause"), PAUSES.values(), ids=PAUSES.keys())
def test_the_pause_before_another_attempt(policy: RetryPolicy, failures: int, elapsed: int, pause: int | None) -> None:
    assert policy.pause_us(failures, elapsed) == pause


SPANS = {
    "six days": (518_400, "6.00:00:00"),
    "an hour and a bit": (3_725, "01:02:05"),
    "a fraction": (0.15, "00:00:00.1500000"),
    "nothing": (0, "00:00:00"),
}


@pytest.mark.parametrize(("seconds", "text"), SPANS.values(), ids=SPANS.keys())
def test_time_spans_are_written_as_dotnet_does(seconds: float, text: str) -> None:
    assert time_span(seconds) == text


IDS = {
    "empty": ("", "empty"),
    "long": ("x" * 257, "257"),
    "as long as can be": ("x" * 256, None),
    "of an entity": ("@a@b", "@"),
    "slash": ("a/b", "'/'"),
    "backslash": ("a\\b", "'\\\\\\\\'"),
    "control character": ("a\nb", "n"),
    "letters of any script": ("ärger-界", None),
    "colon": ("execution:0", None),
}


@pytest.mark.parametrize(("instance_id", "reason"), IDS.values(), ids=IDS.keys())
def test_ids_that_can_and_cannot_be(instance_id: str, reason: str | None) -> None:
    found = why_bad(instance_id)
    assert (found is None) == (reason is None)
    assert reason is None or re.search(reason, found or "")


def test_new_ids_are_distinct_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert [name[:12] for name in ids] == sorted(name[:12] for name in ids)
    assert all(re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", name) for name in ids)


def test_times_go_to_text_and_back() -> None:
    at = 1_767_225_600_123_456
    assert clock.iso(at) == "2026-01-01T00:00:00.123456Z"
    assert clock.iso_seconds(at) == "2026-01-01T00:00:00Z"
    assert clock.parse(clock.iso(at)) == at
    assert clock.parse("2026-01-01T01:00:00+01:00") == clock.parse("2026-01-01T00:00:00")


def test_events_are_packed_and_unpacked() -> None:
    events = [Event(ORCHESTRATOR_STARTED, 1), Event(TASK_FAILED, 2, 3, "n", "d\n", "r", 4, "x")]
    assert unpack(pack(events)) == events


BEGIN = [Event(ORCHESTRATOR_STARTED, 0), Event(EXECUTION_STARTED, 0, name="flow")]
END = [Event(EXECUTION_COMPLETED, 9, 3), Event(ORCHESTRATOR_COMPLETED, 9)]
DONE = [Event(TASK_SCHEDULED, 0, 0, "a"), Event(TASK_COMPLETED, 1, 0)]
FAILED = [Event(TASK_SCHEDULED, 1, 1, "b"), Event(TASK_FAILED, 2, 1)]
PAUSE = [Event(TIMER_CREATED, 2, 2, due=3), Event(TIMER_FIRED, 3, 2)]
AGAIN = [Event(TASK_SCHEDULED, 3, 3, "b"), Event(TASK_FAILED, 4, 3)]
CHILD = Event(SUB_CREATED, 0, 4, "c", ref="child")
CALL = Event(EVENT_SENT, 0, 5, "op", '{"id": "x", "signal": false}', "@c@k")
SIGNAL = Event(EVENT_SENT, 0, 6, "op", '{"id": "y", "signal": true}', "@c@k")
REPLY = Event(EVENT_RAISED, 1, name="x", data="1")

REWINDS: dict[str, tuple[list[Event], list[Event], list[Event]]] = {
    "a failed activity goes with its scheduling": ([*DONE, *FAILED], DONE, []),
    "retries go with their pauses": ([*DONE, *FAILED, *PAUSE, *AGAIN], DONE, []),
    "a failed child stays and is told of": ([CHILD, Event(SUB_FAILED, 5, 4)], [CHILD], [CHILD]),
    "a child under way as well": ([CHILD], [CHILD], [CHILD]),
    "a child that ended is left alone": (
        [CHILD, Event(SUB_COMPLETED, 5, 4)],
        [CHILD, Event(SUB_COMPLETED, 5, 4)],
        [],
    ),
    "an activity and a timer under way are set anew": ([*DONE, FAILED[0], PAUSE[0]], DONE, []),
    "a timer that fired stays": (PAUSE, PAUSE, []),
    "a call that was answered stays": ([CALL, REPLY], [CALL, REPLY], []),
    "a call without an answer is made again": ([CALL], [], []),
    "a signal stays": ([SIGNAL], [SIGNAL], []),
    "a failure of user code leaves all": (DONE, DONE, []),
}


@pytest.mark.parametrize(("history", "kept", "children"), REWINDS.values(), ids=REWINDS.keys())
def test_what_a_rewound_history_keeps(history: list[Event], kept: list[Event], children: list[Event]) -> None:
    assert rewound([*BEGIN, *history, *END]) == ([*BEGIN, *kept, END[1]], children)


def test_entity_ids() -> None:
    assert entity_id("Counter", "Key@x") == "@counter@Key@x"
    assert split_id("@counter@Key@x") == ("counter", "Key@x")


def test_settings_from_host_json_and_the_environment() -> None:
    options = options_for(
        {"hubName": "hub", "maxConcurrentActivityFunctions": 3, "maxEntityOperationBatchSize": 7, "other": {}},
        {"DURABLE_EXECUTOR": "replay", "DURABLE_RETENTION_DAYS": "0.5"},
    )
    assert (options.task_hub, options.activity_concurrency, options.entity_batch) == ("hub", 3, 7)
    assert (options.executor, options.retention_seconds) == ("replay", 43_200)
    assert options_for({}, {"DURABLE_RETENTION_DAYS": "0"}).retention_seconds is None
    assert options_for({}, {}) == DurableOptions()


WRONG = {
    "executor": ({}, {"DURABLE_EXECUTOR": "fast"}, "live, replay, check"),
    "retention": ({}, {"DURABLE_RETENTION_DAYS": "soon"}, "'soon'"),
    "negative retention": ({}, {"DURABLE_RETENTION_DAYS": "-1"}, "'-1'"),
    "endless retention": ({}, {"DURABLE_RETENTION_DAYS": "nan"}, "'nan'"),
    "concurrency": ({"maxConcurrentActivityFunctions": 0}, {}, "maxConcurrentActivityFunctions is 0"),
    "concurrency as text": ({"maxConcurrentActivityFunctions": "9"}, {}, "'9'"),
}


@pytest.mark.parametrize(("host_json", "environment", "text"), WRONG.values(), ids=WRONG.keys())
def test_settings_that_make_no_sense(host_json: dict[str, object], environment: dict[str, str], text: str) -> None:
    with pytest.raises(StartError, match=text):
        options_for(host_json, environment)


def test_a_failure_without_the_sdks_state_is_the_sdks_own() -> None:
    report = from_exception(TypeError("not \ud800 serializable"))
    assert (report.broken, report.error) == (True, "TypeError: not ? serializable")


def test_a_failure_text_may_hold_the_mark_itself() -> None:
    state = '{"isDone": false, "schemaVersion": 2, "actions": [[]], "error": "x"}'
    report = from_exception(Exception(f"a{OUT_OF_PROC_MARK}b{OUT_OF_PROC_MARK}{state}"))
    assert (report.broken, report.error, report.actions) == (False, "x", [])
