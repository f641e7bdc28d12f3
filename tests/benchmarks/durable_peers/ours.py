"""The engine of this repository: `python -m tests.benchmarks.durable_peers.ours FOLDER [MODE]`."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import uvloop

from local.durable.engine import DurableEngine
from local.durable.options import DurableOptions
from tests.unit.durable.invoker import AppFunctions

IN_FLIGHT = 32
logging.disable(logging.WARNING)  # azure.functions warns of auth levels
app = df.DFApp()


@app.activity_trigger(input_name="value")
async def step(value: int) -> int:
    return value + 1


@app.activity_trigger(input_name="seconds")
async def wait(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 1


@app.orchestration_trigger(context_name="context")
def steps(context: Any) -> Any:
    value = 0
    for _ in range(context.get_input()):
        value = yield context.call_activity("step", value)
    return value


@app.orchestration_trigger(context_name="context")
def fan_out(context: Any) -> Any:
    job = context.get_input()
    return sum((yield context.task_all([context.call_activity("wait", job["seconds"]) for _ in range(job["width"])])))


class Bench:
    def __init__(self, folder: str, mode: str, concurrency: int) -> None:
        self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self._loop)
        options = DurableOptions(executor=mode, activity_concurrency=concurrency)  # type: ignore[arg-type]
        self.engine = DurableEngine(Path(folder), AppFunctions(app), options)
        self._loop.run_until_complete(self.engine.start())

    def run(self, seconds: float, length: int = 3, in_flight: int = IN_FLIGHT) -> dict[str, Any]:
        """Workflows one after another in so many lanes, each of which is checked."""
        return self._loop.run_until_complete(self._run(seconds, length, in_flight))

    async def _run(self, seconds: float, length: int, in_flight: int) -> dict[str, Any]:
        until = time.perf_counter() + seconds
        latencies: list[float] = []

        async def lane() -> None:
            while time.perf_counter() < until:
                began = time.perf_counter()
                row = await self.engine.wait(await self.engine.start_instance("steps", json.dumps(length)), 120)
                assert row is not None
                assert row.output == str(length), row.output
                latencies.append(time.perf_counter() - began)

        await asyncio.gather(*(lane() for _ in range(in_flight)))
        return {"units": len(latencies), "latencies": latencies}

    def fan_out(self, width: int, seconds: float) -> dict[str, Any]:
        """One wide fan-out."""

        async def once() -> None:
            text = json.dumps({"width": width, "seconds": seconds})
            row = await self.engine.wait(await self.engine.start_instance("fan_out", text), 300)
            assert row is not None
            assert row.output == str(width), row.output

        self._loop.run_until_complete(once())
        return {"units": 1}

    def start_many(self, count: int) -> dict[str, Any]:
        """Start so many workflows of 20 steps and do not wait for them; their ids are on disk."""

        async def start() -> list[str]:
            return list(await asyncio.gather(*(self.engine.start_instance("steps", "20") for _ in range(count))))

        return {"ids": self._loop.run_until_complete(start())}

    def finish(self, ids: list[str]) -> dict[str, Any]:
        """Wait for workflows; how many came to the right result."""

        async def wait() -> int:
            rows = [await self.engine.wait(instance, 120) for instance in ids]
            return sum(row is not None and row.output == "20" for row in rows)

        return {"right": self._loop.run_until_complete(wait())}

    def counters(self) -> dict[str, Any]:
        """The engine's totals."""
        return dict(self.engine.counters())


if __name__ == "__main__":
    from tests.benchmarks.durable_peers.protocol import serve

    bench = Bench(
        sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "live", int(sys.argv[3]) if len(sys.argv) > 3 else 20
    )
    serve(
        {
            "run": bench.run,
            "fan_out": bench.fan_out,
            "start_many": bench.start_many,
            "finish": bench.finish,
            "counters": bench.counters,
        }
    )
