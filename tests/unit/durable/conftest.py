"""Engines over small apps, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import pytest

from local.durable.core.store import InstanceRow
from local.durable.engine import DurableEngine
from local.durable.options import DurableOptions
from tests.unit.durable.invoker import AppFunctions

PATIENCE_SECONDS = 30.0


class House:
    """One data folder, and the engines that have it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = df.DFApp()
        self.engine: DurableEngine
        self.functions: AppFunctions | None = None
        self.lines: list[str] = []
        self._engines: list[DurableEngine] = []

    def orchestrator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Register an orchestrator under its name."""
        self.app.orchestration_trigger(context_name="context")(function)
        return function

    def activity(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Register an activity with the parameter `value`."""
        self.app.activity_trigger(input_name="value")(function)
        return function

    def entity(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Register an entity."""
        self.app.entity_trigger(context_name="context")(function)
        return function

    async def start(self, **options: Any) -> DurableEngine:
        """An engine on the folder; the functions stay those that were registered before the first start."""
        if self.functions is None:
            self.functions = AppFunctions(self.app)
        chosen = DurableOptions(**{"executor": "check", "log": self.lines.append, **options})
        self.engine = DurableEngine(self.folder, self.functions, chosen)
        self._engines.append(self.engine)
        await self.engine.start()
        return self.engine

    async def crash(self) -> None:
        """Lose everything that is not committed, as a kill would."""
        core = self.engine._core
        core.kernel.generation += 1  # whatever still runs must do nothing more
        if core.kernel.committer._open:
            core.kernel.committer.connection.execute("ROLLBACK")
            core.kernel.committer._open = False
        core.orchestrations.clear()
        core.timers.clear()
        await core.retention.stop()
        await core.activities.stop()
        await core.entities.stop()
        self.engine._connection.close()
        self._engines.remove(self.engine)

    async def stop(self) -> None:
        """Stop whatever still runs."""
        for engine in self._engines:
            await engine.stop()

    async def run(self, name: str, value: object = None, instance_id: str | None = None) -> Any:
        """Start, wait, and the output of an orchestration that must complete."""
        row = await self.ended(await self.begin(name, value, instance_id))
        assert row.status == 1, row.output
        return json.loads(row.output or "null")

    async def begin(self, name: str, value: object = None, instance_id: str | None = None) -> str:
        """Start as the SDK's client does."""
        return await self.engine.start_instance(name, json.dumps(value), instance_id)

    async def ended(self, instance_id: str) -> InstanceRow:
        """The instance once it has finished."""
        row = await self.engine.wait(instance_id, PATIENCE_SECONDS)
        assert row is not None, f"{instance_id} does not end"
        return row

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when a condition holds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.002)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A folder and an app of the test's own."""
    house = House(tmp_path)
    yield house
    await house.stop()
