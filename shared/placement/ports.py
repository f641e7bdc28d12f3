"""Which numbers are free on a node, and finding groups of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shared.placement.models import Node, PortGroup, PortKey

ANY_IPV4, ANY = "0.0.0.0", "::"  # noqa: S104  # meant: these bind every address


def clash(one: str, other: str) -> bool:
    """Whether two sockets on these addresses fight for one number. `::` is dual-stack, so it fights with all."""
    if one == other or ANY in (one, other):
        return True
    return ANY_IPV4 in (one, other) and ":" not in one and ":" not in other


class Taken:
    """The numbers held on a node."""

    def __init__(self, keys: Iterable[PortKey] = ()) -> None:
        self._held: dict[tuple[str, int], list[str]] = {}
        for key in keys:
            self.add(key)

    def add(self, key: PortKey) -> None:
        """Hold a number."""
        self._held.setdefault((key.protocol, key.port), []).append(key.address)

    def free(self, key: PortKey) -> bool:
        """Whether nothing clashes with it."""
        return not any(clash(key.address, held) for held in self._held.get((key.protocol, key.port), ()))


def allocate(node: Node, groups: Iterable[PortGroup]) -> tuple[Mapping[str, int], tuple[PortKey, ...]] | PortGroup:
    """Numbers for all groups, or the first group for which there are none."""
    taken = Taken(key for hold in node.holds for key in hold.ports)
    for foreign in node.foreign:
        taken.add(foreign.key)
    numbers: dict[str, int] = {}
    keys: list[PortKey] = []
    for group in groups:
        for root in _candidates(node, group):
            wanted = _keys(node, group, root)
            if wanted is not None and all(taken.free(key) for key in wanted):
                break
        else:
            return group
        for key in wanted or ():
            taken.add(key)
        keys += wanted or ()
        numbers |= {wish.name: root + wish.offset for wish in group.wishes}
    return numbers, tuple(keys)


def _candidates(node: Node, group: PortGroup) -> Iterator[int]:
    """The preferred number, if the pool has it; then the pool in order."""
    if group.prefer is not None and any(low <= group.prefer <= high for low, high in node.port_ranges):
        yield group.prefer
    for low, high in node.port_ranges:
        yield from range(low, high + 1)


def _keys(node: Node, group: PortGroup, root: int) -> list[PortKey] | None:
    """The keys of a group that begins at `root`; None where it leaves the pool."""
    found = []
    for wish in group.wishes:
        number = root + wish.offset
        if not any(low <= number <= high for low, high in node.port_ranges):
            return None
        found += [PortKey(protocol, node.address, number) for protocol in wish.protocols]
    return found
