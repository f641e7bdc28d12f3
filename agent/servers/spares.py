"""A laid-out image in store for the next server: all links are made, so that an install is a matter of moving one folder.

A link costs the kernel 9 us (measured, ext4), so 3,000 of them are a tenth of copying what they stand for, and nobody has to wait
for that: after an install the next one's are made, in a thread beside. A spare takes room for its folders alone.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from agent.servers.laying import give_folders, link_all, make_folders, make_links

if TYPE_CHECKING:
    from agent.servers.store import Image, Owner


class Spares:
    """One for each image at most. Its name holds the time of the image's list: one that was made anew has no old spare."""

    def __init__(self, folder: Path, objects: Path) -> None:
        self._folder, self._objects = folder, objects
        self._turn = threading.Lock()
        folder.mkdir(exist_ok=True)
        for broken_off in folder.glob(".*"):
            shutil.rmtree(broken_off, ignore_errors=True)

    def take(self, image: Image, files: Path, owner: Owner | None) -> bool:
        """Put the spare where an empty folder stands, the server's own; False where there is none, or no such folder.

        The folder is its owner's before it gets there: that is what says which users are taken (see `agent.owners`).
        """
        held = files.with_name(f"{files.name}.spare")
        shutil.rmtree(held, ignore_errors=True)  # of an agent that was killed in the middle
        try:
            mode = files.stat().st_mode & 0o777
            if any(files.iterdir()):
                return False
            (self._folder / self._name(image)).rename(held)  # whoever is second finds nothing
        except FileNotFoundError:
            return False
        give_folders(held, image.folders, owner)
        held.chmod(mode)
        held.rename(files)
        return True

    def make(self, image: Image) -> None:
        """Have a spare, if there is none. Without room for it there is none, and the next install makes its links itself."""
        target, new = self._folder / self._name(image), self._folder / f".{image.key}"
        with self._turn, contextlib.suppress(OSError):
            if target.exists():
                return
            self._drop(image.key)
            try:
                make_folders(new, image.folders)
                if not link_all(self._objects, new, image.files):
                    make_links(new, image.links)
                    new.rename(target)
            finally:
                shutil.rmtree(new, ignore_errors=True)

    def drop(self, key: str) -> None:
        """Throw the spare of an image away, also one that is just being made."""
        with self._turn:
            self._drop(key)

    def _drop(self, key: str) -> None:
        for old in self._folder.glob(f"{key}-*"):
            shutil.rmtree(old, ignore_errors=True)

    @staticmethod
    def _name(image: Image) -> str:
        return f"{image.key}-{image.made_ns}"
