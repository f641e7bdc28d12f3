"""How values read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cli.output import ago, cell, dig

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2026-05-01T11:59:48Z", "12 s ago"),
        ("2026-05-01T12:05:00Z", "in 5 min"),
        ("2026-05-01T02:00:00Z", "10 h ago"),
        ("2026-04-01T12:00:00Z", "30 days ago"),
        ("not a time", "not a time"),
    ],
)
def test_ago(moment: str, text: str) -> None:
    assert ago(moment, NOW) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ([], "-"),
        (True, "yes"),
        (0, "0"),
        (["a", "b"], "a, b"),
        ({"game": "mc"}, "game=mc"),
        ("2026-05", "2026-05"),
    ],
)
def test_cell(value: object, text: str) -> None:
    assert cell(value) == text


def test_dig_stops_where_there_is_nothing() -> None:
    assert dig({"a": {"b": 1}}, "a.b") == 1
    assert dig({"a": 1}, "a.b") is None
