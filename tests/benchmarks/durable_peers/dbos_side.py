"""DBOS with its system database in an SQLite file: `python dbos_side.py FOLDER`."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dbos import DBOS, SetWorkflowID

sys.path.insert(0, str(Path(__file__).parent))
from protocol import serve

THREADS = 8
logging.disable(logging.WARNING)
DBOS(
    config={
        "name": "bench",
        "system_database_url": f"sqlite:///{sys.argv[1]}/dbos.sqlite",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
)


@DBOS.step()
def step(value: int) -> int:
    return value + 1


@DBOS.workflow()
def steps(length: int) -> int:
    value = 0
    for _ in range(length):
        value = step(value)
    return value


DBOS.launch()


def run(seconds: float, length: int = 3) -> dict[str, Any]:
    until = time.perf_counter() + seconds
    latencies: list[float] = []

    def lane() -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            assert steps(length) == length
            latencies.append(time.perf_counter() - began)

    threads = [threading.Thread(target=lane) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"units": len(latencies), "latencies": latencies}


def start_many(count: int) -> dict[str, Any]:
    ids = [f"kill-{number}" for number in range(count)]
    for name in ids:
        with SetWorkflowID(name):
            DBOS.start_workflow(steps, 20)
    return {"ids": ids}


def finish(ids: list[str]) -> dict[str, Any]:
    return {"right": sum(DBOS.retrieve_workflow(name).get_result() == 20 for name in ids)}


serve({"run": run, "start_many": start_many, "finish": finish})
