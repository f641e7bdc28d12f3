"""The systemd unit: https://www.freedesktop.org/software/systemd/man/systemd.exec.html."""

from __future__ import annotations

from pathlib import Path
from typing import Final

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
Restart=always
RestartSec=2
# Only the agent is ended and restarted: games are in groups of their own and are found again.
KillMode=process
Delegate=yes
StateDirectory=meridian-agent
StateDirectoryMode=0700
UMask=0077
# The agent must start games as another user and write their control groups; it needs nothing else of root.
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SETPCAP CAP_SYS_RESOURCE
NoNewPrivileges=no
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


def unit(command: str, folder: Path) -> str:
    """The unit's text. `command` is how this agent is called."""
    return _UNIT.format(command=command, folder=folder)
