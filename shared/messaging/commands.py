"""What the control plane may ask of an agent: a closed list, in a signed envelope with an end."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from shared.messaging import codec, jws
from shared.messaging.envelopes import seal, unseal
from shared.messaging.limits import DEFAULT_COMMAND_LIFE, MAX_COMMAND_LIFE, MAX_ID_LENGTH

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
COMMAND_KIND: Final = "meridian-command+jws"


class CommandType(StrEnum):
    """Everything an agent does on demand. There is no "run this": a type not listed here does not exist."""

    NODE_PING = "node.ping"
    NODE_INVENTORY = "node.inventory"
    NODE_DOCTOR = "node.doctor"
    NODE_UPDATE = "node.update"  # change to a signed release of the agent, and back if it does not hold
    SERVER_APPLY = "server.apply"  # keep this desired state: install, configure, start or stop until it is so
    SERVER_REMOVE = "server.remove"
    SERVER_KILL = "server.kill"
    SERVER_CANCEL = "server.cancel"  # end the work that another command began on this server
    SERVER_CONSOLE = "server.console"  # one line for the game's standard input
    SERVER_WATCH = "server.watch"  # upload console output until the lease ends

    @property
    def about_server(self) -> bool:
        """Whether the command names a server."""
        return self.value.startswith("server.")

    @property
    def changes_desired_state(self) -> bool:
        """Whether the desired revision counts: a late one of these must not undo a newer one."""
        return self in _REVISIONED


_REVISIONED: Final = frozenset({CommandType.SERVER_APPLY, CommandType.SERVER_REMOVE, CommandType.SERVER_KILL})


@dataclass(frozen=True, slots=True)
class Order:
    """What a flow wants done on a node, before it becomes a command.

    `step` names the wait within the flow: the command's id follows from task and step, so an activity that is run
    twice sends the same command twice, which the queue's duplicate detection and the agent's journal make one.
    A new attempt of a step is another step name (`install#2`).
    """

    type: CommandType
    step: str
    server_id: str | None = None
    desired_revision: int = 0
    payload: Mapping[str, Any] = field(default_factory=dict)
    life: timedelta = DEFAULT_COMMAND_LIFE


@dataclass(frozen=True, slots=True)
class Command:
    """The signed content. Times are UTC; `task_id` is the orchestration that waits for the report."""

    id: str
    type: CommandType
    org_id: str
    node_id: str
    issued_at: datetime
    expires_at: datetime
    desired_revision: int = 0
    server_id: str | None = None
    task_id: str | None = None
    traceparent: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("id", "org_id", "node_id", "server_id", "task_id"):
            text = getattr(self, name)
            if text is not None and not 0 < len(text) <= MAX_ID_LENGTH:
                raise codec.WireError(f"command.{name}: {len(text)} characters, 1 to {MAX_ID_LENGTH} allowed")
        if self.server_id is not None and not _ID.fullmatch(self.server_id):
            raise codec.WireError(f"command.server_id: {self.server_id[:40]!r} is not an id")  # it names folders
        if self.desired_revision < 0:
            raise codec.WireError(f"command.desired_revision: {self.desired_revision} is below 0")
        if self.type.about_server and self.server_id is None:
            raise codec.WireError(f"command.server_id: {self.type} names a server, and none is given")
        if not timedelta(0) < self.expires_at - self.issued_at <= MAX_COMMAND_LIFE:
            raise codec.WireError(f"command.expires_at: must lie within {MAX_COMMAND_LIFE} after issued_at")


def command_id(task_id: str, step: str) -> str:
    """The id of the command that a task sends for a step: the same each time it is asked."""
    digest = hashlib.sha256(f"{task_id}\x00{step}".encode()).hexdigest()
    return f"cmd_{digest[:32]}"


def report_event(command: str) -> str:
    """The external event that carries a command's outcome to the orchestration: one name per wait, lower case.

    Durable Functions keeps only the last of several events of one name that came before the wait, so no two waits of an
    instance may share a name.
    """
    return f"report.{command.lower()}"


def build_command(
    order: Order, org_id: str, node_id: str, task_id: str, now: datetime, traceparent: str | None
) -> Command:
    """The command of an order.

    Raises:
        WireError: the order breaks a limit.
    """
    return Command(
        id=command_id(task_id, order.step),
        type=order.type,
        org_id=org_id,
        node_id=node_id,
        issued_at=now,
        expires_at=now + order.life,
        desired_revision=order.desired_revision,
        server_id=order.server_id,
        task_id=task_id,
        traceparent=traceparent,
        payload=dict(order.payload),
    )


def seal_command(command: Command, key: jws.PrivateKey, key_id: str) -> str:
    """The signed envelope, as it travels in the message's body.

    Raises:
        WireError: the content is larger than an envelope may be.
    """
    return seal(command, COMMAND_KIND, key, key_id)


def open_command(envelope: str, find_key: Callable[[str], jws.PublicKey | None]) -> Command:
    """The command of an envelope whose signature fits.

    Raises:
        SignatureError: unsigned, foreign or changed.
        WireError: signed, but not of the form (a type this side does not know, for one).
    """
    return unseal(Command, envelope, COMMAND_KIND, find_key)
