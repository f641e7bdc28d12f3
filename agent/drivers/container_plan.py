"""What a container is made of: the engine's description of a server.

Hardened as far as games allow: no capabilities, no new privileges, a read-only root with the server's folder as the one
place to write, bounded processes and logs. The network is the host's: the ports were reserved on the host, games
announce their own address, and a NAT in between breaks most query protocols.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from agent.drivers.base import DriverError, Plan
from agent.drivers.programs import check_runtime, own_program
from agent.jail import PathEscapes, inside

PLACE: Final = "/server"  # where the server's folder is inside
LOG_MIB: Final = 5


def description(plan: Plan, usual_image: str) -> dict[str, Any]:
    """The body of the engine's call that makes a container.

    Raises:
        DriverError: `no_image`, or what is to run leads out of the server's folder.
    """
    image = plan.image or usual_image
    if not image:
        raise DriverError("no_image", "a container needs an image, and the template names none")
    directory = _check(plan)
    place = str(plan.folder.resolve())
    limits = plan.limits
    return {
        "Image": image,
        "Cmd": [token.replace(place, PLACE) for token in plan.launch.argv],
        "Entrypoint": [],
        "Env": [f"{name}={value.replace(place, PLACE)}" for name, value in {**plan.launch.env, "HOME": PLACE}.items()],
        "WorkingDir": str(Path(PLACE) / directory),
        # A terminal, as it is the only standard input that engines keep open when we let go of it.
        "Tty": True,
        "OpenStdin": True,
        "StdinOnce": False,
        "User": _user(plan),
        "Labels": {"meridian.server": plan.server_id},
        "HostConfig": {
            "Binds": [f"{place}:{PLACE}"],
            "NetworkMode": "host",
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": "size=100m"},  # noqa: S108  # the container's own
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": limits.processes or None,
            "Memory": limits.memory_mib * 2**20,
            "MemorySwap": limits.memory_mib * 2**20,
            "NanoCpus": limits.cpu_millicores * 1_000_000,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": f"{LOG_MIB}m", "max-file": "1"}},
            "Init": True,
        },
    }


def limited(plan: Plan) -> list[str]:
    limits = plan.limits
    wanted = {"memory": limits.memory_mib, "cpu": limits.cpu_millicores, "processes": limits.processes}
    return [name for name, value in wanted.items() if value]


def _user(plan: Plan) -> str:
    if plan.user is not None:
        return f"{plan.user.uid}:{plan.user.gid}"
    return f"{os.geteuid()}:{os.getegid()}"


def _check(plan: Plan) -> Path:
    """The working directory within the server's folder; that and the program are held to the same rules as a process's."""
    try:
        directory = inside(plan.folder, plan.launch.directory)
        if "/" in plan.launch.argv[0]:
            own_program(plan, directory)
        else:
            check_runtime(plan.launch.argv[0])
    except PathEscapes as error:
        raise DriverError("path_escapes", str(error)) from None
    if not directory.is_dir():
        raise DriverError("no_such_folder", f"{plan.launch.directory} is not a folder of this server")
    return directory.relative_to(plan.folder.resolve())
