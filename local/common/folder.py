"""A data folder that one process holds at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Self

from local.common.errors import StartError


def secret_file(path: Path, make: str | None = None) -> str:
    """The text of a secret file, made at first use (mode 0600): `make`, or 32 random bytes in URL-safe base64."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    text = make if make is not None else secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    return text


class DataFolder:
    """A folder of one part's files, locked for the life of the process.

    The lock is `flock` on `<folder>/<part>.lock`: the kernel drops it when the process dies, however it dies, so a
    stale lock cannot exist. The file holds the owner's process id, for the message to whoever comes second.
    """

    def __init__(self, path: Path, part: str) -> None:
        """Create the folder if need be (mode 0700) and lock it.

        Raises:
            StartError: another process holds the folder, or it cannot be written.
        """
        self.path = path.resolve()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / f"{part}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(
                f"cannot use {self.path} as data folder ({error.strerror}); choose one with --data"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StartError(
                f"{self.path} is in use by another {part} (process {owner}); stop that one, or choose another folder with --data"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def file(self, name: str) -> Path:
        """The path of a file in this folder."""
        return self.path / name

    def secret(self, name: str, make: str | None = None) -> str:
        """The text of a secret file in this folder; see `secret_file`."""
        return secret_file(self.path / name, make)

    def hand_over(self) -> None:
        """Let the program that this process becomes (`os.exec*`) hold the lock until it ends."""
        os.set_inheritable(self._descriptor, True)

    def close(self) -> None:
        """Release the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
