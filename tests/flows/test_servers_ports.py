"""A port of the node that something else has: the server gets another by itself, and all can see why."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.server_house import agent_, api_, house_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers, online_with_own_ports
from tests.support.waiting import until


def test_a_port_of_something_else_is_found_out_avoided_and_told(
    servers: Servers, api: ApiClient, agent: AgentProcess
) -> None:
    path = f"/v1/nodes/{agent.node_id}"
    first = api.get(path).json()["port_ranges"][0]["first"]
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind(("0.0.0.0", first))
        foreign.listen()
        made = servers.create("moves")
        assert servers.get(made["server_id"])["ports"] == {"game": first}, "nobody knows yet"
        task = servers.task(made["task_id"])
        assert (task["state"], task["attempt"], task["failure"]) == ("succeeded", 2, None)
        assert [step["name"] for step in task["steps"]].count("place") == 1
        told = task["steps"][0]["detail"]
        assert told.startswith(f"port {first}/tcp is taken on the node by ")
        assert told.endswith(f"(process {os.getpid()}): placed again on attic with game {first + 1}")

        server = servers.get(made["server_id"])
        assert (server["status"], server["ports"]) == ("running", {"game": first + 1})
        assert server["observed"]["bound"] == [f"tcp/{first + 1}"]

        capacity = api.get(f"{path}/capacity").json()
        assert capacity["ports_held"] == [f"tcp/0.0.0.0:{first + 1}"]
        (seen,) = capacity["ports_foreign"]
        assert (seen["protocol"], seen["port"]) == ("tcp", first)
        assert seen["by"].endswith(f"(process {os.getpid()})")

        second = servers.ready("knows")
        assert second["ports"] == {"game": first + 2}
        assert servers.task_of(second["id"])["attempt"] == 1, "the port is avoided from the beginning"

    narrow = api.change("PATCH", path, {"port_ranges": [{"first": first, "last": first}]})
    assert narrow.status_code == 200, narrow.text
    found = api.post("/v1/placements:dry-run", {"template": "echo"}).json()
    reason = found["nodes"][0]["reasons"][0]
    assert (reason["code"], reason["reason"]) == (
        "port_taken",
        f"port {first}/tcp is taken on the node by something else",
    )
    freed = api.post(f"{path}/foreign-ports/forget", {"protocol": "tcp", "port": first})
    assert freed.status_code == 204, freed.text
    found = api.post("/v1/placements:dry-run", {"template": "echo"}).json()
    assert (found["node_id"], found["ports"]) == (agent.node_id, {"game": first}), "its owner knows that it is free"
    trail = api.get("/v1/audit?action=server.placed_again").json()["items"]
    assert [entry["target"]["id"] for entry in trail] == [server["id"]]


DEAF = """
schema: 1
key: deaf
name: Deaf
game: deaf
ports: [{name: game, protocol: tcp}]
resources: {memory_mib: 64, cpu_millicores: 100, disk_mib: 64}
install:
  - kind: write
    path: deaf.py
    content: |
      import socket, sys
      listener = socket.create_server(("", int(sys.argv[1])))
      print("up", flush=True)
      for line in sys.stdin:
          if line.strip() == "deaf":
              listener.close()
start: {argv: [python3, deaf.py, "{{ports.game}}"]}
ready: {kind: log, pattern: up}
health: {kind: port, port: game}
crash: {initial_seconds: 0.5}
"""


def test_a_game_that_answers_no_more_is_ended_and_started_again(servers: Servers, api: ApiClient) -> None:
    made = api.post("/v1/templates", {"source": DEAF})
    assert made.status_code == 201, made.text
    server = servers.ready("deaf", made.json()["id"])
    until(lambda: servers.get(server["id"])["observed"]["bound"], "it was seen to listen")
    time.sleep(11)  # the agent asks each ten seconds; its first answer is what makes silence mean something
    assert api.post(f"/v1/servers/{server['id']}/console", {"line": "deaf"}).status_code == 202

    def back() -> bool:
        found = servers.get(server["id"])
        return bool(found["status"] == "running" and found["observed"]["crashes"] == 1)

    until(back, "it was ended and came back", 60)
    assert servers.get(server["id"])["observed"]["pid"] != server["observed"]["pid"]
    servers.done(server["id"], "kill")


def test_where_its_node_has_no_other_port_it_goes_to_another_node(
    house: HouseForTests, servers: Servers, api: ApiClient, agent: AgentProcess, tmp_path: Path
) -> None:
    with AgentProcess.enrolled(house, api, tmp_path, name="cellar") as other, socket.socket() as foreign:
        online_with_own_ports(api, other.node_id)
        foreign.bind(("0.0.0.0", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        # It offers least, so packing takes it first.
        tight = {"port_ranges": [{"first": port, "last": port}], "overcommit_memory": 0.5}
        assert api.change("PATCH", f"/v1/nodes/{agent.node_id}", tight).status_code == 200
        made = servers.create("goes")
        first = servers.get(made["server_id"])
        assert (first["node_id"], first["ports"]) == (agent.node_id, {"game": port})
        task = servers.task(made["task_id"])
        assert (task["state"], task["attempt"], task["node_id"]) == ("succeeded", 2, other.node_id)
        assert "placed again on cellar" in task["steps"][0]["detail"]
        assert [step["name"] for step in task["steps"]].count("install") == 1, (
            "what the first node did is not told as done"
        )

        server = servers.get(made["server_id"])
        assert (server["status"], server["node_id"]) == ("running", other.node_id)
        folder = Path("servers", server["id"])
        assert (other.folder / folder).is_dir()
        until(lambda: not (agent.folder / folder).exists(), "the first node has cleaned")
        held = api.get(f"/v1/nodes/{agent.node_id}/capacity").json()["ports_held"]
        assert f"tcp/0.0.0.0:{port}" not in held
        assert servers.get(server["id"])["status"] == "running", (
            "what the first node says of its cleaning is not of this server"
        )
        servers.done(server["id"], "stop")
