"""Steam's client library, for game servers that speak to Steam.

They load it from `.steam/sdk32` or `.steam/sdk64` of their home. steamcmd brings it for its own use and lays it elsewhere: in
its own folder (Valve's archive), or somewhere below the home that it was run with (the distributions' packages, which
differ).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

LIBRARY: Final = "steamclient.so"
WIDTHS: Final = (32, 64)


def lay_client(program: Path, home: Path, folder: Path) -> list[int]:
    """Copy the library to where games look for it, below `folder`; the widths (in bits) that were there to copy."""
    laid = []
    for width in WIDTHS:
        inner = Path(f"linux{width}", LIBRARY)
        beside = program.resolve().parent / inner
        found = [path for path in (beside, *home.rglob(str(inner))) if path.is_file()]
        if found:
            target = folder / ".steam" / f"sdk{width}" / LIBRARY
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(max(found, key=lambda path: path.stat().st_mtime), target)
            laid.append(width)
    return laid
