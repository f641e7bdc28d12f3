"""Where the programs of install steps run: npm, pip, steamcmd, apt, an installer that a step brought.

They come from strangers, and so does much of what they run, so they may do no more than a game: as a user who owns nothing
but the folder that is being built, in a control group, with a home and an environment of their own, for a bounded time.

    work/<key>/        ours, to be passed through
        files/         what becomes the content; a program finds it as its working folder
        home/          HOME and TMPDIR, caches too; thrown away

Both folders are the user's while a program runs, and ours at all other times: the agent never works on ground that
somebody else can change under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from agent.drivers import proc
from agent.drivers.base import DriverError
from agent.drivers.group import Group, Groups, vanish
from agent.drivers.programs import find_runtime
from agent.drivers.shim import as_user, end_user
from agent.owners import GameUser, claim, take_back
from agent.servers import tools
from agent.servers.errors import StepFailed
from shared.messaging.server_spec import Limits

MEMORY_MIB: Final = 2048
CPU_MILLICORES: Final = 2000
PROCESSES: Final = 512

# Joined here, still with our rights; what follows the words is already somebody else. The agent may stand under the
# kernel's protection when memory runs out: a program of a step must not inherit that.
_ENTER: Final = """
IFS=:
for join in $1; do echo $$ >"$join" || exit 125; done
unset IFS
shift
echo 0 2>/dev/null >/proc/self/oom_score_adj || :
exec "$@"
"""


class Workshop:
    """One build's place, and whoever works there. `user` is None where programs run as ourselves."""

    def __init__(self, folder: Path, user: GameUser | None = None, groups: Groups | None = None) -> None:
        self.files, self.home = folder / "files", folder / "home"
        self._folder, self._user, self._groups = folder, user, groups
        self._group_name = f"install-{folder.name}"

    def open(self) -> None:
        """Make the folders, empty. Whatever an earlier build's user left running is ended: numbers are used again."""
        if self._user is not None and self._user.alone:
            end_user(self._user)
        self.close()
        self._folder.mkdir(mode=0o711)
        self._folder.chmod(0o711)  # whatever our mask says
        self.files.mkdir(mode=0o700)
        self.home.mkdir(mode=0o700)

    def close(self) -> None:
        """Throw everything away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def program(self, name: str, package: str) -> str:
        """The path of one of the machine's programs.

        Raises:
            StepFailed: the machine has not got it, or not for other users; the reason says what to install.
        """
        if shutil.which(name) is None:
            raise StepFailed("tool_missing", f"this machine has no {name}: install the package {package}")
        try:
            return find_runtime(name, self._user)
        except DriverError as error:
            raise StepFailed("tool_missing", error.reason) from None

    async def run(
        self,
        command: Sequence[str],
        *,
        seconds: float,
        folder: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        code: str = "tool_failed",
        memory_mib: int = MEMORY_MIB,
        by_data: bool = True,
        keep: int = tools.TAIL_LINES,
    ) -> tuple[str, ...]:
        """Run a program in `folder` (usually the files) to its end; its last lines. When this returns nothing of it is left.

        Args:
            command: the program's path and its arguments.
            seconds: how long it may take.
            folder: where it begins.
            on_line: told of each line.
            code: of the failure, if it fails.
            memory_mib: how much it may use.
            by_data: without a control group its data may be bounded instead: not for Java, which reserves more than it uses.
            keep: how many of the last lines are wanted.

        Raises:
            StepFailed: it failed or took too long.
            PathEscapes: it left hard links to what is not its own.
        """
        await asyncio.to_thread(self._give)
        group = self._group(memory_mib)
        line = [*self._bounds(group, memory_mib if by_data else 0), *as_user(self._user), *command]
        joins = ":".join(map(str, group.join))
        try:
            return await tools.run(
                ["/bin/sh", "-c", _ENTER, "meridian-step", joins, *line],
                folder or self.files,
                name=Path(command[0]).name,
                env=self._environment(),
                seconds=seconds,
                on_line=on_line,
                code=code,
                keep=keep,
            )
        except StepFailed as failed:
            if why := group.why_killed():
                failed.reason += f" ({why})"
            raise
        finally:
            await asyncio.to_thread(self._take, group)

    def abandon(self) -> None:
        """End what a killed agent left running here, and throw everything away."""
        self._end(self._groups.left(self._group_name) if self._groups else Group())
        self.close()

    def _group(self, memory_mib: int) -> Group:
        limits = Limits(memory_mib=memory_mib, cpu_millicores=CPU_MILLICORES, processes=PROCESSES)
        return self._groups.make(self._group_name, limits) if self._groups else Group()

    def _bounds(self, group: Group, memory_mib: int) -> list[str]:
        """The words that bound a program where no control group does. A user of its own can have its processes counted."""
        bounds = [f"--data={memory_mib << 20}"] if memory_mib and "memory" not in group.applied else []
        if self._user is not None and self._user.alone and "processes" not in group.applied:
            bounds.append(f"--nproc={PROCESSES}")
        return ["prlimit", *bounds, "--"] if bounds and shutil.which("prlimit") else []

    def _environment(self) -> dict[str, str]:
        home = self.home
        places = {"HOME": home, "TMPDIR": home / "tmp", "npm_config_cache": home / "npm", "PIP_CACHE_DIR": home / "pip"}
        names = {name: str(place) for name, place in places.items()}
        if self._user is not None and self._user.alone:
            names |= {"USER": "game", "LOGNAME": "game"}  # a number has no name: programs ask here first
        return names

    def _give(self) -> None:
        (self.home / "tmp").mkdir(exist_ok=True)
        if self._user is not None:
            claim(self.home, self._user.owner)
            claim(self.files, self._user.owner)

    def _end(self, group: Group) -> None:
        if self._user is not None and self._user.alone:
            end_user(self._user)
        elif not group.join:  # nothing else tells whose they are; one that hides is not found
            _kill(pid for pid in proc.every() if proc.environment(pid).get("HOME") == str(self.home))
        vanish(group)

    def _take(self, group: Group) -> None:
        self._end(group)
        if self._user is not None:
            take_back(self.home)
            take_back(self.files)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
