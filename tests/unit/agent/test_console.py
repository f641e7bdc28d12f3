"""The ring of lines, and the file behind it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.console import MAX_LINE, RING_BYTES, RING_LINES, Console, Line
from agent.drivers.tail import LOG, MAX_BEHIND, MAX_FILE, Tail
from agent.servers.watching import _batches


@given(st.lists(st.binary(max_size=50), max_size=40))
def test_how_output_is_cut_into_pieces_does_not_matter(pieces: list[bytes]) -> None:
    whole, cut = Console(), Console()
    whole.feed(b"".join(pieces))
    for piece in pieces:
        cut.feed(piece)
    assert whole.since(0) == cut.since(0)


def test_numbers_go_on_when_lines_are_dropped() -> None:
    console = Console()
    console.feed(b"x\n" * (RING_LINES + 500))
    lost, kept = console.since(0)
    assert (lost, len(kept)) == (500, RING_LINES)
    assert [line.number for line in kept] == list(range(501, RING_LINES + 501))
    assert console.since(RING_LINES + 500) == (0, ())
    assert len(console.since(600, 10)[1]) == 10


def test_it_is_bounded_in_bytes_too() -> None:
    console = Console()
    for _ in range(300):
        console.feed(b"y" * 10_000 + b"\n")
    assert sum(len(line.text) for line in console.since(0)[1]) <= RING_BYTES


def test_a_line_without_end_is_cut_and_does_not_grow() -> None:
    console = Console()
    for _ in range(100):
        console.feed(b"z" * 4096)
    _, kept = console.since(0)
    assert all(len(line.text) == MAX_LINE for line in kept)
    assert len(kept) == 100 * 4096 // MAX_LINE - 1 or len(kept) == 100 * 4096 // MAX_LINE


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    console = Console()
    console.feed(b"\xff\xfe ok\r\n")
    assert console.tail(1) == ("\ufffd\ufffd ok",)


def test_a_listener_hears_each_line_until_it_is_ended() -> None:
    console, heard = Console(), []
    end = console.listen(heard.append)
    console.feed(b"one\ntwo\nthr")
    end()
    console.feed(b"ee\n")
    assert [line.text for line in heard] == ["one", "two"]


def write(folder: Path, data: bytes) -> None:
    with (folder / LOG).open("ab") as log:
        log.write(data)


def test_a_restart_reads_the_ring_anew_with_the_same_numbers(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    write(tmp_path, b"".join(b"line %d\n" % n for n in range(1500)))
    tail.read_all()
    before = tail.console.since(0)
    tail.close()
    again = Tail(tmp_path)
    assert again.console.since(0) == before
    again.close()


def test_the_file_is_emptied_once_it_is_read_and_numbers_go_on_over_that(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    line = b"x" * 99 + b"\n"
    for _ in range(MAX_FILE // len(line) // 1000 + 2):
        write(tmp_path, line * 1000)
        tail.read_all()
    number = tail.console.next_number
    assert (tmp_path / LOG).stat().st_size < MAX_FILE
    tail.close()
    again = Tail(tmp_path)
    assert again.console.next_number == number
    write(tmp_path, b"after\n")
    again.read_all()
    assert again.console.since(number - 1)[1][0].text == "after"
    again.close()


def test_a_flood_is_passed_by_and_counted(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    count = 3 * MAX_BEHIND // 10
    write(tmp_path, b"123456789\n" * count)
    tail.finish()
    assert tail.console.next_number == count + 1
    tail.close()


def test_a_torn_mark_is_no_reason_to_fail(tmp_path: Path) -> None:
    write(tmp_path, b"one\n")
    (tmp_path / "console.mark").write_text("12 99999999")
    tail = Tail(tmp_path)
    assert tail.console.tail(5) == ("one",)
    tail.close()


@pytest.mark.parametrize(("lines", "length"), [(1000, 10), (300, 16_000), (1, 16_000), (0, 0)])
def test_lines_go_out_in_messages_that_hold_them(lines: int, length: int) -> None:
    made = [Line(number, "\U0001f525" * length) for number in range(1, lines + 1)]
    batches = list(_batches(made))
    assert [line for batch in batches for line in batch] == made
    assert all(len(batch) <= 200 for batch in batches)
    assert all(sum(len(line.text[:2000].encode()) for line in batch) <= 64 * 1024 for batch in batches)
