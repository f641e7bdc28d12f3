"""An orchestrator kept alive between episodes: the SDK's own executor, fed with only what is new.

Replaying a history of n steps for each of n steps costs n^2, and the SDK's replay is most of an orchestration's CPU.
The first episode in this process goes through the SDK's `execute` with the whole history, as Azure does it; later ones
hand the new events to the same executor's `process_event`, which is the loop body of `execute`. What a replay would have
changed besides is put right here: see `_Executor`. The `check` mode of the engine compares each episode with a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from azure.durable_functions.models import DurableOrchestrationContext
from azure.durable_functions.models.actions.CompoundAction import CompoundAction
from azure.durable_functions.models.actions.CreateTimerAction import CreateTimerAction
from azure.durable_functions.models.history.HistoryEvent import HistoryEvent
from azure.durable_functions.models.TaskOrchestrationExecutor import TaskOrchestrationExecutor
from azure.durable_functions.models.utils.df_serialization import df_dumps
from dateutil.tz import tzutc

from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    ORCHESTRATOR_STARTED,
    SUB_COMPLETED,
    SUB_FAILED,
    TASK_COMPLETED,
    TASK_FAILED,
    TIMER_FIRED,
    Event,
)
from local.durable.outofproc.report import Report, from_exception, parse_state

_EPOCH = datetime(1970, 1, 1, tzinfo=tzutc())  # the SDK's own parser gives this zone object
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
            "_event_id": event.id,
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


class _Executor(TaskOrchestrationExecutor):
    """The SDK's executor, which also remembers what completed in the episode that is running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.heard: list[tuple[Any, Any]] = []

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


class LiveOrchestrator:
    """One execution's user code, stopped at a yield."""

    def __init__(self, handler: Callable[[str], str], function: Callable[..., object]) -> None:
        self._handler, self._function = handler, function
        self._executor: Any = _Executor()
        self._context: Any = None
        self._known = 0
        self._timers: list[tuple[int, Any]] = []
        self.is_generator = True

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
            # The SDK's own words at the end; it writes the whole list once more, which is paid once.
            try:
                final = parse_state(executor.get_orchestrator_state_str())
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
