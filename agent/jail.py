"""Paths from outside stay inside the folder that they belong to, symbolic links included."""

from __future__ import annotations

from pathlib import Path


class PathEscapes(ValueError):
    """A path leads out of its folder."""


def inside(folder: Path, relative: str) -> Path:
    """The real path of `relative` in `folder`.

    Raises:
        PathEscapes: it is absolute, goes up, holds control characters, or passes a link that leads out.
    """
    if not relative or not relative.isprintable() or relative.startswith(("/", "~")) or "\\" in relative:
        raise PathEscapes(f"{relative[:80]!r} is not a relative path")
    return within(folder, folder / relative)


def within(folder: Path, path: Path) -> Path:
    """The real path of `path`, which must lie in `folder`.

    Raises:
        PathEscapes: it does not.
    """
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise PathEscapes(f"{str(path)[:80]!r} leads out of the server's folder")
    return real
