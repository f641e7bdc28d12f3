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
from agent.drivers.programs import own_program
from agent.jail import PathEscapes, inside

#: Where the server's folder is inside: where the images that eggs name expect it.
PLACE: Final = "/home/container"
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
    limits = plan.limits
    return {
        "Image": image,
        "Cmd": list(plan.launch.argv),
        "Entrypoint": [],
        "Env": [f"{name}={value}" for name, value in {**plan.launch.env, "HOME": PLACE}.items()],
        "WorkingDir": str(Path(PLACE) / directory),
        # A terminal, as it is the only standard input that engines keep open when we let go of it.
        "Tty": True,
        "OpenStdin": True,
        "StdinOnce": False,
        "User": _user(plan),
        "Labels": {"meridian.server": plan.server_id},
        "HostConfig": {
            "Binds": [f"{plan.folder.resolve()}:{PLACE}"],
            "NetworkMode": "host",
            "ReadonlyRootfs": True,
            # Java and others unpack libraries there and load them.
            "Tmpfs": {"/tmp": "rw,exec,nosuid,size=100m"},  # noqa: S108  # the container's own
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
    """The limits that are set."""
    limits = plan.limits
    wanted = {"memory": limits.memory_mib, "cpu": limits.cpu_millicores, "processes": limits.processes}
    return [name for name, value in wanted.items() if value]


def _user(plan: Plan) -> str:
    if plan.user is not None:
        return f"{plan.user.uid}:{plan.user.gid}"
    return f"{os.geteuid()}:{os.getegid()}"


def _check(plan: Plan) -> Path:
    """The working directory within the server's folder. A program by its name, or by a whole path, is one of the image's."""
    program = plan.launch.argv[0]
    try:
        directory = inside(plan.folder, plan.launch.directory)
        if program.startswith(f"{PLACE}/"):
            inside(plan.folder, program.removeprefix(f"{PLACE}/"))
        elif "/" in program and not program.startswith("/"):
            own_program(plan, directory)
    except PathEscapes as error:
        raise DriverError("path_escapes", str(error)) from None
    if not directory.is_dir():
        raise DriverError("no_such_folder", f"{plan.launch.directory} is not a folder of this server")
    return directory.relative_to(plan.folder.resolve())
