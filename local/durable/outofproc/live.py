"""An orchestrator kept alive between episodes: the SDK's own executor, fed with only what is new.

Replaying a history of n steps for each of n steps costs n^2, and the SDK's replay is most of an orchestration's CPU.
The first episode in this process goes through the SDK's `execute` with the whole history, as Azure does it; later ones
hand the new events to the same executor's `process_event`, which is the loop body of `execute`. What a replay would have
changed besides is put right here: see `_Executor`. The `check` mode of the engine compares each episode with a replay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import copy
from datetime import timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from azure.durable_functions.models import DurableOrchestrationContext
from azure.durable_functions.models.actions.CompoundAction import CompoundAction
from azure.durable_functions.models.actions.CreateTimerAction import CreateTimerAction
from azure.durable_functions.models.history.HistoryEvent import HistoryEvent
from azure.durable_functions.models.TaskOrchestrationExecutor import TaskOrchestrationExecutor
from azure.durable_functions.models.utils.df_serialization import df_dumps
from dateutil.parser import parse

from local.durable.core.decision import Execution
from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_STARTED,
    ORCHESTRATOR_STARTED,
    SUB_COMPLETED,
    SUB_FAILED,
    TASK_COMPLETED,
    TASK_FAILED,
    TIMER_FIRED,
    Event,
)
from local.durable.outofproc.history import context_json
from local.durable.outofproc.report import Report, from_exception, parse_state

_EPOCH = parse("1970-01-01T00:00:00Z")  # by the SDK's parser, whose zone object depends on the machine's own zone
_HEARD = frozenset(
    {
        ORCHESTRATOR_STARTED,
        EVENT_SENT,
        EVENT_RAISED,
        SUB_COMPLETED,
        SUB_FAILED,
        TASK_COMPLETED,
        TASK_FAILED,
        TIMER_FIRED,
    }
)


class _LiveEvent(HistoryEvent):
    """A history event made from values instead of from text."""

    def __init__(self, event: Event) -> None:
        fields: dict[str, Any] = {
            "_event_type": event.kind,
            "_event_id": event.id if event.kind == EVENT_SENT else -1,
            "_is_played": False,
            "_timestamp": _EPOCH + timedelta(microseconds=event.at),
            "_is_processed": False,
            "Name": event.name,
            "InstanceId": event.ref,
            "TaskScheduledId": event.id,
            "TimerId": event.id,
            "Reason": event.ref,
            "Details": event.data,
            "Input": event.data,
            "Result": event.data,
        }
        self.__dict__.update(fields)


_NEW_EXECUTOR = dict(vars(TaskOrchestrationExecutor()))  # type: ignore[no-untyped-call]


class _Executor(TaskOrchestrationExecutor):
    """The SDK's executor, which also remembers what completed in the episode that is running."""

    def __init__(self) -> None:
        # The SDK's __init__ makes a class each time, which costs as much as an episode: its fields are copied instead.
        self.__dict__.update(_NEW_EXECUTOR)
        self.initialize()  # type: ignore[no-untyped-call]
        self.heard: list[tuple[Any, Any]] = []
        self.quiet = False

    def get_orchestrator_state_str(self) -> str:
        """As the SDK's; nothing while `quiet`, for the whole list of actions need not be written in each episode."""
        return "" if self.quiet else str(super().get_orchestrator_state_str())

    def final_state(self) -> str:
        """The SDK's words about the end, without the list of actions. Raises as the SDK raises."""
        context, self.quiet = self.context, False
        actions, context._action_payload_v2 = context._action_payload_v2, []
        try:
            return self.get_orchestrator_state_str()
        finally:
            context._action_payload_v2 = actions

    def set_task_value(self, event: HistoryEvent, is_success: bool, id_key: str) -> None:
        """As the SDK's; also called for an event that came before its task was opened, once it is."""
        task = self.context.open_tasks.get(getattr(event, id_key))
        self.heard.append((event, task[-1] if isinstance(task, list) and task else task))
        super().set_task_value(event, is_success, id_key)

    def episode_over(self) -> None:
        """From now on, what completed counts as played, as it would in a replay.

        User code sees it in `is_replaying`, when it yields a task that was complete before or hears an early event.
        """
        for event, task in self.heard:
            event._is_played = True
            while task is not None and not isinstance(task, list):
                task.set_is_played(True)
                task = task.parent
        self.heard.clear()


_UNCHANGING = (str, int, timedelta, Enum, type(None))


class ContextOptions(NamedTuple):
    """What every orchestration of an engine is told alike."""

    short_timer_seconds: float
    hop_seconds: float


@lru_cache(maxsize=8)
def _context_fields(options: ContextOptions) -> dict[str, Any]:
    """The fields of a context as the SDK's constructor makes them."""
    execution = Execution("", "", "", None)
    text = context_json([Event(ORCHESTRATOR_STARTED, 0), Event(EXECUTION_STARTED, 0)], execution, **options._asdict())
    return dict(vars(DurableOrchestrationContext.from_json(text)))


def new_context(
    execution: Execution, events: Sequence[Event], heard: list[Any], options: ContextOptions
) -> DurableOrchestrationContext:
    """A context for a first episode, equal to what `DurableOrchestrationContext.from_json` makes of its JSON.

    Reading the JSON costs more than the episode (two timestamps through a general parser alone 0.1 ms). A test holds the
    two equal, field for field.
    """
    started = next(event for event in events if event.kind == EXECUTION_STARTED)
    context: Any = DurableOrchestrationContext.__new__(DurableOrchestrationContext)
    fields = dict(_context_fields(options))
    fields |= {name: copy(value) for name, value in fields.items() if not isinstance(value, _UNCHANGING)}
    value = json.loads(started.data or "null")
    fields |= {
        "_histories": heard,
        "_instance_id": execution.instance_id,
        "_parent_instance_id": execution.parent_id,
        "decision_started_event": heard[0],
        "_current_utc_datetime": heard[0].timestamp,
        "_input": json.dumps(value) if isinstance(value, dict) else value,
        "_version": started.extra,
    }
    context.__dict__.update(fields)
    return context  # type: ignore[no-any-return]


class LiveOrchestrator:
    """One execution's user code, stopped at a yield."""

    def __init__(self, handler: Callable[[str], str], function: Callable[..., object]) -> None:
        self._handler, self._function = handler, function
        self._executor: Any = _Executor()
        self._context: Any = None
        self._known = 0
        self._timers: list[tuple[int, Any]] = []
        self.is_generator = True

    def begin_new(self, execution: Execution, events: Sequence[Event], options: ContextOptions) -> Report:
        """The first episode of all. The SDK's entry gets what its reading of the JSON would have given it."""
        heard = [_LiveEvent(event) for event in events]
        self._context = new_context(execution, events, heard, options)
        self._context._input_expected_type = getattr(self._handler, "_df_input_type", None)
        self._executor.quiet = True
        try:
            self._executor.execute(self._context, heard, self._function)
            self.is_generator = hasattr(self._executor, "generator")
            report = self._report()
        except Exception as error:  # noqa: BLE001 - as the handler would have let it through
            report = from_exception(error)
            self._remember(self._context._action_payload_v2)
        self._executor.episode_over()
        self._context_histories_dropped()
        return report

    def begin(self, context: str) -> Report:
        """The first episode in this process: the whole history, through the SDK's own entry."""
        try:
            self._context = DurableOrchestrationContext.from_json(context)
            # What the SDK's handler does before it calls `execute`.
            self._context._input_expected_type = getattr(self._handler, "_df_input_type", None)
            state = self._executor.execute(self._context, self._context.histories, self._function)
            self.is_generator = hasattr(self._executor, "generator")
            report = parse_state(state)
        except Exception as error:  # noqa: BLE001 - as the handler would have let it through
            report = from_exception(error)
        self._remember(self._context._action_payload_v2 if self._context else [])
        self._executor.episode_over()
        self._context_histories_dropped()
        return report

    def go_on(self, events: Sequence[Event]) -> Report:
        """A later episode: only its events."""
        executor = self._executor
        try:
            for event in events:
                if event.kind in _HEARD and not executor.has_execution_completed:
                    executor.process_event(_LiveEvent(event))
            report = self._report()
        except Exception as error:  # noqa: BLE001 - as the handler would have let it through
            return from_exception(error)
        executor.episode_over()
        return report

    def recorded(self, events: Sequence[Event]) -> None:
        """Effects as the history has them: the SDK learns an entity call's request id from there."""
        for event in events:
            if event.kind == EVENT_SENT and not self._executor.has_execution_completed:
                self._executor.process_event(_LiveEvent(event))

    def close(self) -> None:
        """End the generator, as the garbage collector does after a replay."""
        generator = getattr(self._executor, "generator", None)
        if generator is not None:
            generator.close()

    def _report(self) -> Report:
        executor, context = self._executor, self._context
        error = output = None
        if executor.has_execution_completed:
            try:
                final = parse_state(executor.final_state())
            except Exception as raised:  # noqa: BLE001 - how the SDK reports that user code failed
                final = from_exception(raised)
            if final.broken:
                return final
            error, output = final.error, final.output
        actions, since = context._action_payload_v2, self._known
        cancelled = {
            position: _json(actions[position])
            for position, timer in self._timers
            if timer.is_cancelled and position < since
        }
        new = [_json(action) for action in actions[since:]]
        self._remember(actions)
        status = context.custom_status
        return Report(
            actions=new,
            since=since,
            cancelled=cancelled,
            done=executor.orchestration_invocation_succeeded,
            output=output,
            error=error,
            custom_status=df_dumps(status) if status else None,
        )

    def _remember(self, actions: Sequence[Any]) -> None:
        self._timers = [(position, timer) for position, timer in self._timers if not timer.is_cancelled]
        for position in range(self._known, len(actions)):
            self._timers.extend((position, timer) for timer in _timers_in(actions[position]) if not timer.is_cancelled)
        self._known = len(actions)

    def _context_histories_dropped(self) -> None:
        """The events were copied into tasks; keeping them would double the memory of a waiting orchestration."""
        if self._context is not None:
            del self._context._histories[2:]


def _json(action: Any) -> dict[str, Any]:
    result: dict[str, Any] = action.to_json()
    return result


def _timers_in(action: Any) -> list[Any]:
    if isinstance(action, CreateTimerAction):
        return [action]
    if isinstance(action, CompoundAction):
        return [timer for inner in action.compound_tasks for timer in _timers_in(inner)]
    return []
