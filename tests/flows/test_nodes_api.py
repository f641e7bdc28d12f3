"""What members do with nodes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.config import load_config
from agent.enrol import enrol
from tests.support.house import HouseForTests
from tests.support.people import ApiClient
from tests.support.server_house import api_  # noqa: F401  # a fixture


def join(house: HouseForTests, api: ApiClient, folder: Path, name: str | None, **token: object) -> str:
    """A node of that name: enrolled for real, its agent not started."""
    made = api.post("/v1/enrolment-tokens", token)
    assert made.status_code == 201, made.text
    config = load_config(None, {}, {"folder": str(folder / os.urandom(4).hex()), "api_url": house.api})
    return asyncio.run(enrol(config, made.json()["token"], name)).node_id


def test_names_are_free_or_numbered_and_can_be_changed(house: HouseForTests, api: ApiClient, tmp_path: Path) -> None:
    first, second = (join(house, api, tmp_path, "Attic PC") for _ in range(2))
    assert api.get(f"/v1/nodes/{first}").json()["name"] == "attic-pc"
    assert api.get(f"/v1/nodes/{second}").json()["name"] == "attic-pc-2"
    taken = api.change("PATCH", f"/v1/nodes/{second}", {"name": "attic-pc"})
    assert (taken.status_code, taken.json()["code"]) == (409, "node_name_taken")
    renamed = api.change("PATCH", f"/v1/nodes/{first}", {"name": "Keller"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Keller")
    assert api.change("PATCH", f"/v1/nodes/{second}", {"name": "attic-pc"}).status_code == 200  # it is free now
    stale = api.change("PATCH", f"/v1/nodes/{first}", {"name": "x"}, etag='"stale"')
    assert stale.status_code == 412


def test_states_move_as_the_table_says(house: HouseForTests, api: ApiClient, tmp_path: Path) -> None:
    path = f"/v1/nodes/{join(house, api, tmp_path, 'mover')}"
    for event, state in (("drain", "drained"), ("maintenance", "maintenance"), ("resume", "active")):
        reply = api.post(f"{path}/{event}", {"reason": "test"})
        assert (reply.status_code, reply.json()["state"]) == (200, state), reply.text
    refused = api.post(f"{path}/resume", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "node_state_conflict")
    assert "active cannot resume" in refused.json()["detail"]
    trail = [one["action"] for one in api.get("/v1/audit?limit=50").json()["items"]]
    assert trail.count("node.changed") >= 3


def test_lists_filter_by_label_state_and_name_and_page(house: HouseForTests, api: ApiClient, tmp_path: Path) -> None:
    ids = [
        join(house, api, tmp_path, f"lab{n}", labels={"zone": "eu", "disk": "ssd" if n else "hdd"}) for n in range(3)
    ]
    assert api.post(f"/v1/nodes/{ids[2]}/drain", {}).status_code == 200

    def found(query: str) -> set[str]:
        return {one["id"] for one in api.get(f"/v1/nodes?{query}").json()["items"]}

    assert found("label=zone%3Deu") == set(ids)
    assert found("label=zone%3Deu&label=disk%3Dssd") == set(ids[1:])
    assert found("label=zone%3Deu&state=drained") == {ids[2]}
    assert found("name=lab0") == {ids[0]}
    page = api.get("/v1/nodes?label=zone%3Deu&limit=2&sort=name").json()
    rest = api.get(page["next"]).json()
    assert [one["name"] for one in page["items"] + rest["items"]] == ["lab0", "lab1", "lab2"]
    assert rest["next"] is None


def test_capacity_is_what_the_machine_has_less_the_reserve(
    house: HouseForTests, api: ApiClient, tmp_path: Path
) -> None:
    path = f"/v1/nodes/{join(house, api, tmp_path, 'big')}"
    memory = api.get(f"{path}/inventory").json()["hardware"]["memory_mib"]
    changed = api.change("PATCH", path, {"reserve_memory_mib": 100, "overcommit_memory": 2.0, "overcommit_cpu": 4.0})
    assert changed.status_code == 200, changed.text
    found = api.get(f"{path}/capacity").json()
    assert found["offered"]["memory_mib"] == (memory - 100) * 2
    assert found["free"] == found["offered"]
    assert (found["servers"], found["ports_held"], found["ports_in_ranges"]) == (0, [], 5000)


def test_a_node_that_was_never_heard_is_waiting(house: HouseForTests, api: ApiClient, tmp_path: Path) -> None:
    path = f"/v1/nodes/{join(house, api, tmp_path, 'quiet')}"
    assert api.get(path).json()["presence"] == "waiting"
    assert api.get(f"{path}/health").json()["status"] == "unknown"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"minutes": 0}, "minutes"),
        ({"minutes": 7 * 24 * 60 + 1}, "minutes"),
        ({"note": "x" * 201}, "note"),
        ({"colour": "red"}, "colour"),
        ({"node_id": "nod_1"}, "node_id"),
    ],
)
def test_a_bad_token_request_is_refused_with_its_place(api: ApiClient, body: dict[str, object], place: str) -> None:
    reply = api.post("/v1/enrolment-tokens", body)
    assert reply.status_code in (400, 404, 422), reply.text
    assert place in reply.text or reply.json()["code"] == "node_not_found"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"token": 7}', b"\xff\xfe", b'{"token": "' + b"x" * 2_000_000 + b'"}'],
    ids=["empty", "broken", "list", "no fields", "wrong type", "no text", "huge"],
)
def test_noise_at_the_door_of_enrolment_is_refused(house: HouseForTests, body: bytes) -> None:
    import requests

    reply = requests.post(
        f"{house.api}/v1/agent/enroll", data=body, headers={"Content-Type": "application/json"}, timeout=30
    )
    assert 400 <= reply.status_code < 500, reply.text
    assert reply.json()["code"]
