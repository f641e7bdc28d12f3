"""The node's content store: what install steps bring is kept once, and laid out for each server that needs it.

    objects/<2 hex>/<sha256>[.x]   the contents, read-only, `.x` when executable
    images/<key>.json              what one list of steps made: paths with their contents

A server's file is a reflink where the file system has them, else a hard link to the object; files that the game writes
in place are copied. Objects are read-only (0444), so a game that opens one for writing is refused; one that writes a
new file and renames it over gets a file of its own. The one who is not refused is root: for games that run as root
everything is copied, unless reflinks keep the contents apart anyway.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

FICLONE: Final = 0x40049409  # ioctl_ficlone(2)
Linking = Literal["reflink", "hardlink", "copy"]
Owner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an image."""

    path: str
    digest: str
    size: int
    executable: bool

    @property
    def object_name(self) -> str:
        """Where its content lies in the store."""
        return f"{self.digest[:2]}/{self.digest}{'.x' if self.executable else ''}"


@dataclass(frozen=True, slots=True)
class Image:
    """What a list of install steps made: folders, files, symbolic links."""

    key: str
    folders: tuple[str, ...]
    files: tuple[Entry, ...]
    links: tuple[tuple[str, str], ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)


class ContentStore:
    """See the module. Its methods block: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._objects, self._images = folder / "objects", folder / "images"
        self._objects.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._images.mkdir(parents=True, exist_ok=True)
        self._reflinks = self._try_reflink(folder)

    def linking(self, owner: Owner | None) -> Linking:
        """How files are laid out for games of that user."""
        if self._reflinks:
            return "reflink"
        runs_as_root = os.geteuid() == 0 and (owner is None or owner[0] == 0)
        return "copy" if runs_as_root else "hardlink"

    def find(self, key: str) -> Image | None:
        """The image, if it is here and every object is as it was stored. A damaged object is thrown away."""
        try:
            raw = json.loads((self._images / f"{key}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        image = Image(
            key,
            tuple(raw["folders"]),
            tuple(Entry(*row) for row in raw["files"]),
            tuple((path, target) for path, target in raw["links"]),
        )
        return image if self._sound(image, raw["made_at"]) else None

    def _sound(self, image: Image, made_at: float) -> bool:
        """A stat for each object: a size or a time that changed after the image was made is damage."""
        sound, base = True, f"{self._objects}/"
        for entry in image.files:
            try:
                found = os.stat(base + entry.object_name)  # noqa: PTH116  # measured: thousands of these
            except FileNotFoundError:
                sound = False
                continue
            if found.st_size != entry.size or found.st_mtime > made_at:
                path = self._objects / entry.object_name
                if found.st_size != entry.size or _digest(path) != entry.digest:
                    path.unlink()
                    sound = False
        return sound

    def ingest(self, folder: Path, key: str) -> Image:
        """Take everything in `folder` (ours, on the same file system) into the store; the folder is used up."""
        folders, files, links = [], [], []
        for root, names, file_names in os.walk(folder):
            for name in sorted(names + file_names):
                path = Path(root, name)
                relative = str(path.relative_to(folder))
                if path.is_symlink():
                    target = str(path.readlink())
                    if not target.startswith("/") and (path.parent / target).resolve().is_relative_to(folder.resolve()):
                        links.append((relative, target))
                elif path.is_dir():
                    folders.append(relative)
                elif path.is_file():
                    files.append(self._take(path, relative))
        image = Image(key, tuple(sorted(folders)), tuple(sorted(files, key=lambda e: e.path)), tuple(sorted(links)))
        self._write_image(image)
        shutil.rmtree(folder, ignore_errors=True)
        return image

    def _take(self, path: Path, relative: str) -> Entry:
        executable = bool(path.stat().st_mode & stat.S_IXUSR)
        entry = Entry(relative, _digest(path), path.stat().st_size, executable)
        place = self._objects / entry.object_name
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            path.chmod(0o555 if executable else 0o444)
            path.rename(place)
        return entry

    def _write_image(self, image: Image) -> None:
        times = ((self._objects / entry.object_name).stat().st_mtime for entry in image.files)
        raw = {
            "folders": image.folders,
            "files": [[e.path, e.digest, e.size, e.executable] for e in image.files],
            "links": image.links,
            "made_at": max(times, default=0.0),
        }
        temporary = self._images / f".{image.key}.new"
        with temporary.open("w") as file:
            json.dump(raw, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._images / f"{image.key}.json")

    def lay(
        self,
        image: Image,
        folder: Path,
        writable: Iterable[str] = (),
        owner: Owner | None = None,
        keep: frozenset[str] = frozenset(),
    ) -> None:
        """Lay the image out in `folder`; paths in `keep` are left as they are there."""
        linking, patterns = self.linking(owner), tuple(writable)
        folder.mkdir(parents=True, exist_ok=True)
        for relative in ("", *image.folders):
            path = folder / relative
            if path.is_symlink() or path.is_file():
                path.unlink()
            path.mkdir(exist_ok=True)
            if owner is not None:
                os.chown(path, *owner)
        base, objects = str(folder), str(self._objects)
        writable_path = re.compile("|".join(map(fnmatch.translate, patterns))).match if patterns else None
        for entry in image.files:
            if entry.path in keep:
                continue
            source, target = f"{objects}/{entry.object_name}", f"{base}/{entry.path}"
            own = writable_path is not None and writable_path(entry.path) is not None
            if not own and linking == "hardlink":
                try:
                    os.link(source, target)  # measured: thousands of these
                    continue
                except FileExistsError:
                    pass  # replaced below
            _place(source, target, "reflink" if own and self._reflinks else "copy" if own else linking)
            if own or linking != "hardlink":
                _release(target, entry.executable, owner)
        for relative, destination in image.links:
            link = folder / relative
            link.unlink(missing_ok=True)
            link.symlink_to(destination)

    def collect(self, used: Iterable[str]) -> int:
        """Throw away images that no server uses and objects that no image has; the bytes that became free."""
        kept, freed = set(used), 0
        needed: set[str] = set()
        for path in self._images.glob("*.json"):
            if path.stem not in kept:
                path.unlink()
                continue
            raw = json.loads(path.read_bytes())
            needed |= {Entry(*row).object_name for row in raw["files"]}
        for path in self._objects.glob("*/*"):
            if f"{path.parent.name}/{path.name}" not in needed:
                freed += path.stat().st_size if path.stat().st_nlink == 1 else 0
                path.unlink()
        return freed

    @staticmethod
    def _try_reflink(folder: Path) -> bool:
        one, two = folder / ".reflink-a", folder / ".reflink-b"
        try:
            one.write_bytes(b"x" * 4096)
            _reflink(str(one), str(two))
        except OSError:
            return False
        else:
            return True
        finally:
            one.unlink(missing_ok=True)
            two.unlink(missing_ok=True)


def _place(source: str, target: str, linking: Linking) -> None:
    """Put a content at its place; whatever stood there is replaced, never written into."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)  # noqa: PTH108  # measured: thousands of these
    if linking == "hardlink":
        os.link(source, target)
    elif linking == "reflink":
        _reflink(source, target)
    else:
        shutil.copyfile(source, target)


def _reflink(source: str, target: str) -> None:
    with open(source, "rb") as one, open(target, "xb") as two:  # noqa: PTH123  # measured: 3,000 of these
        fcntl.ioctl(two.fileno(), FICLONE, one.fileno())


def _release(path: str, executable: bool, owner: Owner | None) -> None:
    """A file that is the server's own may be written by its game."""
    os.chmod(path, 0o755 if executable else 0o644)  # noqa: PTH101
    if owner is not None:
        os.chown(path, *owner)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
