"""What a node has against what it should have. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.messaging.agent_api import ServerState
from shared.tasks.models import Task, TaskKind

#: A beat names at most this many servers: one that is full says nothing of what is missing.
MOST_IN_A_BEAT: Final = 500
#: Of nothing that was installed: left alone when its room is given away.
NOTHING_THERE: Final = ("absent", "install_failed", "left_over")
#: After a reconciliation: five minutes, doubled with each that follows. One that went well counts too: a node that goes on
#: saying otherwise, by a fault or on purpose, must not keep us busy.
FIRST_REST: Final = timedelta(minutes=5)
LONGEST_REST: Final = timedelta(hours=6)


class Kind(StrEnum):
    """In which way a node has something else than it should."""

    MISSING = "missing"  # it should have the server, and does not know it
    BEHIND = "behind"  # it has an older revision
    AHEAD = "ahead"  # it has a newer one: our store was set back
    OWED = "owed"  # it should have removed the server, or not have begun with it
    STRANGER = "stranger"  # nothing is known of such a server on this node


@dataclass(frozen=True, slots=True)
class Wanted:
    """A server as we know it on this node. `gone` when it is deleted and the node owes us the cleaning."""

    id: str
    revision: int
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference. `said` is the node's revision, 0 for none; `wanted` ours, 0 for none."""

    server_id: str
    kind: Kind
    said: int
    wanted: int

    @property
    def text(self) -> str:
        """For the audit trail."""
        match self.kind:
            case Kind.MISSING:
                return f"the node does not know it, revision {self.wanted} is desired"
            case Kind.OWED:
                return "the node has not cleaned it away"
            case Kind.STRANGER:
                return "nothing is known of it"
            case _:
                return f"the node has revision {self.said}, {self.wanted} is desired"


def compare(said: Iterable[ServerState], wanted: Iterable[Wanted], held: Collection[str]) -> list[Drift]:
    """Every difference. `held` are the servers that hold room on the node: what holds none must not run there."""
    there: Mapping[str, ServerState] = {one.id: one for one in said}
    found: list[Drift] = []
    known: set[str] = set()
    for server in wanted:
        known.add(server.id)
        one = there.get(server.id)
        kind = _kind(server, one, holds=server.id in held, full=len(there) >= MOST_IN_A_BEAT)
        if kind is not None:
            found.append(Drift(server.id, kind, one.revision if one else 0, server.revision))
    found += [Drift(one.id, Kind.STRANGER, one.revision, 0) for one in there.values() if one.id not in known]
    return found


def _kind(server: Wanted, one: ServerState | None, *, holds: bool, full: bool) -> Kind | None:
    if server.gone:
        return Kind.OWED
    if not holds:  # its provisioning failed, and its room is given away
        return Kind.OWED if one is not None and one.state not in NOTHING_THERE else None
    if one is None:
        return None if full else Kind.MISSING
    if one.revision == server.revision:
        return None
    return Kind.BEHIND if one.revision < server.revision else Kind.AHEAD


def rests_until(tasks: Iterable[Task]) -> datetime | None:
    """When a server may be reconciled again; None for now. `tasks` are its tasks, the newest first."""
    in_a_row, last = 0, None
    for task in tasks:
        if task.kind is not TaskKind.RECONCILE:
            break
        in_a_row, last = in_a_row + 1, last or task.ended_at
    return None if last is None else last + min(LONGEST_REST, FIRST_REST * 2 ** min(in_a_row - 1, 10))


def may_begin(drift: Drift, tasks: Collection[Task], now: datetime) -> bool:
    """Whether this is the moment: nothing is under way, the last try was long enough ago, and it is ours to decide.

    What nobody remembers is not ours to destroy: a stranger is removed only when a member has had it deleted. It may be
    that the store was set back to a time before the server was made.
    """
    if any(not task.state.final for task in tasks):
        return False
    if drift.kind is Kind.STRANGER and not any(task.kind is TaskKind.DELETE for task in tasks):
        return False
    until = rests_until(tasks)
    return until is None or until <= now
