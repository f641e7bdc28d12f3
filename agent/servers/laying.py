"""Laying the files of an image out for a server. Measured, as templates have thousands: what is here is mostly the kernel's."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.servers.store import Entry, Owner

FICLONE: Final = 0x40049409  # ioctl_ficlone(2)
#: Fewer links than that are made sooner than a thread begins.
WORTH_A_THREAD: Final = 500
MOST_THREADS: Final = 4  # the kernel lets links in different folders be made at once, to a degree


def make_folders(folder: Path, names: Iterable[str]) -> None:
    """Make the folder and those in it; a file or a link that stands there instead makes way."""
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(folder) as place:
        for name in names:
            try:
                os.mkdir(name, dir_fd=place)
            except FileExistsError:
                if not stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=place)
                    os.mkdir(name, dir_fd=place)


def give_folders(folder: Path, names: Iterable[str], owner: Owner | None) -> None:
    """Make the folder and those in it the server's own."""
    if owner is None:
        return
    with _opened(folder) as place:
        for name in names:
            os.chown(name, *owner, dir_fd=place, follow_symlinks=False)
        os.fchown(place, *owner)


def make_links(folder: Path, links: Iterable[tuple[str, str]]) -> None:
    """Make the symbolic links (where, and what they say)."""
    for relative, destination in links:
        link = folder / relative
        link.unlink(missing_ok=True)
        link.symlink_to(destination)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield place
    finally:
        os.close(place)


def link_all(objects: Path, folder: Path, files: Sequence[Entry]) -> list[str]:
    """Make hard links of all, in place of whatever stands there; the paths of contents that have too many already.

    Raises:
        FileNotFoundError: a content is not there.
    """
    threads = max(1, min(len(files) // WORTH_A_THREAD, len(os.sched_getaffinity(0)), MOST_THREADS))
    names = [(entry.object_name, entry.path) for entry in files]
    share = max(1, -(-len(files) // threads))
    parts = [names[first : first + share] for first in range(0, len(files), share)]
    with _opened(objects) as source, _opened(folder) as target:
        if threads == 1:
            return [path for part in parts for path in _link(source, target, part)]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads) as pool:
            return [path for left in pool.map(lambda part: _link(source, target, part), parts) for path in left]


def _link(source: int, target: int, names: Sequence[tuple[str, str]]) -> list[str]:
    """Paths that are left. Hardly anything but the calls: threads would wait for each other in the rest."""
    left = []
    for content, path in names:
        try:
            os.link(content, path, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno == errno.EEXIST:
                os.unlink(path, dir_fd=target)
                os.link(content, path, src_dir_fd=source, dst_dir_fd=target)
            elif error.errno == errno.EMLINK:  # 65,000 on ext4
                left.append(path)
            else:
                raise
    return left


def copy_one(source: str, target: str, executable: bool, owner: Owner | None, *, reflink: bool) -> None:
    """Give the server a file of its own, which its game may write; what stood there is replaced, never written into."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)  # noqa: PTH108  # measured
    if reflink:
        clone(source, target)
    else:
        shutil.copyfile(source, target)
    os.chmod(target, 0o755 if executable else 0o644)  # noqa: PTH101
    if owner is not None:
        os.chown(target, *owner)


def clone(source: str, target: str) -> None:
    """Make a file that shares the other's blocks until one of them is written.

    Raises:
        OSError: this file system cannot.
    """
    with open(source, "rb") as one, open(target, "xb") as two:  # noqa: PTH123  # measured
        fcntl.ioctl(two.fileno(), FICLONE, one.fileno())
