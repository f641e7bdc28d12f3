"""The meter: billed time, groups that share an instance, log bytes by host.json's levels, the report."""

from __future__ import annotations

import pytest

from local.functions_host.meter.counters import ENVELOPE_BYTES, Meter, billed
from local.functions_host.meter.page import cost_page
from local.functions_host.meter.prices import PRICES
from local.functions_host.meter.report import make_report, one_line


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, 1.0), (0.004, 1.0), (1.0, 1.0), (1.0001, 1.1), (1.1, 1.1), (2.34, 2.4), (60.0, 60.0)],
)
def test_billed_seconds(seconds: float, expected: float) -> None:
    assert billed(seconds) == pytest.approx(expected)


def run(meter: Meter, group: str, *calls: tuple[float, float]) -> None:
    """Calls as (start, end), told to the meter in the order in which they happen."""
    events = sorted([(start, 0, start) for start, _ in calls] + [(end, 1, start) for start, end in calls])
    for at, kind, start in events:
        if kind == 0:
            meter.began(group, at)
        else:
            meter.ended(f"{group}-function", group, start, at, failed=False)


SHARED = {
    "one short call": ([(0.0, 0.1)], 1.0),
    "two at once": ([(0.0, 0.5), (0.1, 0.6)], 1.0),
    "one after the other within the minimum": ([(0.0, 0.1), (0.5, 0.6)], 1.0),
    "the second goes beyond the minimum": ([(0.0, 0.1), (0.5, 2.25)], 2.3),
    "a pause opens a new period": ([(0.0, 0.1), (5.0, 5.1)], 2.0),
    "long ones that overlap": ([(0.0, 3.0), (2.0, 4.0)], 4.0),
}


@pytest.mark.parametrize(("calls", "seconds"), SHARED.values(), ids=SHARED.keys())
def test_calls_of_a_group_share_an_instance(calls: list[tuple[float, float]], seconds: float) -> None:
    meter = Meter()
    run(meter, "http", *calls)
    assert meter.shared_seconds(100.0)["http"] == pytest.approx(seconds)
    assert meter.functions["http-function"].executions == len(calls)
    assert meter.functions["http-function"].billed_seconds == pytest.approx(
        sum(billed(end - start) for start, end in calls)
    )


def test_groups_do_not_share() -> None:
    meter = Meter()
    run(meter, "http", (0.0, 0.1))
    run(meter, "durable", (0.0, 0.1))
    assert meter.shared_seconds(10.0) == {"http": 1.0, "durable": 1.0}


def test_a_call_that_still_runs_is_counted_up_to_now() -> None:
    meter = Meter()
    meter.began("http", 10.0)
    assert meter.shared_seconds(12.34)["http"] == pytest.approx(2.4)


LOGS = {
    "the host's default": ({"default": "Information"}, 3, 1, 1),
    "no request items": ({"default": "Information", "Host.Results": "Warning"}, 2, 1, 1),
    "no lines of the host": ({"default": "Information", "Host.Results": "Warning", "Function": "Warning"}, 0, 0, 1),
    "the app's lines nevertheless": (
        {"default": "Warning", "Function.one.User": "Information"},
        0,
        1,
        1,
    ),
    "nothing at all": ({"default": "None"}, 0, 0, 0),
}


@pytest.mark.parametrize(("levels", "per_call", "information", "warning"), LOGS.values(), ids=LOGS.keys())
def test_log_bytes_follow_host_json(levels: dict[str, str], per_call: int, information: int, warning: int) -> None:
    meter = Meter(levels)
    meter.began("http", 0.0)
    meter.ended("one", "http", 0.0, 0.1, failed=False)
    assert meter.functions["one"].log_bytes == per_call * ENVELOPE_BYTES
    meter.logged("one", "INFO", 50)
    meter.logged("one", "WARNING", 70)
    expected = per_call * ENVELOPE_BYTES + information * (50 + ENVELOPE_BYTES) + warning * (70 + ENVELOPE_BYTES)
    assert meter.functions["one"].log_bytes == expected


def test_the_report_values_every_count_by_the_table() -> None:
    meter = Meter({"default": "None"})
    meter.register("never", "http")
    run(meter, "http", (0.0, 0.1), (5.0, 5.1))
    meter.durable = lambda: {"actions": 7, "history_events": 12}
    sources = {
        "cosmos": {"request_units": 1_000_000.0},
        "bus": {"operations": 500_000},
        "gone": {"error": "<no answer>"},
    }
    report = make_report(meter, sources, since=0.0)
    assert report["since"] == "1970-01-01T00:00:00+00:00"
    assert report["totals"] == {
        "executions": 2,
        "gb_seconds": 4.0,
        "durable_actions": 7,
        "request_units": 1_000_000.0,
        "service_bus_operations": 500_000.0,
        "log_bytes": 0,
    }
    usd = {each["meter"]: each["usd"] for each in report["cost"]}
    assert usd == {
        "executions": pytest.approx(0.8e-6),
        "gb_seconds": pytest.approx(0.000104),
        "durable_actions": None,  # no list price is known, so none is made up
        "request_units": pytest.approx(0.25),
        "service_bus_operations": pytest.approx(0.40),
        "log_bytes": 0.0,
    }
    assert report["usd"] == pytest.approx(0.6501048)
    assert [each["name"] for each in report["functions"]] == ["http-function", "never"]
    line = one_line(report)
    assert line == (
        "Azure would have billed 2 executions, 4.0 GB-s, 7 durable actions, 1,000,000 RU,"
        " 500,000 Service Bus operations, 0.00 MB of logs: $0.650105 at list prices"
    )
    page = cost_page(report).decode()
    assert "&lt;no answer&gt;" in page
    assert "<no answer>" not in page
    assert "http-function" in page


def test_each_price_stands_once() -> None:
    assert len({price.meter for price in PRICES}) == len(PRICES)
