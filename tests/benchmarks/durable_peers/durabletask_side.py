"""Microsoft's durabletask with its in-memory backend (nothing is persisted): `python durabletask_side.py PORT`."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

from durabletask.client import TaskHubGrpcClient
from durabletask.testing.in_memory_backend import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

sys.path.insert(0, str(Path(__file__).parent))
from protocol import serve

THREADS = 8  # its server has ten threads; as many blocked waiters would hang it
logging.disable(logging.ERROR)
port = int(sys.argv[1])
backend = create_test_backend(port=port, max_history_size=10_000_000)


def step(_: Any, value: int) -> int:
    return value + 1


def steps(context: Any, length: int) -> Any:
    value = 0
    for _ in range(length):
        value = yield context.call_activity(step, input=value)
    return value


worker = TaskHubGrpcWorker(host_address=f"localhost:{port}")
worker.add_orchestrator(steps)
worker.add_activity(step)
worker.start()
client = TaskHubGrpcClient(host_address=f"localhost:{port}")


def run(seconds: float, length: int = 3) -> dict[str, Any]:
    until = time.perf_counter() + seconds
    latencies: list[float] = []

    def lane() -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            state = client.wait_for_orchestration_completion(
                client.schedule_new_orchestration(steps, input=length), timeout=60
            )
            assert state is not None
            assert state.serialized_output == str(length), state
            latencies.append(time.perf_counter() - began)

    threads = [threading.Thread(target=lane) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"units": len(latencies), "latencies": latencies}


serve({"run": run})
