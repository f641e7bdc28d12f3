"""The functions of an app, called in this process by the SDK's own handlers: a host without HTTP."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from azure.functions._durable_functions import df_dumps, df_loads

from local.durable.ports import FunctionFailed, UnknownFunction

_KINDS = {"orchestrationTrigger": "orchestrator", "activityTrigger": "activity", "entityTrigger": "entity"}


class AppFunctions:
    """`local.durable.ports.Functions` over an app object of azure.functions."""

    def __init__(self, app: Any) -> None:
        self._functions: dict[tuple[str, str], Callable[..., Any]] = {}
        self._parameter: dict[str, str] = {}
        for function in app.get_functions():
            kind = _KINDS.get(function.get_trigger().get_binding_name())
            if kind is not None:
                name = function.get_function_name().lower()
                self._functions[kind, name] = function.get_user_function()
                self._parameter[name] = function.get_trigger().name
        self.activity_calls = 0

    def has(self, kind: str, name: str) -> bool:
        return (kind, name.lower()) in self._functions

    def _get(self, kind: str, name: str) -> Callable[..., Any]:
        try:
            return self._functions[kind, name.lower()]
        except KeyError:
            raise UnknownFunction(f"no {kind} {name}") from None

    def orchestrator(self, name: str) -> Callable[[str], str]:
        return self._get("orchestrator", name)

    def generator(self, name: str) -> Callable[..., object]:
        return self._get("orchestrator", name).orchestrator_function  # type: ignore[attr-defined]

    async def activity(self, name: str, input_json: str, *, instance_id: str, task_id: int) -> str:
        function = self._get("activity", name)
        self.activity_calls += 1
        argument = {self._parameter[name.lower()]: df_loads(input_json)}
        try:
            if inspect.iscoroutinefunction(function):
                result = await function(**argument)
            else:
                result = await asyncio.to_thread(function, **argument)
        except Exception as error:
            raise FunctionFailed(f"{type(error).__name__}: {error}") from error
        return df_dumps(result)

    async def entity(self, name: str, batch_json: str) -> str:
        try:
            return await asyncio.to_thread(self._get("entity", name), batch_json)
        except UnknownFunction:
            raise
        except Exception as error:
            raise FunctionFailed(f"{type(error).__name__}: {error}") from error
