"""The shim that stands between the agent and a game.

It is a small fixed shell script that waits for the game and writes its exit code to a file. That costs 100 KB and gives
what a child of the agent cannot have: after an agent restart the game is nobody's child, and its exit code would be
lost. The script's text is ours; program and arguments reach it as positional parameters, which a shell passes on
without reading them.

    agent ── shim (leads the session and process group) ── game ── its children
              stdin   a FIFO, held open by the shim: it has no end when the agent goes
              stdout  console.log, opened for appending
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Final

from agent.drivers.base import Plan
from agent.drivers.group import Group
from agent.drivers.tail import LOG
from agent.identity import write_private
from agent.owners import GameUser

WRITTEN: Final = "shim"  # the file that holds the shim's process id
SERVER_VARIABLE: Final = "MERIDIAN_SERVER_ID"

# trap with a command, unlike trap '', is reset in the child: the game sees its signals, the shim outlives them.
_SHIM: Final = """
echo $$ >"$1"
status=$2 joins=$3 environment=$4; shift 4
trap : HUP INT QUIT TERM
IFS=:
for join in $joins; do echo $$ >"$join" || exit 125; done
unset IFS
# The agent may stand under the kernel's protection when memory runs out; a game must not inherit that.
echo 0 2>/dev/null >/proc/self/oom_score_adj || :
"$@" 3<"$environment"
echo $? >"$status"
"""
# What stands before the program, as the game's user already. The game's variables are set here and no earlier: some of
# them (LD_PRELOAD, for one) make whoever starts with them do anything, and the shim runs with the agent's rights.
_ENTER: Final = 'eval "$(/bin/cat <&3)"; exec 3<&-; exec "$@"'


def spawn(home: Path, plan: Plan, command: list[str], directory: Path, group: Group) -> subprocess.Popen[bytes]:
    """Start a command under a shim. `home` is the agent's own place for this server.

    Raises:
        OSError: it cannot be started.
    """
    fifo, status, written, variables = home / "stdin", home / "status", home / WRITTEN, home / "environment"
    for old in (fifo, status, written, variables):
        old.unlink(missing_ok=True)
    os.mkfifo(fifo, 0o600)
    write_private(variables, _exports(plan).encode())
    # Opened for both ends the FIFO neither blocks here nor ever ends for the game.
    with (
        os.fdopen(os.open(fifo, os.O_RDWR | os.O_CLOEXEC), "r+b", buffering=0) as stdin,
        os.fdopen(os.open(home / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as log,
    ):
        joins = ":".join(map(str, group.join))
        shim = ["/bin/sh", "-c", _SHIM, "meridian-shim", str(written), str(status), joins, str(variables)]
        return subprocess.Popen(
            [*shim, *as_user(plan.user), "/bin/sh", "-c", _ENTER, "meridian-enter", *command],
            stdin=stdin,
            stdout=log,
            stderr=log,
            cwd=directory,
            env={**_base(), SERVER_VARIABLE: plan.server_id},
            start_new_session=True,
        )


def as_user(user: GameUser | None) -> list[str]:
    """The words before a command that give it another user and take every privilege."""
    if user is None:
        return []
    identity = [f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"]
    return ["/usr/bin/setpriv", *identity, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--"]


def end_user(user: GameUser) -> None:
    """Kill whatever this user runs. For one that is a server's alone: nothing that a game left behind outlives it.

    A process that has left the group cannot hide from that, and one that goes on forking is not faster: the kernel signals
    all of a user's processes in one go (kill(2), -1), but never the one that asks.
    """
    assert user.alone, user
    subprocess.run([*as_user(user), "/bin/sh", "-c", "kill -KILL -1"], stderr=subprocess.DEVNULL, check=False)


def _base() -> dict[str, str]:
    """Of our own environment: where programs are, and the language."""
    usual = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
    return {name: os.environ.get(name, value) for name, value in usual.items()}


def _exports(plan: Plan) -> str:
    """What the game finds in its environment beside that, for a shell to read."""
    found = {"HOME": str(plan.folder), **plan.launch.env}
    if plan.user is not None and plan.user.alone:
        found = {"USER": "game", "LOGNAME": "game", **found}  # a number has no name: programs ask here first
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in found.items() if name != SERVER_VARIABLE)


def read_status(path: Path) -> int | None:
    """The exit code as the shim saw it: a shell tells death by signal n as 128 + n."""
    try:
        code = int(path.read_text())
    except (OSError, ValueError):
        return None
    return 128 - code if 128 < code <= 128 + signal.NSIG else code


def kill_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
