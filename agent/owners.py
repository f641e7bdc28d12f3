"""Whose games are. An agent with the rights to choose gives each server a user of its own, who owns that server's files
and nothing else on the machine: a game can neither read nor end another, nor the agent.

Such a user is a number from a range that no system hands out (https://systemd.io/UIDS-GIDS/); it needs no entry in
/etc/passwd. The number is kept where it counts, as the owner of the server's folder.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.jail import PathEscapes

FIRST: Final = 1_900_000_000
COUNT: Final = 1_000_000
BUILDERS: Final = 1_000  # the last of them: for what is run while a server is installed
#: As the setting `game_user`: run games as the agent itself, whatever it is.
AS_AGENT: Final = "root"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class GameUser:
    """A user and group. `alone`: whatever this user has or runs belongs to one server."""

    uid: int
    gid: int
    alone: bool = False

    @property
    def owner(self) -> tuple[int, int]:
        """As files have it."""
        return self.uid, self.gid


class Owners:
    """See the module. `problem` says why games run as root although nobody asked for that."""

    def __init__(self, folder: Path, game_user: str = "") -> None:
        self._servers, self._game_user = folder / "servers", game_user
        self.problem = why_not(folder, game_user)
        self._runs = os.getpid()  # two agents of one machine begin at different numbers
        self._chooses = os.geteuid() == 0 and game_user != AS_AGENT and not self.problem
        if self._chooses:
            _open_the_way(folder, self._servers)

    def of(self, server_id: str) -> GameUser | None:
        """The owner of a server's files and processes; None for the agent's own user.

        Raises:
            KeyError: there is no user of the name that the settings give.
        """
        if not self._chooses:
            return None
        if self._game_user:
            entry = pwd.getpwnam(self._game_user)
            return GameUser(entry.pw_uid, entry.pw_gid)
        files = self._servers / server_id / "files"
        uid = _owner_of(files)
        if not _is_ours(uid):
            uid = self._next()
            self._make(files, uid)
        return GameUser(uid, uid, alone=True)

    def builder(self) -> GameUser | None:
        """A user for one run of a program that an install step brought; nothing belongs to it before or after.

        Raises:
            KeyError: as for `of`.
        """
        if not self._chooses:
            return None
        if self._game_user:
            return self.of("")  # one user for everything
        self._runs = (self._runs + 1) % BUILDERS
        uid = FIRST + COUNT - 1 - self._runs
        return GameUser(uid, uid, alone=True)

    def _next(self) -> int:
        taken = {_owner_of(home / "files") for home in self._servers.iterdir()}
        last = max((uid for uid in taken if _is_ours(uid)), default=FIRST - 1)
        if _is_ours(last + 1):
            return last + 1
        return next(uid for uid in range(FIRST, FIRST + COUNT - BUILDERS) if uid not in taken)

    def _make(self, files: Path, uid: int) -> None:
        """The number is taken by making the folder that it owns."""
        files.parent.mkdir(mode=0o711, exist_ok=True)
        files.parent.chmod(0o711)
        files.mkdir(mode=0o700, exist_ok=True)
        claim(files, (uid, uid))


def _open_the_way(*folders: Path) -> None:
    """Games must reach their folders: what lies above can be passed through, and not looked into."""
    for folder in folders:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(0o711)


def claim(folder: Path, owner: tuple[int, int]) -> None:
    """Give a server's folder and everything in it to its user. No link is followed, and what is shared stays as it is.

    Contents of the store have several names (hard links) and stay root's: a game reads them and cannot write them.
    """
    for _, folders, files, place in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            if found.st_uid != owner[0] and (found.st_nlink == 1 or stat.S_ISDIR(found.st_mode)):
                os.chown(name, *owner, dir_fd=place, follow_symlinks=False)
    os.chown(folder, *owner, follow_symlinks=False)  # last: a claim that was broken off is begun again
    folder.chmod(0o700)


def take_back(folder: Path) -> None:
    """Give a folder and everything in it to the agent again, whomever it was given to. No link is followed.

    Each folder is taken before it is looked through: from then on nobody else can move about what is in it.

    Raises:
        PathEscapes: a file in it has names elsewhere too: a hard link to what was never this folder's.
    """
    several: dict[tuple[int, int], list[str]] = {}
    top, waiting = os.open(folder, _FOLDER), ["."]
    try:
        while waiting:
            waiting += _take_one(top, waiting.pop(), several)
        for names in several.values():
            if os.stat(names[0], dir_fd=top, follow_symlinks=False).st_nlink != len(names):
                raise PathEscapes(f"{names[0][2:82]!r} is a hard link that leads out of the folder")
            os.chown(names[0], os.geteuid(), os.getegid(), dir_fd=top, follow_symlinks=False)
    finally:
        os.close(top)


def _take_one(top: int, here: str, several: dict[tuple[int, int], list[str]]) -> list[str]:
    """Take what lies right in one folder; the folders in it. Files of several names are only noted."""
    inner, place = [], os.open(here, _FOLDER, dir_fd=top)
    try:
        os.fchown(place, os.geteuid(), os.getegid())
        os.fchmod(place, 0o700)
        for name in os.listdir(place):  # noqa: PTH208  # by descriptor
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                inner.append(f"{here}/{name}")
            elif found.st_nlink > 1:
                several.setdefault((found.st_dev, found.st_ino), []).append(f"{here}/{name}")
            else:
                os.chown(name, os.geteuid(), os.getegid(), dir_fd=place, follow_symlinks=False)
    finally:
        os.close(place)
    return inner


def _is_ours(uid: int) -> bool:
    return FIRST <= uid < FIRST + COUNT - BUILDERS


def _owner_of(path: Path) -> int:
    try:
        return path.lstat().st_uid
    except OSError:
        return -1


def builder_of(folder: Path) -> GameUser | None:
    """Who built in a folder that a killed agent left behind."""
    uid = _owner_of(folder)
    return GameUser(uid, uid, alone=True) if FIRST + COUNT - BUILDERS <= uid < FIRST + COUNT else None


def why_not(folder: Path, game_user: str) -> str:
    """Why games run as root although nobody asked for that; empty when they do not."""
    if os.geteuid() != 0 or game_user:
        return ""
    shut = next((one for one in folder.parents if one.exists() and not one.stat().st_mode & stat.S_IXOTH), None)
    if shut is not None:
        return f"games run as root: no other user may enter {shut}"
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, _, count = map(int, line.split())
        if inside <= FIRST and inside + count >= FIRST + COUNT:
            return ""
    return "games run as root: this container has no users to give away"
