"""Random orchestrators: programs as data, and the generator that runs one."""

from __future__ import annotations

import datetime
from typing import Any

import azure.durable_functions as df
from hypothesis import strategies as st

Node = tuple[Any, ...]

plain_leaves = st.one_of(
    st.tuples(st.just("act"), st.integers(0, 9)),
    st.tuples(st.just("timer"), st.integers(0, 9)),
    st.tuples(st.just("event")),
    st.tuples(st.just("child"), st.booleans()),
    st.tuples(st.just("entity")),
)
retries = st.one_of(
    st.tuples(st.just("retry"), st.integers(0, 2)),
    st.tuples(st.just("child_retry"), st.integers(0, 2)),
)
# What can retry never loses a race: it would take numbers later, while the extension, which walks the whole list again,
# has already given them to what follows. `test_a_lost_retry...` holds that it is reported.
plain_tasks = st.recursive(
    plain_leaves,
    lambda inner: st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=6,
)
tasks = st.recursive(
    st.one_of(plain_tasks, retries),
    lambda inner: st.tuples(st.just("all"), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=6,
)
steps = st.one_of(
    tasks,
    tasks,
    st.tuples(st.just("fail")),
    st.tuples(st.just("exhaust")),
    st.tuples(st.just("signal")),
    st.tuples(st.just("status"), st.integers(0, 9)),
    st.tuples(st.just("race"), st.integers(0, 1)),
    st.tuples(st.just("patience"), st.integers(1, 3)),
)
programs = st.lists(steps, min_size=1, max_size=6)


def has_race(node: Any) -> bool:
    """Whether the outcome may depend on the order of events."""
    if isinstance(node, list):
        return any(has_race(inner) for inner in node)
    return node[0] in ("any", "race", "patience") or any(has_race(inner) for inner in node if isinstance(inner, list))


class Names:
    """Numbers everything, so that no two waits share an event name and no two retries a key."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self) -> int:
        self._next += 1
        return self._next


def build(context: Any, node: Node, names: Names) -> Any:
    """The SDK's task of a node."""
    kind = node[0]
    if kind == "act":
        return context.call_activity("act", {"key": names(), "value": node[1]})
    if kind == "timer":
        return context.create_timer(context.current_utc_datetime + datetime.timedelta(seconds=node[1]))
    if kind == "event":
        return context.wait_for_external_event(f"event{names()}")
    if kind == "child":
        return context.call_sub_orchestrator("child", {"key": names()}, f"given{names()}" if node[1] else None)
    if kind == "entity":
        return context.call_entity(df.EntityId("counter", "a"), "add", names())
    if kind == "retry":
        options = df.RetryOptions(1000, 3)
        return context.call_activity_with_retry("flaky", options, {"key": names(), "failures": node[1]})
    if kind == "child_retry":
        options = df.RetryOptions(1000, 3)
        return context.call_sub_orchestrator_with_retry("flaky", options, {"key": names(), "failures": node[1]})
    compound = context.task_all if kind == "all" else context.task_any
    return compound([build(context, inner, names) for inner in node[1]])


def plain(value: Any) -> Any:
    """What a step gave, without the SDK's objects."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return plain(value.result) if hasattr(value, "result") else value


def later(context: Any, seconds: int) -> Any:
    """A timer from now on."""
    return context.create_timer(context.current_utc_datetime + datetime.timedelta(seconds=seconds))


def fail(context: Any, step: Node, names: Names) -> Any:
    """An activity that fails, with and without further attempts: what is caught."""
    failing = {"key": names(), "failures": 99}
    try:
        if step[0] == "fail":
            yield context.call_activity("flaky", failing)
        else:
            yield context.call_activity_with_retry("flaky", df.RetryOptions(1000, 2), failing)
    except Exception as error:  # noqa: BLE001 - the SDK raises nothing more special
        return str(error)


def race(context: Any, step: Node, names: Names) -> Any:
    """An event against a timer, which is cancelled if it loses."""
    timer, event = later(context, 50), context.wait_for_external_event(f"event{names()}")
    winner = yield context.task_any([timer, event] if step[1] else [event, timer])
    if winner == event:
        timer.cancel()
    return winner == event


def patience(context: Any, step: Node, names: Names) -> Any:
    """One event, awaited again beside a new timer each time."""
    event = context.wait_for_external_event(f"event{names()}")
    for _ in range(step[1]):
        timer = later(context, 5)
        yield context.task_any([event, timer])
        if event.is_completed:
            if not timer.is_completed:
                timer.cancel()
            break
    return event.is_completed


STEPS = {"fail": fail, "exhaust": fail, "race": race, "patience": patience}


def orchestrator(program: list[Node]) -> Any:
    """The generator function of a program."""

    def run(context: Any) -> Any:
        names, results = Names(), []
        for step in program:
            if step[0] == "signal":
                context.signal_entity(df.EntityId("counter", "a"), "add", names())
            elif step[0] == "status":
                context.set_custom_status({"at": step[1]})
            elif step[0] in STEPS:
                results.append((yield from STEPS[step[0]](context, step, names)))
            else:
                results.append(plain((yield build(context, step, names))))
        return results

    return run
