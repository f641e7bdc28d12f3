"""What goes wrong with servers: crashes, nodes that are away, a control plane that is killed, steps that fail."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.server_house import agent_, api_, house_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers
from tests.support.serving import Quiet, serving
from tests.support.waiting import until

TEMPLATE = """
schema: 1
key: brittle
name: Brittle
game: brittle
variables:
  - {name: URL, required: false, default: ""}
ports: [{name: game, protocol: tcp}]
resources: {memory_mib: 64, cpu_millicores: 100, disk_mib: 64}
install:
%s
  - kind: write
    path: brittle.py
    content: |
      import os, sys
      print("up", flush=True)
      for line in sys.stdin:
          word = line.strip()
          if word == "quit":
              break
          print("last words:", word, flush=True)
          os._exit(7)
start: {argv: [python3, brittle.py]}
stop: {method: command, value: quit, timeout_seconds: 5}
ready: {kind: log, pattern: up}
ready_seconds: 20
crash: {initial_seconds: 0.5, longest_seconds: 5.0, loop_count: 3, loop_seconds: 60}
"""


def alive(pid: int) -> bool:
    """Whether the process does anything; one that has ended and that nobody has fetched does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def template(api: ApiClient, steps: str = "") -> str:
    reply = api.post("/v1/templates", {"source": TEMPLATE % steps})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def test_a_crash_is_followed_by_a_start_and_too_many_by_a_crash_loop(servers: Servers, api: ApiClient) -> None:
    server = servers.ready("crasher", template(api))
    pid = server["observed"]["pid"]
    for count, pause in ((1, 0.5), (2, 1.0)):
        killed = time.time()
        os.kill(pid, signal.SIGKILL)

        def back(before: int = pid) -> Any:
            found = servers.get(server["id"])
            again = found["status"] == "running" and found["observed"]["pid"] != before
            return found if again else None

        found = until(back, "it came back")
        assert found["observed"]["crashes"] == count
        pid = found["observed"]["pid"]
        assert psutil.Process(pid).create_time() - killed > pause - 0.05, "it waited, and twice as long the second time"
    assert api.post(f"/v1/servers/{server['id']}/console", {"line": "farewell"}).status_code == 202
    looped = servers.status(server["id"], "crash_loop")
    assert looped["observed"]["exit_code"] == 7
    assert looped["observed"]["last_lines"][-1] == "last words: farewell"
    assert "ended 3 times within 60 s" in looped["observed"]["reason"]
    assert servers.done(server["id"], "start")["status"] == "running", "somebody who asks is given another chance"
    servers.done(server["id"], "kill")


def test_everything_can_be_asked_while_the_node_is_away_and_it_follows_when_it_is_back(
    servers: Servers, api: ApiClient, agent: AgentProcess
) -> None:
    stays, goes = servers.ready("stays"), servers.ready("goes")
    agent.kill()
    try:
        os.kill(stays["observed"]["pid"], 0), os.kill(goes["observed"]["pid"], 0)
        stop = servers.act(stays["id"], "suspend", {"reason": "unpaid"})
        assert servers.get(stays["id"])["status"] == "suspended", "in force at once"
        removed = api.change("DELETE", f"/v1/servers/{goes['id']}")
        assert removed.status_code == 202
        assert servers.get(goes["id"])["status"] == "deleting"
        assert api.post(f"/v1/servers/{stays['id']}/start").json()["code"] == "server_suspended"
    finally:
        agent.start()
    assert servers.task(stop)["state"] == "succeeded"
    assert servers.task(removed.json()["task_id"])["state"] == "succeeded"
    for each in (stays, goes):
        assert not alive(each["observed"]["pid"])
    assert api.get(f"/v1/servers/{goes['id']}").status_code == 404
    assert servers.done(stays["id"], "resume")["status"] == "running"


def test_a_killed_control_plane_loses_nothing(house: HouseForTests, servers: Servers, api: ApiClient) -> None:
    slow = template(api, "  - {kind: pip, packages: ['iniconfig==2.0.0']}")
    made = [servers.create(f"midway-{number}", slow if number % 2 else "echo") for number in range(4)]
    house.kill("host")
    house.start("host")
    for each in made:
        task = servers.task(each["task_id"], 120)
        assert task["state"] == "succeeded", task
        assert servers.get(each["server_id"])["status"] == "running"


def test_what_is_asked_while_the_broker_is_away_is_accepted_and_done_when_it_is_back(
    house: HouseForTests, servers: Servers, api: ApiClient
) -> None:
    server = servers.ready("asked-meanwhile")
    house.kill("bus")
    asked = api.post(f"/v1/servers/{server['id']}/stop")
    assert asked.status_code == 202, asked.text
    house.start("bus")
    task = servers.task(asked.json()["task_id"], 120)
    assert task["state"] == "succeeded", task
    servers.status(server["id"], "stopped")


class Publisher(Quiet):
    """Answers 503 so many times, then serves a file."""

    failures = 0

    def do_GET(self) -> None:
        type(self).failures -= 1
        if type(self).failures >= 0:
            self.send_error(503)
        else:
            self.answer(b"hello")


@pytest.fixture
def publisher() -> Iterator[str]:
    with serving(Publisher) as address:
        yield f"{address}/file"


HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_a_step_that_may_succeed_later_is_tried_again_by_itself(
    servers: Servers, api: ApiClient, publisher: str
) -> None:
    Publisher.failures = 1
    made = servers.create(
        "patient", template(api, f"  - {{kind: download, url: '{publisher}', path: f, digest: '{HELLO}'}}")
    )
    task = servers.task(made["task_id"])
    assert (task["state"], task["attempt"]) == ("succeeded", 2), task


def test_a_failed_step_is_named_lets_go_of_its_room_and_can_be_retried(
    servers: Servers, api: ApiClient, publisher: str
) -> None:
    def free() -> int:
        tried = api.post("/v1/placements:dry-run", {"template": "echo"})
        assert tried.status_code == 200, tried.text
        return int(tried.json()["nodes"][0]["free_memory_mib"])

    before = free()
    wrong = HELLO.replace("2cf2", "0000")
    steps = f"  - {{kind: download, url: '{publisher}', path: f, digest: '{wrong}'}}"
    Publisher.failures = 0
    made = servers.create("doomed", template(api, steps))
    task = servers.task(made["task_id"])
    assert (task["state"], task["failure"]["code"], task["failure"]["step"]) == ("failed", "digest_mismatch", "install")
    assert servers.get(made["server_id"])["status"] == "failed"
    assert free() == before, "what it held is given back"

    retried = api.post(f"/v1/tasks/{made['task_id']}/retry")
    assert retried.status_code == 202, retried.text
    again = servers.task(made["task_id"])
    assert (again["state"], again["attempt"]) == ("failed", 2)
    assert free() == before, "and given back once, not twice"
    assert api.post(f"/v1/tasks/{made['task_id']}/cancel").json()["code"] == "task_over"
    deleted = api.change("DELETE", f"/v1/servers/{made['server_id']}")
    assert servers.task(deleted.json()["task_id"])["state"] == "succeeded"
    assert servers.ready("doomed")["status"] == "running", "its name is free again"


def test_a_task_is_cancelled_in_the_middle_of_an_install(servers: Servers, api: ApiClient) -> None:
    gate = threading.Event()

    class Slow(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            gate.wait(30)

    with serving(Slow) as address:
        unheard = "sha256:" + "ab" * 32  # not what the node's content store has from another test
        steps = f"  - {{kind: download, url: '{address}/', path: f, digest: '{unheard}'}}"
        made = servers.create("stalled", template(api, steps))
        try:
            servers.status(made["server_id"], "installing")
            cancelled = api.post(f"/v1/tasks/{made['task_id']}/cancel")
            assert cancelled.status_code == 202, cancelled.text
            task = servers.task(made["task_id"])
            assert task["state"] == "cancelled"
        finally:
            gate.set()


def test_refusals_name_what_is_wrong(servers: Servers, api: ApiClient) -> None:
    too_much = {"memory_mib": 1_000_000, "cpu_millicores": 100, "disk_mib": 64}
    refused = api.post("/v1/servers", {"name": "giant", "template": "echo", "resources": too_much})
    assert (refused.status_code, refused.json()["code"]) == (409, "no_room")
    assert "short of memory by" in refused.json()["errors"][0]["message"]
    for body, code in (
        ({"name": "x", "template": "nope"}, "template_not_found"),
        ({"name": "x", "template": "echo", "variables": {"NOPE": 1}}, "variables_invalid"),
        ({"name": "Not A Name", "template": "echo"}, "invalid"),
    ):
        answer = api.post("/v1/servers", body)
        assert 400 <= answer.status_code < 500
        assert answer.json()["code"] in (code, "validation_failed", "invalid_request"), answer.text


def test_labels_bulk_actions_and_edits(servers: Servers, api: ApiClient) -> None:
    made = [servers.create(f"fleet-{n}", labels={"event": "cup"}) for n in range(2)]
    for each in made:
        assert servers.task(each["task_id"])["state"] == "succeeded"
    listed = api.get("/v1/servers?label=event=cup").json()["items"]
    assert {each["name"] for each in listed} == {"fleet-0", "fleet-1"}
    result = api.post("/v1/servers/actions", {"labels": {"event": "cup"}, "action": "stop"})
    assert result.status_code == 200, result.text
    for item in result.json()["items"]:
        assert servers.task(item["task_id"])["state"] == "succeeded"
    again = api.post("/v1/servers/actions", {"labels": {"event": "cup"}, "action": "stop"}).json()["items"]
    assert {item["code"] for item in again} == {"not_in_this_state"}

    path = f"/v1/servers/{made[0]['server_id']}"
    edited = api.change("PATCH", path, {"name": "renamed", "variables": {"GREETING": "moin"}})
    assert edited.status_code == 200, edited.text
    assert edited.json()["needs"] == "restart"
    taken = api.change("PATCH", path, {"name": "fleet-1"})
    assert (taken.status_code, taken.json()["code"]) == (409, "server_name_taken")
    assert servers.done(made[0]["server_id"], "start")["name"] == "renamed"
    api.post(f"{path}/console/watch", {})
    servers.lines(made[0]["server_id"], "moin")


def test_a_server_keeps_its_version_until_it_is_upgraded_and_keeps_what_it_wrote(
    servers: Servers, api: ApiClient, agent: AgentProcess
) -> None:
    made = template(api, "  - {kind: write, path: data.txt, content: one}")
    server = servers.ready("upgraded", made)
    files = agent.folder / "servers" / server["id"] / "files"
    (files / "world").write_text("played")
    changed = api.change(
        "PUT", f"/v1/templates/{made}", {"source": TEMPLATE % "  - {kind: write, path: data.txt, content: two}"}
    )
    assert (changed.status_code, changed.json()["version"]) == (200, 2), changed.text

    assert servers.done(server["id"], "reinstall", {"fresh": True})["template"]["version"] == 1
    assert (files / "data.txt").read_text() == "one"
    differs = api.get(f"/v1/templates/{made}/compare?before=1&after=2").json()["changes"]
    assert {change["path"] for change in differs} == {"version", "install.data.txt.content"}

    edited = api.change("PATCH", f"/v1/servers/{server['id']}", {"version": 2})
    assert edited.json()["needs"] == "reinstall", edited.text
    assert (files / "data.txt").read_text() == "one", "nothing changes before somebody says so"
    again = servers.done(server["id"], "restart")
    assert (again["status"], again["template"]["version"]) == ("running", 2)
    assert (files / "data.txt").read_text() == "two"
    assert (files / "world").read_text() == "played"

    bigger = {"memory_mib": 128, "cpu_millicores": 100, "disk_mib": 64}
    assert api.change("PATCH", f"/v1/servers/{server['id']}", {"resources": bigger}).json()["needs"] == "restart"
    giant = {**bigger, "memory_mib": 1_000_000}
    refused = api.change("PATCH", f"/v1/servers/{server['id']}", {"resources": giant})
    assert (refused.status_code, refused.json()["code"]) == (409, "no_room")
