"""Install scripts of eggs: a program of strangers that wants to be root, run in a container that is thrown away.

It sees the files that it installs (`/mnt/server`), its own text, and the network of `install_network`; nothing else of the
machine. Only images that the node's owner has allowed (`install_images`) are run at all: by default none.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agent.drivers.base import DriverError
from agent.drivers.engine import Engine, EngineRefused
from agent.owners import take_back
from agent.servers.errors import StepFailed
from agent.servers.tools import lines_of
from shared.messaging.server_install import Script

FILES: Final = "/mnt/server"
TEXT: Final = "/mnt/install"
PROCESSES: Final = 512
CPU_NANOS: Final = 2_000_000_000
#: Package managers change owners and become other users; nothing of these is needed for that.
DROPPED: Final = ("NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP", "SYS_CHROOT", "SETPCAP", "NET_BIND_SERVICE")


class ScriptRunner:
    """Runs scripts on one engine."""

    def __init__(self, engine: Engine, images: str, network: str) -> None:
        """Args:
        engine: the container engine.
        images: patterns of the images that may be used, with commas between them.
        network: the engine's network for them.
        """
        self._engine, self._network = engine, network
        self._images = tuple(pattern.strip() for pattern in images.split(",") if pattern.strip())

    async def run(self, step: Script, folder: Path, say: Callable[[str], None]) -> None:
        """Run the script on the files in `folder`.

        Raises:
            StepFailed: its image is not allowed or cannot be had, or it ended with a code other than 0.
        """
        if not any(fnmatch.fnmatchcase(step.image, pattern) for pattern in self._images):
            reason = f"this node runs no install script in {step.image}: its owner can allow it with `install_images`"
            raise StepFailed("script_not_allowed", reason)
        text = folder.with_name(f"{folder.name}.script")
        shutil.rmtree(text, ignore_errors=True)
        text.mkdir(mode=0o755)
        (text / "install.sh").write_text(step.script)
        container = ""
        try:
            await self._engine.pull(step.image)
            made = await self._engine.call("POST", "/containers/create", self._description(step, folder, text))
            container = str(made["Id"])
            await self._engine.call("POST", f"/containers/{container}/start")
            await self._follow(container, say)
            ended = await self._engine.call("POST", f"/containers/{container}/wait", seconds=None)
        except DriverError as error:
            raise StepFailed(error.code, error.reason, retryable=error.code == "engine_failed") from None
        finally:
            if container:
                with contextlib.suppress(DriverError):
                    await asyncio.shield(self._engine.call("DELETE", f"/containers/{container}?force=1&v=1"))
            shutil.rmtree(text, ignore_errors=True)
        if code := int(ended["StatusCode"]):
            raise StepFailed("script_failed", f"the install script ended with code {code}")
        if os.geteuid() == 0:  # everything is ours again, whomever the script gave it to: the store sees to the rest
            await asyncio.to_thread(take_back, folder)

    async def _follow(self, container: str, say: Callable[[str], None]) -> None:
        """Its output, until it ends."""
        pending = b""
        with contextlib.suppress(EngineRefused, OSError, EOFError, ValueError):
            async with self._engine.stream("GET", f"/containers/{container}/logs?follow=1&stdout=1&stderr=1") as reply:
                async for piece in reply.chunks():
                    found, pending = lines_of(pending + piece)
                    for line in found:
                        say(line)
        for line in lines_of(pending + b"\n")[0]:
            say(line)

    def _description(self, step: Script, folder: Path, text: Path) -> dict[str, Any]:
        return {
            "Image": step.image,
            "Entrypoint": [step.entrypoint],
            "Cmd": [f"{TEXT}/install.sh"],
            "Env": [f"{name}={value}" for name, value in step.env.items()],
            "WorkingDir": FILES,
            "User": "0:0",
            "Tty": True,  # without one the engine wraps the output in frames
            "Labels": {"meridian.install": folder.parent.name},
            "HostConfig": {
                "Binds": [f"{folder.resolve()}:{FILES}", f"{text.resolve()}:{TEXT}:ro"],
                "NetworkMode": self._network,
                "CapDrop": list(DROPPED),
                "SecurityOpt": ["no-new-privileges"],
                "PidsLimit": PROCESSES,
                "Memory": step.memory_mib * 2**20,
                "MemorySwap": step.memory_mib * 2**20,
                "NanoCpus": CPU_NANOS,
                "Init": True,
            },
        }
