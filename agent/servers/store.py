"""The node's content store: what install steps bring is kept once, and laid out for each server that needs it.

    objects/<2 hex>/<sha256>[.x]   the contents, read-only, `.x` when executable
    images/<key>.json              what one list of steps made: paths with their contents
    spares/<key>-<time>/           such an image laid out already, for the next server (see `spares`)

A server's file is a reflink where the file system has them, else a hard link to the object; files that the game writes
in place are copied. Objects are read-only (0444), so a game that opens one for writing is refused; one that writes a
new file and renames it over gets a file of its own. The one who is not refused is root: for games that run as root
everything is copied, unless reflinks keep the contents apart anyway.

Whether every content is as it was stored is looked at once in an agent's life, and each time where games run as the agent's
own user, who could make a content writable: a look takes a third as long as laying the files out.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from agent.servers.laying import clone, copy_one, give_folders, link_all, make_folders, make_links
from agent.servers.spares import Spares

Linking = Literal["reflink", "hardlink", "copy"]
Owner = tuple[int, int]
Mark = list[int]  # size and time (ns) of a file: what it has until somebody writes to it


class Entry(NamedTuple):
    """One file of an image; `changed_ns` is the time of its content."""

    path: str
    digest: str
    size: int
    executable: bool
    changed_ns: int

    @property
    def mark(self) -> Mark:
        """Of a file that is a link to the content."""
        return [self.size, self.changed_ns]

    @property
    def object_name(self) -> str:
        """Where its content lies in the store."""
        return f"{self.digest[:2]}/{self.digest}{'.x' if self.executable else ''}"


@dataclass(frozen=True, slots=True)
class Image:
    """What a list of install steps made: folders, files, symbolic links. `made_ns` is the time of its list."""

    key: str
    folders: tuple[str, ...]
    files: tuple[Entry, ...]
    links: tuple[tuple[str, str], ...]
    made_ns: int = 0

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
        self._spares = Spares(folder / "spares", self._objects)
        self._sound: set[str] = set()  # keys of images that need no second look

    def linking(self, owner: Owner | None) -> Linking:
        """How files are laid out for games of that user."""
        if self._reflinks:
            return "reflink"
        runs_as_root = os.geteuid() == 0 and (owner is None or owner[0] == 0)
        return "copy" if runs_as_root else "hardlink"

    def find(self, key: str) -> Image | None:
        """The image, if it is here and every object is as it was stored. A damaged object is thrown away."""
        image = read_image(self._file(key))
        if image is None or (key not in self._sound and not self._look_at(image)):
            return None
        self._vouch(key)
        return image

    def share(self, image: Image, path: Path) -> None:
        """Let the image's own list of files stand at `path`, too: it says what was laid out, without being written again."""
        path.unlink(missing_ok=True)
        path.hardlink_to(self._file(image.key))

    def _file(self, key: str) -> Path:
        return self._images / f"{key}.json"

    def _vouch(self, key: str) -> None:
        if os.geteuid() == 0:  # nobody but root can change a content of root's
            self._sound.add(key)

    def doubt(self, image: Image) -> None:
        """It turned out that something is missing: the next `find` looks."""
        self._sound.discard(image.key)
        self._spares.drop(image.key)

    def prepare(self, image: Image, owner: Owner | None) -> None:
        """Have the image laid out for the next server, where that is done by links."""
        listed = self._file(image.key)
        if self.linking(owner) == "hardlink" and listed.exists() and listed.stat().st_mtime_ns == image.made_ns:
            self._spares.make(image)

    def _look_at(self, image: Image) -> bool:
        """A stat for each content: another size or time than it was stored with is damage, unless it is the same all the same."""
        sound, objects = True, os.open(self._objects, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for entry in image.files:
                try:
                    found = os.stat(entry.object_name, dir_fd=objects)
                except FileNotFoundError:
                    sound = False
                    continue
                if (found.st_size, found.st_mtime_ns) != (entry.size, entry.changed_ns):
                    sound = self._mend(entry, found.st_size) and sound
        finally:
            os.close(objects)
        return sound

    def _mend(self, entry: Entry, size: int) -> bool:
        path = self._objects / entry.object_name
        if size == entry.size and _digest(path) == entry.digest:
            os.utime(path, ns=(entry.changed_ns, entry.changed_ns))
            return True
        path.unlink()
        return False

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
        made_ns = self._write_image(image)
        self._vouch(key)
        shutil.rmtree(folder, ignore_errors=True)
        return replace(image, made_ns=made_ns)

    def _take(self, path: Path, relative: str) -> Entry:
        found = path.stat()
        executable = bool(found.st_mode & stat.S_IXUSR)
        entry = Entry(relative, _digest(path), found.st_size, executable, found.st_mtime_ns)
        place = self._objects / entry.object_name
        if place.exists() and (known := place.stat()).st_size == entry.size:
            return entry._replace(changed_ns=known.st_mtime_ns)
        place.parent.mkdir(exist_ok=True)
        path.chmod(0o555 if executable else 0o444)
        path.rename(place)
        return entry

    def _write_image(self, image: Image) -> int:
        raw = {"key": image.key, "folders": image.folders, "files": image.files, "links": image.links}
        temporary = self._images / f".{image.key}.new"
        with temporary.open("w") as file:
            json.dump(raw, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._file(image.key))  # never written into: servers have links to it
        return self._file(image.key).stat().st_mtime_ns

    def lay(
        self,
        image: Image,
        folder: Path,
        writable: Iterable[str] = (),
        owner: Owner | None = None,
        keep: frozenset[str] = frozenset(),
    ) -> dict[str, Mark]:
        """Lay the image out in `folder`; paths in `keep` are left as they are there. The marks of files that are the server's own.

        Raises:
            FileNotFoundError: a content has gone missing.
        """
        patterns = "|".join(map(fnmatch.translate, writable))
        writes = re.compile(patterns).match if patterns else None
        shares = self.linking(owner) == "hardlink"
        shared: list[Entry] = []
        own: list[Entry] = []
        for entry in image.files:
            if entry.path not in keep:
                (shared if shares and (writes is None or writes(entry.path) is None) else own).append(entry)
        if not (shared and not keep and self._spares.take(image, folder, owner)):
            make_folders(folder, image.folders)
            give_folders(folder, image.folders, owner)
            crowded = set(link_all(self._objects, folder, shared))
            own += [entry for entry in shared if entry.path in crowded]
            make_links(folder, image.links)
        marks = {}
        for entry in own:
            source, target = f"{self._objects}/{entry.object_name}", f"{folder}/{entry.path}"
            copy_one(source, target, entry.executable, owner, reflink=self._reflinks)
            marks[entry.path] = mark_of(target)
        return marks

    def collect(self, used: Iterable[str]) -> int:
        """Throw away images that no server uses and objects that no image has; the bytes that became free."""
        kept, freed = set(used), 0
        needed: set[str] = set()
        for path in self._images.glob("*.json"):
            image = read_image(path) if path.stem in kept else None
            if image is None:
                path.unlink()
                self._spares.drop(path.stem)
            else:
                needed |= {entry.object_name for entry in image.files}
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
            clone(str(one), str(two))
        except OSError:
            return False
        else:
            return True
        finally:
            one.unlink(missing_ok=True)
            two.unlink(missing_ok=True)


def read_image(path: Path) -> Image | None:
    """An image's list of files; None where there is none, or an earlier release wrote it."""
    try:
        raw, made_ns = json.loads(path.read_bytes()), path.stat().st_mtime_ns
        files = tuple(map(Entry._make, raw["files"]))
        links = tuple((name, target) for name, target in raw["links"])
        return Image(raw["key"], tuple(raw["folders"]), files, links, made_ns)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def mark_of(path: Path | str) -> Mark:
    """The mark of a file as it is now.

    Raises:
        FileNotFoundError: there is none.
    """
    found = os.lstat(path)
    return [found.st_size, found.st_mtime_ns]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
