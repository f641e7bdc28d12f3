"""The app's functions as the durable engine calls them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from local.durable.ports import FunctionFailed, UnknownFunction
from local.functions_host.converters import decode_input, encode_output
from local.functions_host.invoker import InvocationFailed, Invoker
from local.functions_host.log import current_function
from local.functions_host.model import Function

_KINDS = {"orchestrationTrigger": "orchestrator", "activityTrigger": "activity", "entityTrigger": "entity"}


class DurableFunctions:
    """Implements `local.durable.ports.Functions` over the loaded functions."""

    def __init__(self, functions: list[Function], invoker: Invoker) -> None:
        """Args: `functions` are all of the app's; only the durable ones are kept."""
        self._invoker = invoker
        self._table = {
            (_KINDS[function.kind], function.name.lower()): function
            for function in functions
            if function.kind in _KINDS and not function.disabled
        }

    def __len__(self) -> int:
        return len(self._table)

    def has(self, kind: str, name: str) -> bool:
        """Whether there is such a function."""
        return (kind, name.lower()) in self._table

    def orchestrator(self, name: str) -> Callable[[str], str]:
        """The SDK's handler: context JSON in, state JSON out."""
        function = self._find("orchestrator", name)

        @wraps(function.call)  # the SDK keeps the declared type of the input on its handler
        def handle(context_json: str) -> str:
            token = current_function.set(function.name)
            try:
                return str(function.call(context_json))
            finally:
                current_function.reset(token)

        return handle

    def generator(self, name: str) -> Callable[..., object]:
        """The orchestrator as its author wrote it."""
        return self._find("orchestrator", name).call.orchestrator_function  # type: ignore[no-any-return]

    async def activity(self, name: str, input_json: str, *, instance_id: str, task_id: int) -> str:  # noqa: ARG002 - the port's
        """Run an activity; its result as JSON text."""
        function = self._find("activity", name)
        try:
            value = decode_input(function.trigger.converter, input_json, "string")
            result, _ = await self._invoker.call(function, value)
            return str(encode_output("activityTrigger", result))
        except InvocationFailed as error:
            raise FunctionFailed(str(error)) from error
        except (TypeError, ValueError) as error:
            raise FunctionFailed(f"{type(error).__name__}: {error}") from error

    async def entity(self, name: str, batch_json: str) -> str:
        """Run a batch of operations in the thread pool (the SDK's entity handler is a plain function)."""
        function = self._find("entity", name)
        try:
            return str(await self._invoker.in_pool(function, lambda: function.call(batch_json)))
        except Exception as error:  # user code: whatever it raises is the batch's failure
            raise FunctionFailed(f"{type(error).__name__}: {error}") from error

    def _find(self, kind: str, name: str) -> Any:
        function = self._table.get((kind, name.lower()))
        if function is None:
            raise UnknownFunction(f"The function '{name}' doesn't exist, is disabled, or is not an {kind} function.")
        return function
