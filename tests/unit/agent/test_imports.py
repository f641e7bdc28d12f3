"""What the agent loads at its start: memory on machines that have games to run."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.processes import ROOT

#: Each of these would cost more memory than it is worth while the agent idles.
FORBIDDEN = (
    "azure", "aiohttp", "pydantic", "jwt", "requests", "urllib3", "psutil", "cryptography.x509", "urllib.request",
    "yaml", "regex", "mcstatus", "a2s", "multiprocessing", "concurrent.futures.process", "unittest", "xml",
)  # fmt: skip
MOST_MODULES = 335


def test_the_running_agents_imports_are_few() -> None:
    script = "import agent.app, agent.servers.part, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = json.loads(done.stdout)
    found = [name for name in loaded if any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN)]
    assert found == []
    assert len(loaded) <= MOST_MODULES, len(loaded)


def test_the_tls_buffer_that_is_made_smaller_is_still_there() -> None:
    from asyncio import sslproto

    assert isinstance(sslproto.SSLProtocol.max_size, int)
