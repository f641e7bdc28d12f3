"""One line of JSON in, one out: {"do": "run", "seconds": 1} -> {"units": 120}. No import beyond the standard library."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(handlers: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer commands until standard input ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        before = time.process_time()  # of all threads, those that have ended included
        answer = handlers[command.pop("do")](**command)
        print(json.dumps({**answer, "cpu": time.process_time() - before}), flush=True)
