"""The walk along an orchestration's action list, which numbers its tasks as the extension does.

The SDK numbers its tasks as user code opens them. The extension does not hear those numbers: it goes through the action
list that comes back, invokes action k, awaits it, goes on to k + 1, and numbers what it schedules in that order, while
the history completes one task after the other. Both must come to the same numbers; where they do not, the extension
reports a non-deterministic workflow. Source of the rules: OutOfProcOrchestrationShim and DurableTask's
TaskOrchestrationContext and RetryInterceptor in github.com/Azure/azure-functions-durable-extension and Azure/durabletask.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from local.durable.core import clock
from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_STARTED,
    ORCHESTRATOR_STARTED,
    SCHEDULING,
    SUB_COMPLETED,
    SUB_CREATED,
    SUB_FAILED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_SCHEDULED,
    TIMER_CREATED,
    TIMER_FIRED,
    Event,
)
from local.durable.outofproc.nodes import Group, Node, Retry, RetryPolicy

Action = Mapping[str, Any]

ACTIVITY, ACTIVITY_RETRY, CHILD, CHILD_RETRY, CONTINUE_AS_NEW, TIMER, WAIT = 0, 1, 2, 3, 4, 5, 6
CALL_ENTITY, CALL_HTTP, SIGNAL_ENTITY, WHEN_ANY, WHEN_ALL = 7, 8, 9, 11, 12

_COMPLETING = {TASK_COMPLETED: True, TASK_FAILED: False, SUB_COMPLETED: True, SUB_FAILED: False, TIMER_FIRED: True}
_WORDS = {
    TASK_SCHEDULED: "an activity task",
    SUB_CREATED: "a sub-orchestration",
    TIMER_CREATED: "a timer",
    EVENT_SENT: "a message",
}


class NonDeterminism(Exception):
    """The action list does not lead to what the history says was scheduled."""


class BadAction(Exception):
    """An action that cannot be carried out; the text is what the orchestration fails with."""


class Walker:
    """One execution's walk. Feed it what happens, hand it the action list; it says what is to be scheduled."""

    def __init__(self, instance_id: str, execution_id: str) -> None:
        self._instance_id, self._execution_id = instance_id, execution_id
        self.actions: list[Action] = []
        self.facts: list[Event] = []
        self._forget()

    def _forget(self) -> None:
        self._next_id = 0
        self._position = 0
        self._current: Node | None = None
        self._started = False
        self._idle_mark: int | None = None
        self._raised = 0
        self._now = 0
        self._open: dict[int, Node] = {}
        self._waiting: dict[str, list[Node]] = {}
        self._early: dict[str, deque[Event]] = {}
        self._items: dict[int, Event] = {}
        self._recorded: set[int] = set()
        self._fresh: list[Event] = []
        self.continued: str | None = None

    @property
    def finished(self) -> bool:
        """Whether every action has been invoked and awaited."""
        return self._position == len(self.actions) and (self._current is None or self._current.done)

    def append(self, actions: Sequence[Action]) -> None:
        """Actions that the SDK added to the end of its list.

            history   ... e1 ........... e2 (now)          the walk stood idle at the end of the list since e1
            extension     ^ invokes the new action here: it walks the whole list again, knowing all of it
            we                            ^ here

        Both give the same numbers unless something after e1 took a number or an event name; then we walk again, too.
        """
        if not actions:
            return
        self.actions.extend(actions)
        if self._idle_mark is not None and self._idle_mark != self._moves():
            self.walk_again()
        elif self._started:
            self._advance()

    def replace(self, actions: Sequence[Action], facts: Sequence[Event]) -> None:
        """Walk a whole list over a whole history."""
        self.actions = list(actions)
        self.facts = list(facts)
        self.walk_again()

    def walk_again(self) -> None:
        """Forget what came of the list, and go through all that happened once more.

        Raises:
            NonDeterminism: the list no longer leads to what was scheduled.
        """
        facts, self.facts = self.facts, []
        self._forget()
        self.feed(facts)

    def feed(self, events: Sequence[Event]) -> None:
        """Events of the history, in its order.

        Raises:
            NonDeterminism: something was scheduled that the list has not led to.
            BadAction: an action cannot be carried out.
        """
        self.facts.extend(events)
        for event in events:
            kind = event.kind
            if kind in _COMPLETING:
                node = self._open.pop(event.id, None)
                if node is not None:
                    node.finish(_COMPLETING[kind])
            elif kind == EVENT_RAISED:
                self._raise(event)
            elif kind == ORCHESTRATOR_STARTED:
                self._now = event.at
                continue
            elif kind == EXECUTION_STARTED:
                self._started = True
            elif kind in SCHEDULING:
                self._check(event)
                continue
            else:
                continue
            self._advance()

    def take(self) -> list[Event]:
        """What is to be scheduled and has not been, in the order of its numbers."""
        fresh = [event for event in self._fresh if event.id not in self._recorded]
        self._fresh = []
        return fresh

    def _moves(self) -> int:
        """Grows with whatever makes a difference to an action invoked later."""
        return self._next_id + self._raised

    def _advance(self) -> None:
        while self._started and (self._current is None or self._current.done):
            if self._position == len(self.actions):
                if self._idle_mark is None:
                    self._idle_mark = self._moves()
                return
            self._idle_mark = None
            action = self.actions[self._position]
            self._position += 1
            self._current = self._invoke(action, None)

    def _check(self, event: Event) -> None:
        item = self._items.get(event.id)
        words = _WORDS[event.kind]
        if item is None or item.kind != event.kind:
            raise NonDeterminism(
                f"Non-Deterministic workflow detected: A previous execution of this orchestration scheduled {words} with "
                f"sequence ID {event.id} and name '{event.name or ''}', but the current replay execution hasn't (yet?) "
                "scheduled it. Was a change made to the orchestrator code after this instance had already started running?"
            )
        if (item.name or "").lower() != (event.name or "").lower():
            raise NonDeterminism(
                f"Non-Deterministic workflow detected: A previous execution of this orchestration scheduled {words} with "
                f"sequence ID {event.id} named '{event.name}', but the current execution scheduled '{item.name}' in its "
                "place. Was a change made to the orchestrator code after this instance had already started running?"
            )
        self._recorded.add(event.id)

    def _raise(self, event: Event) -> None:
        name = (event.name or "").lower()
        self._raised += 1
        waiting = self._waiting.get(name)
        if waiting:
            waiting.pop().finish()  # the last to wait is the first served
            if not waiting:
                del self._waiting[name]
        else:
            self._early.setdefault(name, deque()).append(event)

    def _invoke(self, action: Action, parent: Node | None) -> Node:
        kind = action["actionType"]
        if kind in (WHEN_ANY, WHEN_ALL):
            return self._group(action, parent, kind)
        if kind in (ACTIVITY_RETRY, CHILD_RETRY):
            policy = _policy(action["retryOptions"])
            return Retry(parent, policy, lambda: self._now, lambda node: self._leaf(action, node), self._schedule_pause)
        node = self._leaf(action, parent)
        if kind in (CONTINUE_AS_NEW, SIGNAL_ENTITY) or (kind == TIMER and action["isCanceled"]):
            node.done = True  # a cancelled timer still fires one day, and is not heard then
        return node

    def _group(self, action: Action, parent: Node | None, kind: int) -> Node:
        inner = action["compoundActions"]
        group = Group(parent, len(inner) if kind == WHEN_ALL else min(1, len(inner)))
        for one in inner:
            if self._invoke(one, group).done and not group.done:
                group.left -= 1
                if group.left == 0:
                    group.done = True
        return group

    def _leaf(self, action: Action, parent: Node | None) -> Node:
        kind = action["actionType"]
        node = Node(parent)
        if kind == WAIT:
            self._wait(node, action["externalEventName"])
        elif kind == CONTINUE_AS_NEW:
            self.continued = action["input"]
        elif kind == TIMER:
            self._schedule(node, TIMER_CREATED, due=clock.parse(action["fireAt"]))
        elif kind in (ACTIVITY, ACTIVITY_RETRY):
            self._schedule(node, TASK_SCHEDULED, name=action["functionName"], data=action["input"])
        elif kind in (CHILD, CHILD_RETRY):
            child = action.get("instanceId") or f"{self._execution_id}:{self._next_id}"
            name, version = action["functionName"], action.get("version")
            self._schedule(node, SUB_CREATED, name=name, data=json.dumps(action["input"]), ref=child, extra=version)
        elif kind in (CALL_ENTITY, SIGNAL_ENTITY):
            self._entity(node, action, signal=kind == SIGNAL_ENTITY)
        elif kind == CALL_HTTP:
            raise BadAction("call_http is not supported here: call an activity that makes the request")
        else:
            raise BadAction(f"the SDK asked for an action of the unknown type {kind}")
        return node

    def _entity(self, node: Node, action: Action, signal: bool) -> None:
        request_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._execution_id}:{self._next_id}"))
        request = {"op": action["operation"], "signal": signal, "input": json.dumps(action["input"]), "id": request_id}
        if not signal:
            request |= {"parent": self._instance_id, "parentExecution": self._execution_id}
        number = self._schedule(node, EVENT_SENT, name="op", data=json.dumps(request), ref=action["instanceId"])
        self._open.pop(number)
        if not signal:
            self._waiting.setdefault(request_id, []).append(node)

    def _wait(self, node: Node, event_name: str) -> None:
        name = event_name.lower()
        early = self._early.get(name)
        if early:
            early.popleft()
            if not early:
                del self._early[name]
            node.done = True  # nobody is told: whoever opened it looks
        else:
            self._waiting.setdefault(name, []).append(node)

    def _schedule_pause(self, node: Node, due: int) -> None:
        self._schedule(Node(node), TIMER_CREATED, due=due)

    def _schedule(
        self,
        node: Node,
        kind: int,
        *,
        name: str | None = None,
        data: str | None = None,
        ref: str | None = None,
        due: int | None = None,
        extra: str | None = None,
    ) -> int:
        number = self._next_id
        self._next_id += 1
        self._open[number] = node
        item = Event(kind, self._now, number, name, data, ref, due, extra)
        self._items[number] = item
        self._fresh.append(item)
        return number


def _policy(options: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(
        first_ms=float(options["firstRetryIntervalInMilliseconds"]),
        attempts=int(options["maxNumberOfAttempts"]),
        coefficient=float(options.get("backoffCoefficient") or 1.0),
        max_ms=_float(options.get("maxRetryIntervalInMilliseconds")),
        timeout_ms=_float(options.get("retryTimeoutInMilliseconds")),
    )


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value else None
