"""What a report may change of a command's record, over a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.messaging.reports import Outcome, Status
from shared.nodes.errors import NodeNotFound
from shared.nodes.models import NodeCommand
from shared.platform.ids import NodeId, OrgId
from shared.platform.settings import load_settings
from tests.support.cosmos import CosmosPart

ORG = OrgId("org_commands")
NODE, OTHER = NodeId("nod_01J00000000000000000000001"), NodeId("nod_01J00000000000000000000002")
GOOD, LATE = Outcome(Status.SUCCEEDED, detail="pong"), Outcome(Status.TIMED_OUT, "no_report")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    endpoint = CosmosPart(tmp_path_factory.mktemp("cosmos"))
    with endpoint.part:
        yield endpoint.database()


@pytest_asyncio.fixture
async def services(database: dict[str, str]) -> AsyncIterator[Services]:
    made = Services(load_settings(database))
    yield made
    await made.close()


async def asked(services: Services, id: str) -> None:
    await services.store.create(ORG, NodeCommand(id=id, org_id=ORG, node_id=NODE, command="node.ping"))


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
