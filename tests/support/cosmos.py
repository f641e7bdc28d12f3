"""A real Cosmos endpoint for tests: started once a session as a process of its own, a fresh database for each test that asks."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import urllib.request
from pathlib import Path

from tests.support.processes import Part, free_port

KEY = base64.b64encode(b"the key of the tests' own endpoint, no secret of anybody").decode()
_numbers = itertools.count(1)


class CosmosPart:
    """The endpoint, and settings for databases in it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        arguments = ("--port", str(self.port), "--data", str(folder / "cosmos"), "--key", KEY)
        switches = ("--sync", "NORMAL", "--deny-cross-partition", "--faults", "--quiet")
        self.part = Part.module("local.cosmos", *arguments, *switches, log=folder / "cosmos.log", port=self.port)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def database(self) -> dict[str, str]:
        """The values of the settings for a new database with the product's containers."""
        from shared.platform.settings import load_settings
        from shared.store.bootstrap import bootstrap

        name = f"test-{os.getpid()}-{next(_numbers)}"
        values = {"cosmos_endpoint": self.endpoint, "cosmos_key": KEY, "cosmos_database": name}
        asyncio.run(bootstrap(load_settings(values)))
        return values

    def fault(self, **fault: object) -> None:
        """Have the endpoint answer wrongly for a while (status, sub, n, ms, method, after)."""
        import json

        request = urllib.request.Request(
            f"{self.endpoint}/_local/fault", json.dumps(fault).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10):
            pass
