"""Servers for tests: created through the API, waited for by what the API tells."""

from __future__ import annotations

import random
import socket
from typing import Any

from tests.support.people import ApiClient
from tests.support.waiting import until

FINAL = ("succeeded", "failed", "cancelled", "timed_out")


def online_with_own_ports(api: ApiClient, node_id: str, count: int = 50) -> None:
    """Wait for a node, and give it so many ports that no other test's node on this machine hands out."""
    path = f"/v1/nodes/{node_id}"
    until(lambda: api.get(path).json()["presence"] == "online", "the node is online")
    for _ in range(50):
        first = 10_000 + 50 * random.randrange(280)
        if all(map(is_free, range(first, first + count - 20))):
            break
    more = {"overcommit_cpu": 20}  # tests wait more than they compute
    changed = api.change("PATCH", path, {"port_ranges": [{"first": first, "last": first + count - 1}], **more})
    assert changed.status_code == 200, changed.text


def is_free(port: int) -> bool:
    """Whether nothing answers there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Servers:
    """An organization's servers."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api

    def create(self, name: str, template: str = "echo", **body: Any) -> dict[str, Any]:
        """Ask for one; the 202's body."""
        reply = self.api.post("/v1/servers", {"name": name, "template": template, **body})
        assert reply.status_code == 202, reply.text
        found: dict[str, Any] = reply.json()
        assert reply.headers["Location"].endswith(found["task_id"])
        return found

    def ready(self, name: str, template: str = "echo", seconds: float = 60, **body: Any) -> dict[str, Any]:
        """Ask for one and wait for it; the server."""
        made = self.create(name, template, **body)
        task = self.task(made["task_id"], seconds)
        assert task["state"] == "succeeded", task
        return self.get(made["server_id"])

    def get(self, server_id: str) -> dict[str, Any]:
        """A server."""
        reply = self.api.get(f"/v1/servers/{server_id}")
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def act(self, server_id: str, action: str, body: Any = None) -> str:
        """Ask for something; the task's id."""
        reply = self.api.post(f"/v1/servers/{server_id}/{action}", body)
        assert reply.status_code == 202, reply.text
        return str(reply.json()["task_id"])

    def done(self, server_id: str, action: str, body: Any = None) -> dict[str, Any]:
        """Ask for something and wait until it is done; the server."""
        task = self.task(self.act(server_id, action, body))
        assert task["state"] == "succeeded", task
        return self.get(server_id)

    def task(self, task_id: str, seconds: float = 60) -> dict[str, Any]:
        """A task, when it has ended."""

        def ended() -> Any:
            found = self.api.get(f"/v1/tasks/{task_id}").json()
            return found if found["state"] in FINAL else None

        found: dict[str, Any] = until(ended, f"task {task_id} has ended", seconds)
        return found

    def status(self, server_id: str, wanted: str, seconds: float = 60) -> dict[str, Any]:
        """The server, when it has a status."""

        def there() -> Any:
            found = self.get(server_id)
            return found if found["status"] == wanted else None

        found: dict[str, Any] = until(there, f"{server_id} is {wanted}", seconds)
        return found

    def lines(self, server_id: str, holding: str, seconds: float = 60) -> list[str]:
        """Console lines, once one holds the text."""

        def seen() -> Any:
            page = self.api.get(f"/v1/servers/{server_id}/console").json()
            texts = [line["text"] for line in page["lines"]]
            return texts if any(holding in text for text in texts) else None

        found: list[str] = until(seen, f"a line with {holding!r}", seconds)
        return found

    def task_of(self, server_id: str) -> dict[str, Any]:
        """The newest task of a server."""
        found: dict[str, Any] = self.api.get(f"/v1/servers/{server_id}/tasks").json()["items"][0]
        return found
