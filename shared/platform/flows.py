"""Orchestrators and activities, registered without importing the durable SDK; and what begins them.

The SDK costs a fifth of a second to import, and the instances that answer HTTP never run an orchestrator. `Flows` stands
in for the SDK's blueprint: the same decorators, the same bindings, and the SDK's own handler made at the first call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import azure.functions as func

if TYPE_CHECKING:
    from azure.durable_functions import RetryOptions as _RetryOptions
else:
    _RetryOptions = object

Decorator = Callable[[Callable[..., Any]], Any]


class Client(Protocol):
    """What starts orchestrations; the SDK's client is one."""

    async def start_new(
        self, orchestration_function_name: str, instance_id: str | None = None, client_input: Any = None
    ) -> str:
        """Begin one."""


async def start_once(client: Client, name: str, instance_id: str, job: Any) -> None:
    """Begin an orchestration; one of that id that is under way was begun by an earlier attempt of the same request."""
    try:
        await client.start_new(name, instance_id, job)
    except Exception as error:  # the SDK has no class of its own for any refusal
        if "already exists" not in str(error):
            raise


def event_content(value: Any) -> Mapping[str, Any]:
    """What an external event carries, however many times it was encoded on its way: a client's event comes as text of
    JSON, a raw POST's as an object. Nothing, where it is neither."""
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


class Flows(func.Blueprint):
    """A blueprint of orchestrators and activities."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def orchestration_trigger(self, context_name: str, orchestration: str | None = None) -> Decorator:
        """Register an orchestrator (a generator function that takes the SDK's context)."""
        named = {"orchestration": orchestration} if orchestration else {}
        register = self.generic_trigger(arg_name=context_name, type="orchestrationTrigger", **named)

        def decorator(orchestrator: Callable[..., Any]) -> Any:
            return register(_handler(orchestrator, context_name))

        return decorator

    def activity_trigger(self, input_name: str, activity: str | None = None) -> Decorator:
        """Register an activity."""
        named = {"activity": activity} if activity else {}
        found: Decorator = self.generic_trigger(arg_name=input_name, type="activityTrigger", **named)
        return found


def _handler(orchestrator: Callable[..., Any], context_name: str) -> Callable[..., str]:
    """The function that the worker calls, with the parameter name that its binding has."""
    made: list[Callable[[Any], str]] = []

    def run(context: Any) -> str:
        if not made:
            from azure.durable_functions import Orchestrator

            made.append(Orchestrator.create(orchestrator))
        return made[0](context)

    if context_name != "context":
        raise ValueError("an orchestrator's binding is called `context`")

    def handle(context) -> str:  # type: ignore[no-untyped-def]  # the worker takes this binding without annotation only
        return run(context)

    handle.__name__ = orchestrator.__name__
    handle.orchestrator_function = orchestrator  # type: ignore[attr-defined]  # as the SDK's own handler has it
    return handle


class Retry(_RetryOptions):
    """The SDK's retry options without the SDK, and with the back-off that the extension reads from their JSON.

    `first_ms` is the pause before the second attempt; each further one is `backoff` times as long, at most `longest_ms`.
    """

    def __init__(self, first_ms: int, attempts: int, *, backoff: float = 1.0, longest_ms: int | None = None) -> None:
        if first_ms <= 0 or attempts < 1 or backoff < 1:
            raise ValueError("a retry has a pause above 0 ms, at least 1 attempt and a back-off of at least 1")
        self._first_ms, self._attempts, self._backoff, self._longest_ms = first_ms, attempts, backoff, longest_ms

    @property
    def first_retry_interval_in_milliseconds(self) -> int:
        """See the SDK."""
        return self._first_ms

    @property
    def max_number_of_attempts(self) -> int:
        """See the SDK."""
        return self._attempts

    def to_json(self) -> dict[str, Any]:
        """See the SDK."""
        options: dict[str, Any] = {
            "firstRetryIntervalInMilliseconds": self._first_ms,
            "maxNumberOfAttempts": self._attempts,
        }
        if self._backoff != 1.0:
            options["backoffCoefficient"] = self._backoff
        if self._longest_ms is not None:
            options["maxRetryIntervalInMilliseconds"] = self._longest_ms
        return options
