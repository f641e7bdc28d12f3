"""A command to a node that is asked for again, over the real store and the real broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.servicebus import ServiceBusClient

from shared.audit.models import Actor
from shared.composition import Services
from shared.messaging.commands import CommandType, command_id
from shared.nodes.commands import LIFE, STEP
from shared.nodes.models import Node
from shared.platform.ids import NodeId, OrgId
from shared.platform.settings import load_settings
from tests.support.clocks import SetClock
from tests.support.house import HouseForTests
from tests.unit.nodes.test_commands import Begun

ORG, NODE = OrgId("org_again"), NodeId("nod_01J00000000000000000000009")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    with HouseForTests(tmp_path_factory.mktemp("house"), "cosmos", "containers", "bus") as house:
        yield house


async def test_sent_twice_it_is_one_message_and_after_its_life_another(
    house: HouseForTests, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in house.settings().items():
        monkeypatch.setenv(name, value)
    clock = SetClock()
    services = Services(load_settings(), clock=clock)
    node = Node(id=NODE, org_id=ORG, name="attic", queue="node-attic-0000", enrolled_at=clock.now())
    await services.store.create(ORG, node)
    await services.namespaces.make_queue(node.namespace, node.queue)
    by = Actor(kind="user", id="usr_1")

    async def again() -> None:
        await services.node_commands.again(ORG, NODE, "tsk_1", flows=Begun())

    def waiting() -> list[str]:
        with (
            ServiceBusClient.from_connection_string(house.settings()["ServiceBusConnection"]) as client,
            client.get_queue_receiver(node.queue) as receiver,
        ):
            return [str(message.message_id) for message in receiver.peek_messages(9, timeout=20)]

    try:
        await services.node_commands.ask(ORG, "tsk_1", NODE, CommandType.NODE_PING, flows=Begun(), by=by)
        await again()
        assert waiting() == [command_id("tsk_1", STEP)]
        clock.advance(LIFE.total_seconds())
        await again()
        await again()
        first, second = waiting()
        assert second.startswith(f"{first}-"), "within a life it is one, and another life is another message"
    finally:
        await services.close()
