"""Unpacking archives: nothing leaves the folder, nothing special comes in, and the size is bounded."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from agent.jail import PathEscapes, inside
from agent.servers.errors import StepFailed

MAX_BYTES: Final = 64 * 1024**3
MAX_ENTRIES: Final = 500_000


def extract(archive: Path, folder: Path, strip: int) -> None:
    """Unpack into `folder`, the first `strip` parts of each path left out; devices and links that lead out are refused.

    Raises:
        StepFailed: not an archive, or one that tries to escape or to fill the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder, strip)
        else:
            _untar(archive, folder, strip)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
        raise StepFailed("bad_archive", f"{archive.name} cannot be unpacked: {error}") from None
    except PathEscapes as error:
        raise StepFailed("archive_escapes", f"{archive.name}: {error}") from None


def _stripped(name: str, strip: int) -> str | None:
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    kept = parts[strip:]
    return "/".join(kept) if kept else None


def _unzip(archive: Path, folder: Path, strip: int) -> None:
    with zipfile.ZipFile(archive) as source:
        entries = source.infolist()
        _bound(archive, len(entries), sum(entry.file_size for entry in entries))
        for entry in entries:
            name = _stripped(entry.filename, strip)
            if name is None:
                continue
            target = inside(folder, name)
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open(entry) as one, target.open("wb") as two:
                shutil.copyfileobj(one, two, 1024 * 1024)
            target.chmod(0o755 if entry.external_attr >> 16 & 0o100 else 0o644)


def _untar(archive: Path, folder: Path, strip: int) -> None:
    with tarfile.open(archive) as source:
        total = count = 0
        for member in source:
            name = _stripped(member.name, strip)
            if name is None:
                continue
            count, total = count + 1, total + member.size
            _bound(archive, count, total)
            inside(folder, name)
            # The library's own filter refuses devices, absolute paths and links that lead out (PEP 706).
            # A hard link names another entry of the archive, by its full path there.
            link = _stripped(member.linkname, strip) or "" if member.islnk() else member.linkname
            source.extract(member.replace(name=name, linkname=link, deep=False), folder, filter="data")


def _bound(archive: Path, entries: int, size: int) -> None:
    if entries > MAX_ENTRIES or size > MAX_BYTES:
        raise StepFailed("archive_too_large", f"{archive.name} unpacks to {entries} entries of {size >> 20} MiB")
