"""What is asked about servers and what is told of them: bounds that every reader relies on."""

from __future__ import annotations

from typing import Any

import pytest

from shared.messaging.codec import WireError, from_wire
from shared.messaging.server_messages import ConsoleLines, Observed, Sample, SendLine, StepReport

OBSERVED = {"server_id": "srv_1", "revision": 1, "state": "running", "at": 1.0}


@pytest.mark.parametrize(
    "line", ["say hello", "tab\there", "§6gold", "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}", "x" * 2000]
)
def test_a_line_for_a_game_is_what_can_be_typed(line: str) -> None:
    assert from_wire(SendLine, {"server_id": "srv_1", "line": line}).line == line


@pytest.mark.parametrize(
    "line", ["", "x" * 2001, "a\nb", "a\rb", "\x03", "a\x04", "\x1b[2J", "a\x00b", "\x1a", "\x7f", "a\x9bb"]
)
def test_keys_of_a_terminal_are_no_line(line: str) -> None:
    with pytest.raises(WireError, match="line: "):
        from_wire(SendLine, {"server_id": "srv_1", "line": line})


@pytest.mark.parametrize(
    ("cls", "value"),
    [
        (Observed, {**OBSERVED, "at": 1e14}),
        (Observed, {**OBSERVED, "at": -1.0}),
        (Observed, {**OBSERVED, "started_at": 1e12}),
        (Observed, {**OBSERVED, "next_start_at": 4e10}),
        (Observed, {**OBSERVED, "revision": 10**30}),
        (Sample, {"at": 1e14}),
        (StepReport, {"name": "install", "state": "done", "started_at": 1e14}),
        (ConsoleLines, {"server_id": "srv_1", "first": 10**400, "lines": []}),
    ],
)
def test_times_and_numbers_are_such_as_everyone_can_read(cls: type, value: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        from_wire(cls, value)
