"""What the agent remembers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agent.storage import Storage, StorageError
from shared.messaging.limits import CLOCK_LEEWAY


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "agent.db", max_reports=10, max_bytes=10_000)


def test_the_file_is_private(tmp_path: Path, storage: Storage) -> None:
    storage.close()
    assert (tmp_path / "agent.db").stat().st_mode & 0o077 == 0


def test_room_is_made_by_dropping_what_nobody_waits_for_first(storage: Storage) -> None:
    storage.add_report(lambda n: f"result {n}", keep=True)
    for _ in range(12):
        storage.add_report(lambda n: f"console {n}", keep=False)
    kept = [content for _, content in storage.reports(100)]
    assert len(kept) == 10
    assert kept[0] == "result 1"
    assert storage.reports_dropped == 3
    storage.close()


def test_room_is_bounded_in_bytes(storage: Storage) -> None:
    for _ in range(5):
        storage.add_report(lambda n: f"{n}" + "x" * 4000, keep=True)
    assert storage.report_count == 2
    assert [sequence for sequence, _ in storage.reports(10)] == [4, 5]
    storage.close()


def test_sequence_numbers_are_never_used_again(tmp_path: Path, storage: Storage) -> None:
    storage.add_report(lambda n: f"{n}", keep=True)
    storage.delivered(1, 1)
    storage.close()
    again = Storage(tmp_path / "agent.db")
    again.add_report(lambda n: f"{n}", keep=True)
    assert again.reports(10) == [(2, "2")]
    again.close()


def test_an_end_and_its_report_are_one(storage: Storage) -> None:
    assert storage.add_command("cmd_1", None, "{}")
    assert not storage.add_command("cmd_1", None, "{}")

    def fails(_: int) -> str:
        raise ValueError("too large")

    with pytest.raises(ValueError, match="too large"):
        storage.end_command("cmd_1", "{}", fails)
    assert [one.id for one in storage.open_commands()] == ["cmd_1"]
    assert storage.end_command("cmd_1", '"done"', lambda n: f"report {n}")
    assert not storage.end_command("cmd_1", '"other"', lambda n: f"report {n}")
    assert storage.open_commands() == []
    assert storage.report_count == 1
    storage.close()


def test_old_ends_are_forgotten_and_open_ones_kept(tmp_path: Path) -> None:
    now = 1_000_000.0
    storage = Storage(tmp_path / "agent.db", clock=lambda: now)
    storage.add_command("old", None, "{}")
    storage.end_command("old", "{}", str)
    storage.add_command("open", None, "{}")
    now += 7 * 86_400 + CLOCK_LEEWAY.total_seconds()
    storage.purge(7)
    assert storage.command("old") is not None, "a clock ahead of ours has issued it, and it is still alive"
    now += 1
    storage.purge(7)
    assert storage.command("old") is None
    assert storage.command("open") is not None
    storage.close()


def test_a_spec_is_replaced_only_by_one_as_new(storage: Storage) -> None:
    assert storage.put_server("srv_1", 2, "two")
    assert not storage.put_server("srv_1", 1, "one")
    assert storage.put_server("srv_1", 2, "two again")
    assert storage.applied_revision("srv_1") == 2
    storage.put_server_state("srv_1", '{"handle": 1}')
    found = storage.server("srv_1")
    assert found is not None
    assert (found.spec, found.state) == ("two again", '{"handle": 1}')
    storage.close()


def test_whether_there_is_room_for_a_command_is_known_before_one_is_taken(storage: Storage) -> None:
    storage.try_room()
    for number in range(40):  # what was made for the trial is used up
        storage.set_fact(f"fact {number}", "x" * 3500)
    storage._db.execute(f"PRAGMA max_page_count={storage._one('PRAGMA page_count')}")
    storage.set_fact("small", None)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        storage.try_room()
    storage._db.execute("PRAGMA max_page_count=1000000")
    storage.try_room()
    assert storage.fact("room") is None


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 50, b"\0" * 5000])
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.db").write_bytes(content)
    with pytest.raises(StorageError, match="move it away") as refused:
        Storage(tmp_path / "agent.db")
    assert "\n" not in str(refused.value)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "agent.db")
    storage._db.execute("PRAGMA user_version=99")
    storage.close()
    with pytest.raises(StorageError, match="newer agent"):
        Storage(tmp_path / "agent.db")
