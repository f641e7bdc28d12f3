"""The Functions app under test: a base URL and keys, nothing else."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any
from urllib.parse import quote

import requests

PATIENCE_SECONDS = 60.0
FINISHED = {"Completed", "Failed", "Terminated", "Canceled"}


class Target:
    """Calls the sample app's doors and the management API."""

    def __init__(self, url: str, function_key: str, system_key: str) -> None:
        self.url, self._function_key, self._system_key = url.rstrip("/"), function_key, system_key
        self._session = requests.Session()

    def door(self, path: str, body: object = None, **query: str) -> requests.Response:
        """POST to a function of the sample app."""
        data = None if body is None else json.dumps(body)
        headers = {"x-functions-key": self._function_key, "content-type": "application/json"}
        return self._session.post(
            f"{self.url}/{path}", data=data, params=query, headers=headers, timeout=PATIENCE_SECONDS
        )

    def api(self, method: str, path: str, data: str | None = None, **options: Any) -> requests.Response:
        """A request to the management API; `query` and `headers` are options."""
        query = {"code": self._system_key, **options.get("query", {})}
        headers = {"content-type": "application/json", **options.get("headers", {})}
        url = f"{self.url}/runtime/webhooks/durabletask/{path}"
        return self._session.request(method, url, params=query, data=data, headers=headers, timeout=PATIENCE_SECONDS)

    def start(self, name: str, value: object = None, instance_id: str | None = None) -> str:
        """Start through the SDK's client; the instance's id."""
        answer = self.door(f"start/{name}", value, **({"id": instance_id} if instance_id else {}))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def client(self, method: str, instance_id: str, **body: object) -> Any:
        """One method of the SDK's client, called inside of the app: what it returned."""
        answer = self.door(f"client/{method}/{quote(instance_id, safe='')}", body)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def client_error(self, method: str, instance_id: str, **body: object) -> str:
        """The same, for a call that raises: the exception's text."""
        answer = self.door(f"client/{method}/{quote(instance_id, safe='')}", body)
        assert answer.status_code == 400, answer.text
        return str(answer.json()["error"])

    def status(self, instance_id: str, **query: str) -> dict[str, Any]:
        """The status object; empty: there is no such instance."""
        answer = self.api("GET", f"instances/{quote(instance_id, safe='')}", query=query)
        assert answer.status_code in (200, 202, 404, 500), answer.text
        return dict(answer.json()) if answer.content else {}

    def wait(self, instance_id: str, *states: str) -> dict[str, Any]:
        """The status once it has one of these states; by default, once it has finished."""
        wanted = set(states) or FINISHED
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = 0.01
        while time.monotonic() < deadline:
            status = self.status(instance_id)
            if status.get("runtimeStatus") in wanted:
                return status
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        raise AssertionError(
            f"{instance_id} is not {' or '.join(sorted(wanted))}: {self.status(instance_id, showHistory='true')}"
        )

    def run(self, name: str, value: object = None, instance_id: str | None = None) -> Any:
        """Start, wait, and the output of an orchestration that must complete."""
        status = self.wait(self.start(name, value, instance_id))
        assert status["runtimeStatus"] == "Completed", status
        return status["output"]

    def run_failing(self, name: str, value: object = None) -> str:
        """Start, wait, and the output of an orchestration that must fail."""
        status = self.wait(self.start(name, value))
        assert status["runtimeStatus"] == "Failed", status
        return str(status["output"])

    def raise_event(self, instance_id: str, name: str, data: object = None) -> requests.Response:
        """An event by plain HTTP."""
        return self.api("POST", f"instances/{instance_id}/raiseEvent/{name}", json.dumps(data))

    def wait_for_event(self, instance_id: str, event_type: str, count: int = 1) -> None:
        """Return once the history shows so many events of a type."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            events = self.status(instance_id, showHistory="true").get("historyEvents", [])
            if sum(event["EventType"] == event_type for event in events) >= count:
                return
            time.sleep(0.02)
        raise AssertionError(f"no {count} {event_type} in {events}")


def fresh(prefix: str = "t") -> str:
    """An id that nobody else uses."""
    return f"{prefix}-{uuid.uuid4().hex}"
