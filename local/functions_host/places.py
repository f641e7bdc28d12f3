"""Where in an app something went wrong, for messages of one line."""

from __future__ import annotations

import traceback
from pathlib import Path

_HOST = Path(__file__).parent


def place_of(error: BaseException, folder: Path) -> str:
    """file:line where it was raised: the deepest frame within the app's folder, else the deepest of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{relative_to(error.filename, folder)}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename, folder)]
    frame = (own or frames)[-1]
    return f"{relative_to(frame.filename, folder)}:{frame.lineno}"


def relative_to(filename: str, folder: Path) -> str:
    """A file's name as short as the app's author would write it."""
    path = Path(filename)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else filename


def _is_own(filename: str, folder: Path) -> bool:
    path = Path(filename)
    return path.is_relative_to(folder) and "site-packages" not in path.parts and not path.is_relative_to(_HOST)
