"""Joining under adverse conditions: by the real command, against the real API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import requests
from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity import KEY, key_for, make_csr, make_key
from agent.lock import hold
from shared.messaging import codec
from shared.messaging.agent_api import EnrolRequest, Hardware, Platform
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.papers import (
    agent_,  # noqa: F401  # a fixture
    call,
)
from tests.support.people import ApiClient
from tests.support.server_house import api_  # noqa: F401  # a fixture


def token_for(api: ApiClient, **body: object) -> str:
    made = api.post("/v1/enrolment-tokens", body)
    assert made.status_code == 201, made.text
    return str(made.json()["token"])


def redeem(house: HouseForTests, token: str, key: ec.EllipticCurvePrivateKey) -> requests.Response:
    request = EnrolRequest(token, make_csr(key, "x"), "0.1.0", Platform("linux", "x86_64"), Hardware(1, 1024, 1024))
    headers = {"Content-Type": "application/json"}
    return requests.post(f"{house.api}/v1/agent/enroll", data=codec.to_json(request), headers=headers, timeout=60)


def test_a_token_that_is_refused_costs_an_enrolled_machine_nothing(agent: AgentProcess) -> None:
    before = (agent.folder / KEY).read_bytes()
    done = agent.run("enroll", "--force", "--token", "mce_" + "A" * 43)
    assert (done.returncode, "unknown, spent" in done.stderr) == (1, True), done.stderr
    assert (agent.folder / KEY).read_bytes() == before
    assert call(agent).status_code == 200


def test_a_lost_answer_is_given_again_to_a_machine_that_is_enrolled_anew(
    house: HouseForTests, api: ApiClient, agent: AgentProcess
) -> None:
    token, folder = token_for(api, node_id=agent.node_id), agent.folder
    (folder / KEY).write_text("damaged")
    assert redeem(house, token, make_key(folder / key_for(token))).status_code == 200  # and the answer is lost
    done = agent.run("enroll", "--force", "--token", token)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.glob("node.key*")] == [KEY], "of all keys the one that is in use"
    assert call(agent).status_code == 200


def test_a_folder_that_an_agent_works_in_is_not_enrolled(agent: AgentProcess) -> None:
    with hold(agent.folder):
        done = agent.run("enroll", "--force", "--token", "mce_" + "A" * 43)
    assert (done.returncode, "stop it first" in done.stderr) == (1, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_of_many_machines_with_one_token_one_joins(house: HouseForTests, api: ApiClient) -> None:
    token = token_for(api, note="raced")
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda key: redeem(house, token, key), keys))
    assert sorted(reply.status_code for reply in replies) == [200, 403, 403, 403, 403, 403]


def test_one_machine_that_asks_many_times_at_once_is_one_node(house: HouseForTests, api: ApiClient) -> None:
    token, key = token_for(api), ec.generate_private_key(ec.SECP256R1())
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: redeem(house, token, key), range(4)))
    assert [reply.status_code for reply in replies] == [200] * 4, [reply.text for reply in replies]
    nodes = {reply.json()["node_id"] for reply in replies}
    assert len(nodes) == 1
    listed = api.get(f"/v1/nodes/{nodes.pop()}/certificates").json()["items"]
    assert {one["thumbprint"] for one in listed} == {reply.json()["certificate"]["thumbprint"] for reply in replies}


def test_a_forgotten_node_does_not_come_back_by_an_old_token(
    house: HouseForTests, api: ApiClient, agent: AgentProcess
) -> None:
    token = token_for(api, node_id=agent.node_id)
    path = f"/v1/nodes/{agent.node_id}"
    assert api.post(f"{path}/decommission", {"reason": "sold"}).status_code == 200
    key = ec.generate_private_key(ec.SECP256R1())
    assert redeem(house, token, key).status_code == 409
    assert api.change("DELETE", path).status_code == 204
    assert redeem(house, token, key).status_code == 403
    assert api.get(path).status_code == 404
