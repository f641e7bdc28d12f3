"""Nodes as an instance remembers them, over a clock that is turned."""

from __future__ import annotations

import pytest

from shared.nodes.errors import NodeNotFound
from shared.nodes.known import ALL_FRESH_SECONDS, FRESH_SECONDS, MAX_KNOWN, KnownNodes
from shared.nodes.models import Node
from shared.platform.ids import OrgId
from tests.support.clocks import SetClock

ORG, OTHER = OrgId("org_known"), OrgId("org_other")


class Shelf:
    """The nodes that are there, and how often somebody looked."""

    def __init__(self, clock: SetClock) -> None:
        self.queue, self.reads, self.lists, self.names, self._clock = "first", 0, 0, ["nod_1"], clock

    async def read(self, org: OrgId, node_id: str) -> Node:
        self.reads += 1
        if org != ORG:
            raise NodeNotFound(f"there is no node {node_id}")
        return self._made(org, node_id)

    async def read_all(self, org: OrgId) -> list[Node]:
        self.lists += 1
        return [self._made(org, name) for name in self.names]

    def _made(self, org: OrgId, id: str) -> Node:
        node = Node(id=id, org_id=org, name="attic", queue=self.queue, enrolled_at=self._clock.now())
        return node.having(etag=f"etag of {self.queue}")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def shelf(clock: SetClock) -> Shelf:
    return Shelf(clock)


async def test_a_node_is_read_once_in_a_while(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read, shelf.read_all)
    assert (await known.get(ORG, "nod_1")).queue == "first"
    shelf.queue = "second"
    clock.advance(FRESH_SECONDS - 0.1)
    assert (await known.get(ORG, "nod_1")).queue == "first"
    clock.advance(0.2)
    assert (await known.get(ORG, "nod_1")).queue == "second"
    assert shelf.reads == 2


async def test_what_was_changed_here_is_read_anew(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read, shelf.read_all)
    await known.get(ORG, "nod_1")
    shelf.queue = "second"
    known.forget(ORG, "nod_1")
    assert (await known.get(ORG, "nod_1")).queue == "second"


async def test_a_node_is_known_to_its_organization_alone(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read, shelf.read_all)
    await known.get(ORG, "nod_1")
    for _ in range(2):
        with pytest.raises(NodeNotFound):
            await known.get(OTHER, "nod_1")
    assert shelf.reads == 3, "nor is it remembered that there is none"


async def test_what_is_remembered_is_bounded(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read, shelf.read_all)
    for number in range(MAX_KNOWN + 1):
        await known.get(ORG, f"nod_{number}")
    shelf.reads = 0
    await known.get(ORG, f"nod_{MAX_KNOWN}")
    assert shelf.reads == 0
    await known.get(ORG, "nod_0")
    assert shelf.reads == 1


async def test_all_are_read_once_a_minute_and_the_chosen_one_once_more(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read, shelf.read_all)
    (node,) = await known.all(ORG)
    clock.advance(ALL_FRESH_SECONDS - 1)
    assert await known.all(ORG) == [node]
    assert await known.still(ORG, node.id, str(node.etag))
    assert (shelf.lists, shelf.reads) == (1, 1)
    assert (await known.get(ORG, node.id)).queue == "first"
    assert shelf.reads == 1, "who sends to it then has what was read"
    clock.advance(2)
    await known.all(ORG)
    assert shelf.lists == 2


async def test_a_chosen_one_that_has_changed_has_all_read_anew(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read, shelf.read_all)
    (node,) = await known.all(ORG)
    shelf.queue = "second"
    assert not await known.still(ORG, node.id, str(node.etag))
    assert (await known.all(ORG))[0].queue == "second"


async def test_a_node_that_came_is_known_at_once_where_it_came_and_else_when_it_is_asked_for(
    shelf: Shelf, clock: SetClock
) -> None:
    known = KnownNodes(clock, shelf.read, shelf.read_all)
    await known.all(ORG)
    shelf.names.append("nod_2")
    assert len(await known.all(ORG)) == 1
    assert len(await known.all(ORG, within=0.0)) == 2
    shelf.names.append("nod_3")
    known.forget(ORG, "nod_3")
    assert len(await known.all(ORG)) == 3


async def test_a_fleet_too_large_to_be_remembered_is_read_each_time(shelf: Shelf, clock: SetClock) -> None:
    known = KnownNodes(clock, shelf.read, shelf.read_all)
    await known.all(ORG)
    shelf.names = [f"nod_{number}" for number in range(MAX_KNOWN + 1)]
    for _ in range(2):
        assert len(await known.all(OTHER)) == MAX_KNOWN + 1
    assert shelf.lists == 3
    assert await known.still(ORG, "nod_1", "etag of first")
