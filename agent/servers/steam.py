"""Steam's client library, for game servers that speak to Steam.

They load it from `.steam/sdk32` or `.steam/sdk64` of their home. steamcmd brings it for its own use and lays it elsewhere: in
its own folder (Valve's archive), or somewhere below the home that it was run with (the distributions' packages, which
differ).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from agent.jail import inside

LIBRARY: Final = "steamclient.so"
WIDTHS: Final = (32, 64)


def copy_archive(program: Path, home: Path) -> Path:
    """The steamcmd to run: of Valve's archive a copy in `home`, since it renews itself in its own folder."""
    place = program.resolve()
    if not (place.parent / "linux32").is_dir():
        return program
    shutil.copytree(place.parent, home / "steamcmd", symlinks=True, dirs_exist_ok=True)
    return home / "steamcmd" / place.name


def lay_client(program: Path, home: Path, folder: Path) -> list[int]:
    """Copy the library to where games look for it, below `folder`; the widths (in bits) that were there to copy.

    Raises:
        PathEscapes: the game's own files lead out of `folder` there.
    """
    laid = []
    places = [program.resolve().parent, home.resolve()]
    for width in WIDTHS:
        inner = Path(f"linux{width}", LIBRARY)
        found = [path.resolve() for path in (places[0] / inner, *home.rglob(str(inner))) if path.is_file()]
        found = [path for path in found if any(path.is_relative_to(place) for place in places)]
        if found:
            target = inside(folder, f".steam/sdk{width}/{LIBRARY}")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(max(found, key=lambda path: path.stat().st_mtime), target)
            laid.append(width)
    return laid
