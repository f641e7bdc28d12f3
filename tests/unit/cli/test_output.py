"""How values read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console

from cli import output
from cli.output import ago, cell, dig, plain

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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07hello", "hello"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\rb\x9b2J\tc", "ab2J\tc"),
        ("[main/INFO]: Grüße", "[main/INFO]: Grüße"),
    ],
)
def test_what_players_type_does_not_steer_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown


ROWS = [{"name": "[bold]a[/bold]", "state": "running", "id": "srv_01M8J7WEF8WHFWZPP4M6YP9SQ2"}]
COLUMNS = (("NAME", "name"), ("STATE", "state"), ("ID", "id"))


def test_a_table_in_a_pipe_is_a_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.table([{**ROWS[0], "name": "x" * 300}], COLUMNS, "none")
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(("width", "headings"), [(80, ["NAME", "STATE", "ID"]), (40, ["NAME", "STATE"])])
def test_ids_go_first_where_a_terminal_is_narrow(
    width: int, headings: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Console(width=width, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(output, "out", terminal)
    output.table(ROWS, COLUMNS, "none")
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == headings
    assert row.split()[:2] == ["[bold]a[/bold]", "running"]


def test_an_empty_list_says_nothing_to_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    output.table([], COLUMNS, "no server yet")
    told = capsys.readouterr()
    assert (told.out, told.err.strip()) == ("", "no server yet")
