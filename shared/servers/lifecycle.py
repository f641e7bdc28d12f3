"""The life of a server as data. docs/reference/server-states.md is written from these tables.

Three things are kept apart: what is desired (ours, with a revision), what is observed (the node's word, with its time),
and the operation (a task that leads from one to the other). The status that people see follows from the three.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """What people see."""

    PROVISIONING = "provisioning"
    INSTALLING = "installing"
    FAILED = "failed"  # its files could not be installed
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    CRASHED = "crashed"  # waits for the end of its back-off
    CRASH_LOOP = "crash_loop"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    DELETED = "deleted"


class Event(StrEnum):
    """What moves it. The first group is asked by members, the second told by the node."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"
    REINSTALL = "reinstall"
    SUSPEND = "suspend"
    RESUME = "resume"
    DELETE = "delete"
    RETRY = "retry"

    INSTALL_BEGAN = "install_began"
    INSTALLED = "installed"
    INSTALL_FAILED = "install_failed"
    STARTED = "started"
    READY = "ready"
    STOPPED = "stopped"
    CRASHED = "crashed"
    LOOPED = "looped"
    REMOVED = "removed"


ASKED: Final = (
    Event.START,
    Event.STOP,
    Event.RESTART,
    Event.KILL,
    Event.REINSTALL,
    Event.SUSPEND,
    Event.RESUME,
    Event.DELETE,
    Event.RETRY,
)

_S, _E = Status, Event

#: (status, event) -> status. What is not here is refused (asked) or changes nothing (told).
TRANSITIONS: Final[dict[tuple[Status, Event], Status]] = {
    (_S.PROVISIONING, _E.INSTALL_BEGAN): _S.INSTALLING,
    (_S.PROVISIONING, _E.INSTALLED): _S.STOPPED,
    (_S.PROVISIONING, _E.INSTALL_FAILED): _S.FAILED,
    (_S.PROVISIONING, _E.STARTED): _S.STARTING,
    (_S.PROVISIONING, _E.READY): _S.RUNNING,
    (_S.PROVISIONING, _E.DELETE): _S.DELETING,
    (_S.INSTALLING, _E.INSTALLED): _S.STOPPED,
    (_S.INSTALLING, _E.INSTALL_FAILED): _S.FAILED,
    (_S.INSTALLING, _E.STARTED): _S.STARTING,
    (_S.INSTALLING, _E.READY): _S.RUNNING,
    (_S.INSTALLING, _E.DELETE): _S.DELETING,
    (_S.FAILED, _E.RETRY): _S.PROVISIONING,
    (_S.FAILED, _E.REINSTALL): _S.INSTALLING,
    (_S.FAILED, _E.DELETE): _S.DELETING,
    (_S.STOPPED, _E.START): _S.STARTING,
    (_S.STOPPED, _E.RESTART): _S.STARTING,
    (_S.STOPPED, _E.REINSTALL): _S.INSTALLING,
    (_S.STOPPED, _E.SUSPEND): _S.SUSPENDED,
    (_S.STOPPED, _E.DELETE): _S.DELETING,
    (_S.STOPPED, _E.STARTED): _S.STARTING,
    (_S.STOPPED, _E.INSTALL_BEGAN): _S.INSTALLING,
    (_S.STARTING, _E.READY): _S.RUNNING,
    (_S.STARTING, _E.STOPPED): _S.STOPPED,
    (_S.STARTING, _E.CRASHED): _S.CRASHED,
    (_S.STARTING, _E.LOOPED): _S.CRASH_LOOP,
    (_S.STARTING, _E.STOP): _S.STOPPING,
    (_S.STARTING, _E.KILL): _S.STOPPED,
    (_S.STARTING, _E.SUSPEND): _S.SUSPENDED,
    (_S.STARTING, _E.DELETE): _S.DELETING,
    (_S.RUNNING, _E.STOP): _S.STOPPING,
    (_S.RUNNING, _E.RESTART): _S.STARTING,
    (_S.RUNNING, _E.KILL): _S.STOPPED,
    (_S.RUNNING, _E.REINSTALL): _S.INSTALLING,
    (_S.RUNNING, _E.SUSPEND): _S.SUSPENDED,
    (_S.RUNNING, _E.DELETE): _S.DELETING,
    (_S.RUNNING, _E.STOPPED): _S.STOPPED,
    (_S.RUNNING, _E.CRASHED): _S.CRASHED,
    (_S.RUNNING, _E.LOOPED): _S.CRASH_LOOP,
    (_S.STOPPING, _E.STOPPED): _S.STOPPED,
    (_S.STOPPING, _E.KILL): _S.STOPPED,
    (_S.STOPPING, _E.START): _S.STARTING,
    (_S.STOPPING, _E.SUSPEND): _S.SUSPENDED,
    (_S.STOPPING, _E.DELETE): _S.DELETING,
    (_S.CRASHED, _E.STARTED): _S.STARTING,
    (_S.CRASHED, _E.LOOPED): _S.CRASH_LOOP,
    (_S.CRASHED, _E.START): _S.STARTING,
    (_S.CRASHED, _E.RESTART): _S.STARTING,
    (_S.CRASHED, _E.STOP): _S.STOPPED,
    (_S.CRASHED, _E.KILL): _S.STOPPED,
    (_S.CRASHED, _E.REINSTALL): _S.INSTALLING,
    (_S.CRASHED, _E.SUSPEND): _S.SUSPENDED,
    (_S.CRASHED, _E.DELETE): _S.DELETING,
    (_S.CRASH_LOOP, _E.START): _S.STARTING,
    (_S.CRASH_LOOP, _E.RESTART): _S.STARTING,
    (_S.CRASH_LOOP, _E.STOP): _S.STOPPED,
    (_S.CRASH_LOOP, _E.KILL): _S.STOPPED,
    (_S.CRASH_LOOP, _E.REINSTALL): _S.INSTALLING,
    (_S.CRASH_LOOP, _E.SUSPEND): _S.SUSPENDED,
    (_S.CRASH_LOOP, _E.DELETE): _S.DELETING,
    (_S.SUSPENDED, _E.RESUME): _S.STOPPED,
    (_S.SUSPENDED, _E.DELETE): _S.DELETING,
    (_S.DELETING, _E.DELETE): _S.DELETING,  # asked again: the same answer
    (_S.DELETING, _E.REMOVED): _S.DELETED,
}

#: What a node says about the process -> what people see, where nothing of ours stands above it.
OBSERVED: Final[dict[str, Status]] = {
    "absent": _S.PROVISIONING,
    "installing": _S.INSTALLING,
    "install_failed": _S.FAILED,
    "stopped": _S.STOPPED,
    "starting": _S.STARTING,
    "running": _S.RUNNING,
    "stopping": _S.STOPPING,
    "backing_off": _S.CRASHED,
    "crash_loop": _S.CRASH_LOOP,
    "removed": _S.DELETED,
}


def allowed(status: Status) -> tuple[Event, ...]:
    """What may be asked in a status."""
    return tuple(event for event in ASKED if (status, event) in TRANSITIONS)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> provisioning: created"]
    grouped: dict[tuple[Status, Status], list[str]] = {}
    for (source, event), target in TRANSITIONS.items():
        grouped.setdefault((source, target), []).append(event.value)
    lines += [f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in grouped.items()]
    return "\n".join([*lines, "    deleted --> [*]"])
