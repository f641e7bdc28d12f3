"""What is said of a task while it goes on, and of ports that are not ours."""

from __future__ import annotations

from typing import Any

from cli.commands.nodes import _foreign
from cli.tasks import _Steps


def step(name: str, state: str, detail: str = "") -> dict[str, Any]:
    return {"name": name, "state": state, "seconds": 1.0, "detail": detail}


def test_a_step_is_told_once_and_one_that_is_done_twice_twice() -> None:
    said: list[str] = []
    steps = _Steps(said.append, patient=True)
    first, second = step("place", "done", "on attic"), step("place", "done", "on cellar")
    for told in (
        [step("start", "failed")],
        [first],
        [first, step("start", "failed")],
        [first, second],
        [first, second],
    ):
        steps.tell({"steps": told})
    assert [("attic" in line, "cellar" in line) for line in said if "place" in line] == [(True, False), (False, True)]
    assert len([line for line in said if "start" in line]) == 1


def test_a_port_of_something_else_is_told_with_who_has_it() -> None:
    port = {"protocol": "tcp", "port": 25565, "by": "nginx (process 42)", "seen_at": "2020-01-01T00:00:00Z"}
    assert _foreign(port).startswith("25565/tcp nginx (process 42), seen ")
    assert _foreign({**port, "by": ""}).startswith("25565/tcp, seen ")
