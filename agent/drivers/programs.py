"""Which programs may be started: those of the server's own folder, and a few runtimes by name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from agent.drivers.base import DriverError, Plan
from agent.jail import within
from agent.owners import GameUser

RUNTIMES: Final = ("java", "node", "python3")


def check_runtime(name: str, allowed: tuple[str, ...] = RUNTIMES) -> None:
    """Whether a program may be named without a path.

    Raises:
        DriverError: `no_such_program`: it is not on the list (a shell, for one).
    """
    if name not in allowed:
        raise DriverError("no_such_program", f"{name[:80]!r} is not one of {', '.join(allowed)}")


def find_runtime(name: str, user: GameUser | None) -> str:
    """The path of a runtime: the first on the way that this user may run. Not all are: one in root's own folder, say.

    Raises:
        DriverError: `no_such_program`.
    """
    shut = ""
    for folder in os.get_exec_path():
        path = Path(folder, name)
        if os.access(path, os.X_OK) and path.is_file():  # asked first: a closed folder is no error
            if user is None or _open_to_all(path):
                return str(path)
            shut = shut or str(path)
    if shut:
        raise DriverError(
            "no_such_program", f"{shut} is closed to other users, and games run as one; install {name!r} for all"
        )
    raise DriverError("no_such_program", f"{name!r} is not installed on this machine")


def _open_to_all(path: Path) -> bool:
    return all(one.stat().st_mode & stat.S_IXOTH for place in (path, path.resolve()) for one in (place, *place.parents))


def own_program(plan: Plan, directory: Path) -> Path:
    """The program that `argv[0]` names by a path.

    Raises:
        PathEscapes: it leads out of the server's folder.
        DriverError: `no_such_program`: there is no executable file.
    """
    name = plan.launch.argv[0]
    path = within(plan.folder, directory / name)  # an absolute name stands for itself
    if not path.is_file() or not os.access(path, os.X_OK):
        raise DriverError("no_such_program", f"{name[:80]!r} is not an executable file of this server")
    return path
