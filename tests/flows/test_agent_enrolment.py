"""Enrolment tokens that are unknown, revoked or spent: they enrol nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.identity import Identity, make_csr
from shared.messaging.agent_api import EnrolRequest, Hardware, Platform
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.papers import agent_  # noqa: F401  # a fixture
from tests.support.people import ApiClient
from tests.support.server_house import api_  # noqa: F401  # a fixture


@pytest.mark.parametrize("token", ["", "mce_" + "A" * 43, "x" * 300, "mce_short"])
def test_an_unknown_token_enrols_nothing(house: HouseForTests, tmp_path: Path, token: str) -> None:
    failed = AgentProcess(house, tmp_path / "a").run("enroll", "--token", token or " ")
    assert failed.returncode == 1
    assert not (tmp_path / "a" / "node.json").exists()


def test_a_revoked_token_enrols_nothing_and_a_lost_answer_is_given_again(
    house: HouseForTests, api: ApiClient, tmp_path: Path
) -> None:
    made = api.post("/v1/enrolment-tokens", {}).json()
    assert api.change("DELETE", f"/v1/enrolment-tokens/{made['id']}", etag="*").status_code == 204
    assert AgentProcess(house, tmp_path / "a").run("enroll", "--token", made["token"]).returncode == 1

    token = api.post("/v1/enrolment-tokens", {}).json()["token"]
    agent = AgentProcess(house, tmp_path / "b")
    assert agent.run("enroll", "--token", token).returncode == 0
    node_id = agent.node_id
    (agent.folder / "node.json").unlink()  # as if the answer had been lost: the key is there, the papers are not
    assert agent.run("enroll", "--token", token).returncode == 0
    assert agent.node_id == node_id


async def test_a_spent_token_is_answered_again_for_ten_minutes_only(
    house: HouseForTests, api: ApiClient, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was stolen together with the shell's history must not get in again once its certificate is revoked."""
    from shared.composition import Services
    from shared.nodes.errors import EnrolmentRefused
    from shared.nodes.joining import ANSWERED_AGAIN
    from shared.platform.settings import load_settings
    from tests.support.clocks import SetClock

    for name, value in house.settings().items():
        monkeypatch.setenv(name, value)
    clock = SetClock(datetime.now(UTC))
    services = Services(load_settings(), clock=clock)
    again = EnrolRequest(
        agent.token, make_csr(Identity(agent.folder).key, "attic"), "0.1.0", Platform("linux", "x86_64"),
        Hardware(1, 1024, 1024),
    )  # fmt: skip
    try:
        assert (await services.joining.redeem(again, "192.0.2.1")).node_id == agent.node_id
        clock.advance(ANSWERED_AGAIN.total_seconds() + 1)
        with pytest.raises(EnrolmentRefused):
            await services.joining.redeem(again, "192.0.2.1")
    finally:
        await services.close()
