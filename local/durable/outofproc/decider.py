"""Deciding by an orchestrator function of the Durable Functions SDK."""

from __future__ import annotations

from collections.abc import Sequence

from local.durable.core import statuses
from local.durable.core.decision import Decision, Execution
from local.durable.core.events import SUB_CREATED, TASK_SCHEDULED, Event
from local.durable.options import DurableOptions
from local.durable.outofproc.history import context_json, json_text
from local.durable.outofproc.live import ContextOptions, LiveOrchestrator
from local.durable.outofproc.report import Report, run_handler
from local.durable.outofproc.walker import BadAction, NonDeterminism, Walker
from local.durable.ports import Functions, UnknownFunction


class OutOfProcDecider:
    """One execution: the user's orchestrator on one side, the walk along its actions on the other."""

    def __init__(
        self, functions: Functions, options: DurableOptions, execution: Execution, history: list[Event]
    ) -> None:
        self._functions, self._options, self._execution = functions, options, execution
        self._walker = Walker(execution.instance_id, execution.execution_id)
        self._walker.facts = history
        self._live: LiveOrchestrator | None = None

    def decide(self, events: Sequence[Event]) -> Decision:
        """See `Decider.decide`."""
        replayed = 0
        try:
            if self._live is not None:
                report = self._live.go_on(events)
                if self._options.executor == "check":
                    self._compare(report, events)
            else:
                replayed = len(self._walker.facts)
                report = self._from_the_start(events)
            self._walk(report, events)
            effects = self._walker.take()
            self._refuse_unknown(effects)
        except (NonDeterminism, BadAction, UnknownFunction) as error:
            return self._failed(str(error), replayed)
        return self._conclude(report, effects, replayed)

    def recorded(self, events: Sequence[Event]) -> None:
        """See `Decider.recorded`."""
        self._walker.feed(events)
        if self._live is not None:
            self._live.recorded(events)

    def close(self) -> None:
        """See `Decider.close`."""
        if self._live is not None:
            self._live.close()
            self._live = None

    def _context(self, events: Sequence[Event]) -> str:
        return context_json(
            [*self._walker.facts, *events],
            self._execution,
            short_timer_seconds=self._options.short_timer_seconds,
            hop_seconds=self._options.long_timer_hop_seconds,
        )

    def _from_the_start(self, events: Sequence[Event]) -> Report:
        name = self._execution.name
        if not self._functions.has("orchestrator", name):
            raise UnknownFunction(_unknown(name, "orchestrator"))
        handler = self._functions.orchestrator(name)
        if self._options.executor == "replay":
            return run_handler(handler, self._context(events))
        live = LiveOrchestrator(handler, self._functions.generator(name))
        if self._walker.facts:
            report = live.begin(self._context(events))
        else:
            options = ContextOptions(self._options.short_timer_seconds, self._options.long_timer_hop_seconds)
            report = live.begin_new(self._execution, events, options)
            if self._options.executor == "check":
                self._compare(report, events)
        if live.is_generator and not report.broken:
            self._live = live
        return report

    def _walk(self, report: Report, events: Sequence[Event]) -> None:
        walker = self._walker
        if report.broken:
            return
        if report.since == 0 or not walker.facts:
            walker.replace(report.actions, [*walker.facts, *events])
            return
        if report.cancelled:
            for position, action in report.cancelled.items():
                walker.actions[position] = action
            walker.actions.extend(report.actions)
            walker.walk_again()
        else:
            walker.append(report.actions)
        walker.feed(events)

    def _conclude(self, report: Report, effects: list[Event], replayed: int) -> Decision:
        if report.broken:
            return self._failed(report.error or "", replayed)
        status = report.custom_status
        if not self._walker.finished or not (report.done or report.error is not None):
            return Decision(effects, custom_status=status, replayed=replayed)
        if report.error is not None:
            return self._failed(report.error, replayed, effects, status)
        if self._walker.continued is not None:
            return Decision(effects, statuses.CONTINUED_AS_NEW, json_text(self._walker.continued), status, replayed)
        return Decision(effects, statuses.COMPLETED, report.output, status, replayed)

    def _failed(
        self, text: str, replayed: int, effects: list[Event] | None = None, status: str | None = None
    ) -> Decision:
        output = json_text(f"Orchestrator function '{self._execution.name}' failed: {text}")
        return Decision(effects or [], statuses.FAILED, output, status, replayed)

    def _refuse_unknown(self, effects: Sequence[Event]) -> None:
        for event in effects:
            kind = {TASK_SCHEDULED: "activity", SUB_CREATED: "orchestrator"}.get(event.kind)
            if kind is not None and not self._functions.has(kind, event.name or ""):
                raise UnknownFunction(_unknown(event.name or "", kind))

    def _compare(self, live: Report, events: Sequence[Event]) -> None:
        replay = run_handler(self._functions.orchestrator(self._execution.name), self._context(events))
        expected = [*self._walker.actions[: live.since], *live.actions]
        for position, action in live.cancelled.items():
            expected[position] = action
        for what, kept, replayed in (
            ("actions", expected, replay.actions),
            ("done", live.done, replay.done),
            ("output", live.output, replay.output),
            ("error", live.error, replay.error),
            ("custom status", live.custom_status, replay.custom_status),
        ):
            if kept != replayed and not (live.broken and replay.broken):
                raise NonDeterminism(f"replay check: {what} kept alive {kept!r}, replayed {replayed!r}")


def _unknown(name: str, kind: str) -> str:
    article = "an" if kind[0] in "aeiou" else "a"
    return f"The function '{name}' doesn't exist, is disabled, or is not {article} {kind} function."


class OutOfProcDeciders:
    """Deciders over the functions of one app."""

    def __init__(self, functions: Functions, options: DurableOptions) -> None:
        self._functions, self._options = functions, options

    def open(self, execution: Execution, history: list[Event]) -> OutOfProcDecider:
        """See `Deciders.open`."""
        return OutOfProcDecider(self._functions, self._options, execution, history)

    def has(self, kind: str, name: str) -> bool:
        """See `Deciders.has`."""
        return self._functions.has(kind, name)
