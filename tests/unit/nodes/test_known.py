"""Nodes as an instance remembers them, over a clock that is turned."""

from __future__ import annotations

import pytest

from shared.nodes.errors import NodeNotFound
from shared.nodes.known import FRESH_SECONDS, MAX_KNOWN, KnownNodes
from shared.nodes.models import Node
from shared.platform.ids import OrgId
from tests.support.clocks import SetClock

ORG, OTHER = OrgId("org_known"), OrgId("org_other")


class Shelf:
    """The nodes that are there, and how often somebody looked."""

    def __init__(self, clock: SetClock) -> None:
        self.queue, self.reads, self._clock = "first", 0, clock

    async def read(self, org: OrgId, node_id: str) -> Node:
        self.reads += 1
        if org != ORG:
            raise NodeNotFound(f"there is no node {node_id}")
        return Node(id=node_id, org_id=org, name="attic", queue=self.queue, enrolled_at=self._clock.now())


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def shelf(clock: SetClock) -> Shelf:
    return Shelf(clock)


async def test_a_node_is_read_once_in_a_while(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read)
    assert (await known.get(ORG, "nod_1")).queue == "first"
    shelf.queue = "second"
    clock.advance(FRESH_SECONDS - 0.1)
    assert (await known.get(ORG, "nod_1")).queue == "first"
    clock.advance(0.2)
    assert (await known.get(ORG, "nod_1")).queue == "second"
    assert shelf.reads == 2


async def test_what_was_changed_here_is_read_anew(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read)
    await known.get(ORG, "nod_1")
    shelf.queue = "second"
    known.forget(ORG, "nod_1")
    assert (await known.get(ORG, "nod_1")).queue == "second"


async def test_a_node_is_known_to_its_organization_alone(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read)
    await known.get(ORG, "nod_1")
    for _ in range(2):
        with pytest.raises(NodeNotFound):
            await known.get(OTHER, "nod_1")
    assert shelf.reads == 3, "nor is it remembered that there is none"


async def test_what_is_remembered_is_bounded(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read)
    for number in range(MAX_KNOWN + 1):
        await known.get(ORG, f"nod_{number}")
    shelf.reads = 0
    await known.get(ORG, f"nod_{MAX_KNOWN}")
    assert shelf.reads == 0
    await known.get(ORG, "nod_0")
    assert shelf.reads == 1
