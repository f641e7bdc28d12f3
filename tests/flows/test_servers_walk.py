"""The main job, from sign-up to a running process: real sign-in, real agent, real orchestration, real program."""

from __future__ import annotations

import os
import socket

import pytest

from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.server_house import agent_, api_, house_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers


def test_a_server_is_created_runs_talks_stops_starts_and_is_deleted(
    servers: Servers, api: ApiClient, agent: AgentProcess
) -> None:
    made = servers.create("echo-one", variables={"GREETING": "good evening"})
    assert made["node_id"] == agent.node_id
    task = servers.task(made["task_id"])
    assert task["state"] == "succeeded", task
    assert [(step["name"], step["state"]) for step in task["steps"]] == [
        (name, "done") for name in ("prepare", "install", "configure", "start", "ready")
    ]
    assert task["percent"] == 100

    server = servers.get(made["server_id"])
    assert server["status"] == "running"
    assert server["operation"] is None
    os.kill(server["observed"]["pid"], 0)
    with socket.create_connection(("127.0.0.1", server["ports"]["game"]), timeout=5):
        pass
    assert server["observed"]["bound"] == [f"tcp/{server['ports']['game']}"]

    assert api.post(f"/v1/servers/{server['id']}/console/watch", {}).status_code == 202
    assert "good evening" in servers.lines(server["id"], "listening on")
    assert api.post(f"/v1/servers/{server['id']}/console", {"line": "tea"}).status_code == 202
    servers.lines(server["id"], "you said tea")

    stopped = servers.done(server["id"], "stop")
    assert stopped["status"] == "stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(server["observed"]["pid"], 0)
    refused = api.post(f"/v1/servers/{server['id']}/stop")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_in_this_state")

    started = servers.done(server["id"], "start")
    assert started["status"] == "running"
    assert started["observed"]["pid"] != server["observed"]["pid"]

    deleted = api.change("DELETE", f"/v1/servers/{server['id']}")
    assert deleted.status_code == 202, deleted.text
    assert servers.task(deleted.json()["task_id"])["state"] == "succeeded"
    assert api.get(f"/v1/servers/{server['id']}").status_code == 404
    assert not (agent.folder / "servers" / server["id"]).exists()
