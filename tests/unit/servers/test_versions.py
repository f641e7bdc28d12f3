"""A server of another version of its template: other ports are held in the same batch; what is hidden is not listed."""

from __future__ import annotations

from typing import Any

import pytest

from shared.composition import Services
from shared.servers.asking import Asked
from shared.servers.errors import NoRoom
from shared.servers.views import ServerEdit, ServerView
from shared.templates.documents import validate
from tests.unit.servers.port_house import House, key, node
from tests.unit.servers.test_reserving import ANN, ORG

TEMPLATE = "tpl_01ARZ3NDEKTSV4RRFFQ69G5FAV"
POOL = node("a", (30_000, 30_009))
GAME: dict[str, Any] = {"name": "game", "protocol": "udp"}
BASE: dict[str, Any] = {
    "schema": 1,
    "key": "small",
    "name": "Small",
    "game": "small",
    "start": {"argv": "./game"},
    "variables": [
        {"name": "SHOWN", "default": "a"},
        {"name": "HIDDEN", "default": "b", "visible": False},
        {"name": "SECRET", "secret": True, "generate": "password"},
    ],
}


async def made(house: House, *ports: dict[str, Any], **changes: Any) -> Asked:
    """A server of the first version of a template with these ports."""
    await house.services.templates.create(ORG, TEMPLATE, validate({**BASE, "ports": list(ports), **changes}), by=ANN)
    return await house.create(template=TEMPLATE)


async def upgraded(house: House, asked: Asked, *ports: dict[str, Any]) -> dict[str, int]:
    """The ports after an upgrade to a version that has these."""
    after = validate({**BASE, "ports": list(ports)})
    await house.services.templates.add_version(ORG, TEMPLATE, after, etag=None, by=ANN)
    server, _, needs = await house.services.servers.edit(
        ORG, asked.server.id, ServerEdit(version=2), etag=None, actor=ANN
    )
    assert (server.template.version, needs) == (2, "restart")
    return dict(server.ports)


@pytest.mark.parametrize(
    ("before", "after", "ports", "held"),
    [
        pytest.param(
            [GAME],
            [GAME, {"name": "rcon", "protocol": "tcp"}],
            {"game": 30_000, "rcon": 30_000},
            ["udp 30000", "tcp 30000"],
            id="one_more",
        ),
        pytest.param(
            [GAME, {"name": "rcon", "protocol": "udp"}], [GAME], {"game": 30_000}, ["udp 30000"], id="one_less_is_free"
        ),
        pytest.param([GAME], [{**GAME, "name": "play"}], {"play": 30_000}, ["udp 30000"], id="another_name"),
        pytest.param(
            [GAME], [{**GAME, "protocol": "both"}], {"game": 30_000}, ["tcp 30000", "udp 30000"], id="tcp_as_well"
        ),
        pytest.param(
            [GAME, {"name": "other", "protocol": "udp"}],
            [GAME, {"name": "other", "protocol": "udp", "offset_of": "game", "offset": 2}],
            {"game": 30_000, "other": 30_002},
            ["udp 30000", "udp 30002"],
            id="in_a_fixed_distance",
        ),
    ],
)
async def test_an_upgrade_holds_the_ports_of_its_version(
    services: Services, before: list[Any], after: list[Any], ports: dict[str, int], held: list[str]
) -> None:
    house = House(services, POOL)
    asked = await made(house, *before)
    assert await upgraded(house, asked, *after) == ports
    ((_, _, keys),) = await house.held()
    assert sorted(keys) == sorted(f"{one.split()[0]}/0.0.0.0:{one.split()[1]}" for one in held)


async def test_ports_of_others_are_not_taken_by_an_upgrade(services: Services) -> None:
    house = House(services, POOL)
    asked = await made(house, GAME)
    other = await house.create("two", template=TEMPLATE)
    assert other.server.ports == {"game": 30_001}
    near = {"name": "query", "protocol": "udp", "offset_of": "game", "offset": 1}
    assert await upgraded(house, asked, GAME, near) == {"game": 30_002, "query": 30_003}


async def test_an_upgrade_for_which_there_are_no_ports_is_refused_and_changes_nothing(services: Services) -> None:
    house = House(services, node("a", (30_000, 30_000)))
    asked = await made(house, GAME)
    with pytest.raises(NoRoom, match="no port is free for game, query"):
        await upgraded(house, asked, GAME, {"name": "query", "protocol": "udp", "offset_of": "game", "offset": 1})
    assert (await house.server(asked)).template.version == 1
    assert await house.held() == [("nod_a", asked.server.id, (key(30_000).replace("tcp", "udp"),))]


async def test_what_a_template_hides_is_listed_to_nobody(services: Services) -> None:
    house = House(services, POOL)
    asked = await made(house, GAME)
    server, observed = await services.servers.get(ORG, asked.server.id)
    assert ServerView.of(server, observed).variables == {"SHOWN": "a", "SECRET": None}
    secrets = await services.servers.secrets_of(ORG, server, by=ANN)
    shown = ServerView.of(server, observed, reveal=secrets).variables
    assert shown == {"SHOWN": "a", "HIDDEN": "b", "SECRET": secrets["SECRET"]}
    changed, *_ = await services.servers.edit(
        ORG, server.id, ServerEdit(variables={"HIDDEN": "c"}), etag=None, actor=ANN
    )
    assert ServerView.of(changed, None).variables == {"SHOWN": "a", "SECRET": None}
    assert changed.variables["HIDDEN"] == "c"
