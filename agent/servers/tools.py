"""Running a program for an install step: its output, its time, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from agent.servers.errors import StepFailed

TAIL_LINES: Final = 40
LAST_WORDS_SECONDS: Final = 1.0
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: Of our own environment, what a tool needs to find its way; nothing of ours that is secret.
PASSED_ON: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
)
PASSED_PREFIXES: Final = ("npm_config_", "NPM_CONFIG_", "PIP_")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What tools see of our environment."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_PREFIXES)}
    return kept | {"LC_ALL": "C.UTF-8"} | dict(extra or {})


async def run(
    command: Sequence[str],
    folder: Path,
    *,
    name: str,
    seconds: float,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    code: str = "tool_failed",
    keep: int = TAIL_LINES,
) -> tuple[str, ...]:
    """Run a program to its end in a session of its own; its last lines (`keep` of them). Cancelled, it is killed with all its children.

    `name` is what people know it by; of our descriptors it inherits none. It has ended when its own process has: somebody
    whom it left behind holds nothing up by holding its output open.

    Raises:
        StepFailed: it failed, or took longer than `seconds`.
    """
    tail: deque[str] = deque(maxlen=keep)

    def hear(line: str) -> None:
        tail.append(line)
        if on_line is not None:
            on_line(line)

    output, inner = os.pipe()
    with os.fdopen(output, "rb", buffering=0) as ours, os.fdopen(inner, "wb", buffering=0) as theirs:
        process = _begin(command, folder, environment(env), theirs)
        theirs.close()
        try:
            async with asyncio.timeout(seconds):
                await _follow(process, ours, hear)
        except TimeoutError:
            raise StepFailed(
                "step_timed_out", f"{name} took longer than {seconds:.0f} s", output=tuple(tail), retryable=True
            ) from None
        finally:
            status = _end(process)
    if status != 0:
        raise StepFailed(code, f"{name} ended with code {status}", output=tuple(tail), retryable=True)
    return tuple(tail)


def _begin(command: Sequence[str], folder: Path, env: dict[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


async def _follow(process: subprocess.Popen[bytes], output: IO[bytes], hear: Callable[[str], None]) -> None:
    """Read until the process has ended, and what its children still say in a moment."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), output)
    reading = asyncio.create_task(_read(reader, hear))
    ended, pidfd = asyncio.Event(), os.pidfd_open(process.pid)  # not collected yet, so it is surely ours
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
        await asyncio.wait([reading], timeout=LAST_WORDS_SECONDS)
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        reading.cancel()
        await asyncio.wait([reading])
        transport.close()


async def _read(reader: asyncio.StreamReader, hear: Callable[[str], None]) -> None:
    pending = b""
    try:
        while chunk := await reader.read(65_536):
            lines, pending = lines_of(pending + chunk)
            for line in lines:
                hear(line)
    finally:
        for line in lines_of(pending + b"\n")[0]:
            hear(line)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Kill what is left of its group, while the number is surely its own, and collect it; its exit code."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def lines_of(data: bytes) -> tuple[list[str], bytes]:
    """Whole lines of a program's output, as people read them, and what is left of the last one."""
    *raw, pending = data.replace(b"\r", b"\n").split(b"\n")
    texts = (_ANSI.sub("", line.decode("utf-8", "replace")).strip()[:500] for line in raw)
    return [text for text in texts if text], pending[-8192:]
