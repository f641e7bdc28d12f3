"""The ports of a server whose template's ports change: what is as it was keeps its numbers, the rest is found. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.placement.models import Amount, Hold, Node, PortGroup, PortKey, Reason, Refused, Verdict
from shared.placement.ports import allocate
from shared.servers.demand import port_groups
from shared.servers.errors import NoRoom
from shared.servers.models import Server
from shared.templates.models import Template


@dataclass(frozen=True, slots=True)
class Ports:
    """A number for each named port, and what the server holds with them."""

    numbers: dict[str, int]
    keys: tuple[PortKey, ...]


def same_ports(before: Template, after: Template) -> bool:
    """Whether the servers of both need the same ports of a node, whatever is preferred."""
    return _shapes(before) == _shapes(after)


def ports_after(node: Node, server: Server, before: Template, after: Template) -> Ports:
    """The server's ports by another version of its template, on its node without what itself holds there.

    Raises:
        NoRoom: the node has none for a group that is new or has changed.
    """
    known, numbers, keys, asked = _shapes(before), dict[str, int](), list[PortKey](), list[PortGroup]()
    for group in port_groups(after):
        name = group.wishes[0].name
        number = server.ports.get(name)
        if number is not None and replace(group, prefer=None) == known.get(name):
            numbers |= {wish.name: number + wish.offset for wish in group.wishes}
            keys += [
                PortKey(protocol, server.address, number + wish.offset)
                for wish in group.wishes
                for protocol in wish.protocols
            ]
        else:
            asked.append(replace(group, prefer=number or group.prefer))
    kept = Hold(server.id, Amount(), tuple(keys))
    found = allocate(replace(node, holds=(*node.holds, kept), address=server.address), asked)
    if isinstance(found, PortGroup):
        names = ", ".join(wish.name for wish in found.wishes)
        reason = Reason("port_pool_empty", f"port pool empty: no port is free for {names}")
        raise NoRoom(Refused((Verdict(node.id, node.name, (reason,)),)))
    return Ports(numbers | dict(found[0]), (*keys, *found[1]))


def _shapes(template: Template) -> dict[str, PortGroup]:
    return {group.wishes[0].name: replace(group, prefer=None) for group in port_groups(template)}
