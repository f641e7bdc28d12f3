"""Which servers one call acts on; and how far back a history goes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from functions.servers import HistoryQuery
from shared.composition import Services
from shared.platform.ids import OrgId
from shared.servers.errors import TooManyChosen
from shared.servers.models import Server, TemplateRef
from shared.servers.service import MAX_CHOSEN
from shared.templates.models import Resources

ORG = OrgId("org_choosing")


async def seed(services: Services, count: int) -> list[str]:
    ids = [f"srv_{number:04d}" for number in range(count)]
    for id in ids:
        server = Server(
            id=id,
            org_id=ORG,
            name=f"s-{id[4:]}",
            labels={"event": "cup"},
            template=TemplateRef(id="system:echo", key="echo", version=1),
            resources=Resources(memory_mib=64, cpu_millicores=100, disk_mib=64),
            node_id=None,
        )
        await services.store.create(ORG, server)
    return ids


async def test_more_than_one_call_acts_on_are_refused_with_how_many_they_are(services: Services) -> None:
    ids = await seed(services, MAX_CHOSEN + 1)
    with pytest.raises(TooManyChosen) as caught:
        await services.servers.chosen(ORG, {"event": "cup"})
    assert "201 servers have these labels, and one call acts on 200 at most" in str(caught.value)
    assert caught.value.figures == {"matched": 201, "limit": 200}
    seen = await services.servers.chosen(ORG, {"event": "cup"}, visible=lambda id: id != ids[7])
    assert {server.id for server in seen} == {*ids} - {ids[7]}, "whom the caller does not see does not count"
    assert await services.servers.chosen(ORG, {"event": "none"}) == []


@pytest.mark.parametrize("asked", [{}, {"hours": 1}, {"hours": 48}, {"hours": 744, "grain": "hour"}])
def test_a_history_is_asked_for(asked: dict[str, Any]) -> None:
    found = HistoryQuery.model_validate(asked)
    assert (found.hours, found.grain) == (asked.get("hours", 24), asked.get("grain", "minute"))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"grain": "day"}, "'minute' or 'hour'"),
        ({"grain": "Hour"}, "'minute' or 'hour'"),
        ({"hours": 0}, "greater than or equal to 1"),
        ({"hours": 745, "grain": "hour"}, "less than or equal to 744"),
        ({"hours": 49}, "hours: 49 by the minute, at most 48: ask for grain=hour"),
    ],
)
def test_what_no_history_has_is_refused(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        HistoryQuery.model_validate(asked)
