"""Running the machine's own tools (npm, pip, steamcmd, the package manager) for an install step."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.servers.errors import StepFailed

TAIL_LINES: Final = 40
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: Of our own environment, what a tool needs to find its way; nothing of ours that is secret.
PASSED_ON: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
)
PASSED_PREFIXES: Final = ("npm_config_", "NPM_CONFIG_", "PIP_")


def tool(name: str, package: str) -> str:
    """The program's path.

    Raises:
        StepFailed: the machine has not got it; the reason says what to install.
    """
    found = shutil.which(name)
    if found is None:
        raise StepFailed("tool_missing", f"this machine has no {name}: install the package {package}")
    return found


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What tools see of our environment."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_PREFIXES)}
    return kept | {"LC_ALL": "C.UTF-8"} | dict(extra or {})


async def run(
    command: Sequence[str],
    folder: Path,
    *,
    seconds: float,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    code: str = "tool_failed",
    keep: int = TAIL_LINES,
) -> tuple[str, ...]:
    """Run a tool to its end in a session of its own; its last lines (`keep` of them). Cancelled, it is killed with all its children.

    Raises:
        StepFailed: it failed, or took longer than `seconds`.
    """
    tail: deque[str] = deque(maxlen=keep)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            await _read(process, tail, on_line)
            status = await process.wait()
    except TimeoutError:
        raise StepFailed(
            "step_timed_out",
            f"{Path(command[0]).name} took longer than {seconds:.0f} s",
            output=tuple(tail),
            retryable=True,
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status != 0:
        raise StepFailed(code, f"{Path(command[0]).name} ended with code {status}", output=tuple(tail), retryable=True)
    return tuple(tail)


async def _read(process: asyncio.subprocess.Process, tail: deque[str], on_line: Callable[[str], None] | None) -> None:
    assert process.stdout is not None
    pending = b""
    while chunk := await process.stdout.read(65_536):
        lines, pending = lines_of(pending + chunk)
        for text in lines:
            tail.append(text)
            if on_line is not None:
                on_line(text)


def lines_of(data: bytes) -> tuple[list[str], bytes]:
    """Whole lines of a program's output, as people read them, and what is left of the last one."""
    *raw, pending = data.replace(b"\r", b"\n").split(b"\n")
    texts = (_ANSI.sub("", line.decode("utf-8", "replace")).strip()[:500] for line in raw)
    return [text for text in texts if text], pending[-8192:]
