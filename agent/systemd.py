"""The systemd unit: https://www.freedesktop.org/software/systemd/man/systemd.exec.html."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent.config import SYSTEM_FOLDER
from agent.drivers.cgroup_v2 import GAMES_SERVICE

UNIT_NAME: Final = "meridian-agent.service"
UNIT_FILE: Final = Path("/etc/systemd/system") / UNIT_NAME

_UNIT: Final = """\
[Unit]
Description=Meridian agent: keeps game servers on this machine
Documentation=https://github.com/MeridianConsole/meridian-console
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={command} run
Environment={environment}
Restart=always
RestartSec=2
# Only the agent is ended and restarted: games run on and are found again.
KillMode=process
# Games get control groups of their own. Under version 2 they are below a service that nothing restarts; under version 1
# games stay in this one as well, and systemd must not draw them back into its groups.
Delegate=yes
ExecStartPre=-+/bin/sh -c '{games}'
{state}UMask=0077
# The agent starts games as other users, gives them their files, ends them and writes their control groups; it needs
# nothing else of root.
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SETPCAP
NoNewPrivileges=yes
RestrictSUIDSGID=yes
ProtectSystem=strict
ReadWritePaths={folder}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
OOMScoreAdjust=-500
TasksMax=infinity

[Install]
WantedBy=multi-user.target
"""
#: Starts the service that holds the games' groups, where version 2 is all there is (see `agent.drivers.cgroup_v2`). It is
#: one of systemd's transient units: there is no file to keep in step with the agent, and it ends with the machine.
_GAMES: Final = (
    f"[ ! -e /sys/fs/cgroup/cgroup.controllers ] || systemctl -q is-active {GAMES_SERVICE}"
    f" || exec systemd-run --quiet --collect --unit={GAMES_SERVICE} --slice=system.slice"
    ' --description="Meridian games: holds their control groups"'
    " -p Delegate=yes -p KillMode=process -p TasksMax=infinity /bin/sleep infinity"
)
#: systemd makes the folder if it is the usual one, and lets other users pass through it: games run as some.
_STATE: Final = "StateDirectory=meridian-agent\nStateDirectoryMode=0711\n"


def unit(command: Sequence[str], folder: Path, python: str) -> str:
    """The unit's text. `command` is how this agent is called, `python` what runs it."""
    return _UNIT.format(
        command=" ".join(map(_quoted, command)),
        environment=f"{_quoted(f'MERIDIAN_AGENT_FOLDER={folder}')} {_quoted(f'MERIDIAN_AGENT_PYTHON={python}')}",
        folder=_quoted(str(folder)),
        games=_GAMES,
        state=_STATE if folder == SYSTEM_FOLDER else "",
    )


def _quoted(text: str) -> str:
    """A word as systemd reads it (systemd.syntax(7)): a percent sign begins a specifier, a dollar sign a variable."""
    text = text.replace("%", "%%")
    plain = all(letter.isalnum() or letter in "/._-=+:@%" for letter in text)
    return text if plain else '"{}"'.format(text.replace("\\", r"\\").replace('"', r"\""))


def out_of_reach(*paths: Path) -> list[str]:
    """Which of these the unit could not see: it is shut off from the homes of people."""
    homes = (Path("/home"), Path("/root"), Path("/run/user"))
    return [str(path) for path in paths if any(path.resolve().is_relative_to(home) for home in homes)]
