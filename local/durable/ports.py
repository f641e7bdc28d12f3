"""What the engine needs from a functions host. The engine imports nothing of the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class FunctionFailed(Exception):
    """User code raised, or ran out of its time; `str(error)` is "ClassName: message", as Microsoft's worker words it."""


class UnknownFunction(Exception):
    """No function of that kind and name is registered."""


class Functions(Protocol):
    """The functions of one app, called by name. Names are compared as the real extension does: case-insensitively."""

    def has(self, kind: str, name: str) -> bool:
        """Whether a function of the kind ("orchestrator", "activity", "entity") is registered."""

    def orchestrator(self, name: str) -> Callable[[str], str]:
        """The SDK's own handler of an orchestrator: context JSON in, state JSON out; raises as the SDK raises.

        A wrapper carries over the handler's attributes (`functools.wraps`): the SDK keeps the input's type there.
        """

    def generator(self, name: str) -> Callable[..., object]:
        """The user's orchestrator function itself, for keeping its generator alive between episodes."""

    async def activity(self, name: str, input_json: str, *, instance_id: str, task_id: int) -> str:
        """Run an activity; its result as JSON text.

        Raises:
            FunctionFailed: the function raised, or ran out of its time.
        """

    async def entity(self, name: str, batch_json: str) -> str:
        """Run one batch of entity operations; the SDK's reply JSON."""
