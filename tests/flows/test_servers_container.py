"""A server of a template with an image, through the API and on an agent whose driver is containers, against a real engine."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.podman import IMAGE, Podman, podman_  # noqa: F401  # a fixture
from tests.support.server_house import api_, house_  # noqa: F401  # fixtures
from tests.support.servers import Servers, online_with_own_ports
from tests.support.waiting import until

GAME = """
import os, signal, socket, sys, threading
listener = socket.create_server(("", int(sys.argv[1])))
open("world", "a").write("played ")
print("up in", os.getcwd(), "as", os.environ["GREETING"], open("game.cfg").read().strip(), flush=True)
threading.Thread(target=lambda: [listener.accept() for _ in iter(int, 1)], daemon=True).start()
for line in sys.stdin:
    word = line.strip()
    print("you said", word, flush=True)
    if word == "quit":
        os._exit(0)
    if word == "crash":
        os._exit(7)
"""
TEMPLATE = """
schema: 1
key: boxed
name: Boxed
game: boxed
drivers: [container]
images: {Python: %(image)s}
variables: [{name: GREETING, default: hello}]
ports: [{name: game, protocol: tcp}]
resources: {memory_mib: 128, cpu_millicores: 500, disk_mib: 64}
install:
  - {kind: write, path: game.py, content: %(game)s}
%(more)s
files: [{path: game.cfg, format: text, text: "root {{node.root}}"}]
start: {argv: [/usr/bin/python3, "{{node.root}}/game.py", "{{ports.game}}"], env: {GREETING: "{{variables.GREETING}}"}}
stop: {method: command, value: quit, timeout_seconds: 10}
ready: {kind: log, pattern: up in}
ready_seconds: 60
crash: {initial_seconds: 0.5}
"""
SCRIPT = f"""
  - kind: script
    image: {IMAGE}
    entrypoint: /usr/bin/python3
    script: open("/mnt/server/made.txt", "w").write("by the script")
"""


@pytest.fixture(name="agent", scope="module")
def boxed_agent_(
    podman: Podman, house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    settings = {
        "driver": "container",
        "container_socket": str(podman.socket),
        "install_images": "meridian-test:*",
        "install_network": "none",
    }
    with AgentProcess.enrolled(house, api, tmp_path_factory.mktemp("boxed"), name="dock", **settings) as agent:
        online_with_own_ports(api, agent.node_id)
        yield agent


@pytest.fixture(name="servers", scope="module")
def boxed_servers_(api: ApiClient, agent: AgentProcess) -> Servers:
    assert agent.process is not None
    return Servers(api)


def template(api: ApiClient, more: str = "") -> str:
    reply = api.post("/v1/templates", {"source": TEMPLATE % {"image": IMAGE, "game": json.dumps(GAME), "more": more}})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def said(servers: Servers, server_id: str, line: str) -> None:
    assert servers.api.post(f"/v1/servers/{server_id}/console", {"line": line}).status_code == 202


def test_a_server_lives_its_whole_life_in_a_container(servers: Servers, api: ApiClient, agent: AgentProcess) -> None:
    server = servers.ready("boxed", template(api, SCRIPT), seconds=120, variables={"GREETING": "ann"})
    files = agent.folder / "servers" / server["id"] / "files"
    assert (files / "made.txt").read_text() == "by the script"
    with socket.create_connection(("127.0.0.1", server["ports"]["game"]), timeout=5):
        pass
    assert api.post(f"/v1/servers/{server['id']}/console/watch", {}).status_code == 202
    assert any("up in /home/container as ann root /home/container" in t for t in servers.lines(server["id"], "up in"))
    said(servers, server["id"], "tea")
    servers.lines(server["id"], "you said tea")

    agent.kill()  # its games run on, and are found again
    os.kill(server["observed"]["pid"], 0)
    agent.start()
    assert api.post(f"/v1/servers/{server['id']}/console/watch", {}).status_code == 202
    said(servers, server["id"], "more tea")
    servers.lines(server["id"], "you said more tea")
    assert servers.get(server["id"])["observed"]["pid"] == server["observed"]["pid"]

    said(servers, server["id"], "crash")
    pid = server["observed"]["pid"]
    again = until(
        lambda: (now := servers.get(server["id"]))["status"] == "running" and now["observed"]["pid"] != pid and now,
        "it came back by itself",
    )
    assert again["observed"]["crashes"] == 1

    assert servers.done(server["id"], "stop")["status"] == "stopped"
    assert servers.done(server["id"], "reinstall", {})["status"] == "stopped"
    assert (files / "world").read_text() == "played played "
    assert servers.done(server["id"], "start")["status"] == "running"
    assert servers.done(server["id"], "kill")["status"] == "stopped"
    deleted = api.change("DELETE", f"/v1/servers/{server['id']}")
    assert servers.task(deleted.json()["task_id"])["state"] == "succeeded"
    assert not files.exists()


def test_a_script_in_an_image_that_the_nodes_owner_does_not_allow_is_refused(servers: Servers, api: ApiClient) -> None:
    made = servers.create("foreign", template(api, SCRIPT.replace(IMAGE, "ghcr.io/example/installers:debian")))
    task = servers.task(made["task_id"])
    assert (task["state"], task["failure"]["code"]) == ("failed", "script_not_allowed"), task


def test_an_image_that_cannot_be_had_is_named(servers: Servers, api: ApiClient) -> None:
    source = TEMPLATE % {"image": "127.0.0.1:1/nobody/nothing:1", "game": json.dumps(GAME), "more": ""}
    made = servers.create("imageless", api.post("/v1/templates", {"source": source}).json()["id"])
    task = servers.task(made["task_id"], 120)
    assert (task["state"], task["failure"]["code"], task["failure"]["step"]) == ("failed", "image_missing", "prepare")


def test_an_egg_is_imported_installed_by_its_own_script_and_runs_in_its_image(servers: Servers, api: ApiClient) -> None:
    egg = Path(__file__).with_name("egg_of_ours.json").read_text().replace("IMAGE", IMAGE)
    report = api.post("/v1/templates/import-egg", {"egg": egg, "scripts": True}).json()
    assert not report["draft"], report
    server = servers.ready("hatched", report["id"], seconds=120, variables={"GREETING": '"; exit 9; echo "'})
    api.post(f"/v1/servers/{server['id']}/console/watch", {})
    lines = servers.lines(server["id"], "hatched")
    assert any(f'hatched "; exit 9; echo " {server["ports"]["game"]}' in line for line in lines), lines
    assert servers.done(server["id"], "stop")["status"] == "stopped"
