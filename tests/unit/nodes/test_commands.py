"""What a report may change of a command's record, over a real store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shared.audit.models import Actor
from shared.composition import Services
from shared.messaging.commands import CommandType
from shared.messaging.reports import Outcome, Status
from shared.nodes.commands import LIFE, MARGIN
from shared.nodes.errors import NodeNotFound
from shared.nodes.models import Node, NodeCommand
from shared.platform.clock import rfc3339
from shared.platform.errors import AlreadyExists
from shared.platform.ids import NodeId, OrgId
from shared.platform.settings import load_settings
from tests.support.clocks import SetClock
from tests.support.cosmos import CosmosPart
from tests.support.processes import dead_address

ORG = OrgId("org_commands")
NODE, OTHER = NodeId("nod_01J00000000000000000000001"), NodeId("nod_01J00000000000000000000002")
GOOD, LATE = Outcome(Status.SUCCEEDED, detail="pong"), Outcome(Status.TIMED_OUT, "no_report")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    endpoint = CosmosPart(tmp_path_factory.mktemp("cosmos"))
    with endpoint.part:
        yield endpoint.database()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest_asyncio.fixture
async def services(database: dict[str, str], tmp_path: Path, clock: SetClock) -> AsyncIterator[Services]:
    """With a broker that is away."""
    with dead_address() as address:
        nowhere = f"Endpoint=sb://{address.removeprefix('http://')};SharedAccessKeyName=k;SharedAccessKey=a2V5"
        settings = {**database, "ServiceBusConnection": f"{nowhere};UseDevelopmentEmulator=true;"}
        made = Services(load_settings({**settings, "secrets_folder": str(tmp_path / "secrets")}), clock=clock)
        yield made
        await made.close()


class Begun:
    """Stands where the durable SDK's client stands: refuses an id twice, as the extension does."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.inputs: dict[str, Any] = {}

    async def start_new(
        self, orchestration_function_name: str, instance_id: str | None = None, client_input: Any = None
    ) -> str:
        assert instance_id is not None
        assert json.dumps(client_input)
        if instance_id in self.names:
            raise Exception("An Orchestration instance with the status Running already exists.")
        self.names[instance_id] = orchestration_function_name
        self.inputs[instance_id] = client_input
        return instance_id


class Dead(Begun):
    """Nothing that is begun begins: the door's process ends here."""

    async def start_new(
        self, orchestration_function_name: str, instance_id: str | None = None, client_input: Any = None
    ) -> str:
        raise ConnectionAbortedError(f"died before {orchestration_function_name} {instance_id}: {client_input}")


async def enrolled(services: Services) -> None:
    node = Node(id=NODE, org_id=ORG, name="attic", queue="node-attic", enrolled_at=services.clock.now())
    with suppress(AlreadyExists):
        await services.store.create(ORG, node)


async def asked(services: Services, id: str) -> None:
    await services.store.create(ORG, NodeCommand(id=id, org_id=ORG, node_id=NODE, command="node.ping"))


async def test_a_request_that_is_tried_again_is_one_command(services: Services) -> None:
    await enrolled(services)
    flows, by = Begun(), Actor(kind="user", id="usr_1")
    made = await services.node_commands.ask(ORG, "tsk_0", NODE, CommandType.NODE_PING, flows=flows, by=by)
    with pytest.raises(AlreadyExists):
        await services.node_commands.ask(ORG, "tsk_0", NODE, CommandType.NODE_PING, flows=flows, by=by)
    again = await services.node_commands.again(ORG, NODE, "tsk_0", flows=flows)
    assert (made.id, made.state) == (again.id, again.state) == ("tsk_0", "sent")
    assert flows.names == {"tsk_0": "node_command", "tsk_0.send": "resend_node_command"}  # the broker is away
    trail = await services.audit.page(ORG)
    assert [event.entry.action for event in trail.items] == ["node.command_sent"]
    assert len((await services.audit.page(ORG)).items) == 1


async def test_the_first_outcome_stands(services: Services) -> None:
    await asked(services, "tsk_1")
    for outcome in (GOOD, LATE):
        await services.node_commands.end(ORG, NODE, "tsk_1", outcome)
    found = await services.node_commands.get(ORG, NODE, "tsk_1")
    assert (found.state, found.outcome["detail"]) == ("succeeded", "pong")


async def test_another_node_tells_nothing(services: Services) -> None:
    await asked(services, "tsk_2")
    await services.node_commands.end(ORG, OTHER, "tsk_2", GOOD)
    assert (await services.node_commands.get(ORG, NODE, "tsk_2")).state == "sent"


async def test_what_is_no_node_is_no_part_of_a_filter(services: Services) -> None:
    with pytest.raises(NodeNotFound):
        await services.node_commands.end(ORG, "nod_1' or true or c.node_id = '", "tsk_2", GOOD)


async def test_a_record_that_is_gone_is_no_failure(services: Services) -> None:
    await services.node_commands.end(ORG, NODE, "tsk_gone", GOOD)


async def test_a_door_that_died_before_the_flow_leaves_no_command_for_ever(services: Services, clock: SetClock) -> None:
    await enrolled(services)
    commands, by = services.node_commands, Actor(kind="user", id="usr_1")
    with pytest.raises(ConnectionAbortedError):
        await commands.ask(ORG, "tsk_3", NODE, CommandType.NODE_PING, flows=Dead(), by=by)
    clock.advance((LIFE + MARGIN).total_seconds() - 1)
    assert (await commands.read(ORG, NODE, "tsk_3")).state == "sent"
    clock.advance(2)
    told = await commands.read(ORG, NODE, "tsk_3")
    assert (told.state, told.outcome["code"]) == ("timed_out", "no_report")

    flows = Begun()
    again = await commands.again(ORG, NODE, "tsk_3", flows=flows)
    assert (again.state, (await commands.read(ORG, NODE, "tsk_3")).state) == ("sent", "sent")
    assert flows.names == {"tsk_3": "node_command", "tsk_3.send": "resend_node_command"}
    assert flows.inputs["tsk_3"]["deadline"] == rfc3339(clock.now() + LIFE)
    clock.advance((LIFE + MARGIN).total_seconds())
    assert (await commands.read(ORG, NODE, "tsk_3")).state == "timed_out"


async def test_a_request_that_comes_again_after_the_answer_sends_nothing(services: Services) -> None:
    await enrolled(services)
    await asked(services, "tsk_4")
    await services.node_commands.end(ORG, NODE, "tsk_4", GOOD)
    flows = Begun()
    found = await services.node_commands.again(ORG, NODE, "tsk_4", flows=flows)
    assert (found.state, flows.names) == ("succeeded", {})
