"""Output is read when the kernel says that there is some; a quiet game costs nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agent.drivers.outputs import Outputs
from agent.drivers.tail import LOG, MAX_READ, Tail
from tests.support.waiting import eventually


def says(tail: Tail, text: str) -> bool:
    return tail.console.tail(1) == (text,)


def quiet(outputs: Outputs) -> bool:
    return outputs._timer is None


async def test_what_is_written_is_read_and_then_nothing_wakes_up(tmp_path: Path) -> None:
    outputs, tail = Outputs(), Tail(tmp_path)
    outputs.follow(tail)
    await eventually(lambda: quiet(outputs), "nothing to do")
    with (tmp_path / LOG).open("ab", buffering=0) as log:
        for number in range(3):
            log.write(b"line %d\n" % number)
            await eventually(partial(says, tail, f"line {number}"), "the line is read")
    await eventually(lambda: quiet(outputs), "nothing to do again")
    outputs.close()
    tail.close()


async def test_what_came_before_it_was_followed_is_read(tmp_path: Path) -> None:
    outputs, tail = Outputs(), Tail(tmp_path)
    (tmp_path / LOG).write_bytes(b"early\n")
    outputs.follow(tail)
    await eventually(partial(says, tail, "early"), "the early line is read")
    outputs.close()
    tail.close()


async def test_a_flood_of_one_does_not_keep_back_another(tmp_path: Path) -> None:
    outputs = Outputs()
    tails = []
    for name in ("loud", "calm"):
        (tmp_path / name).mkdir()
        tails.append(Tail(tmp_path / name))
        outputs.follow(tails[-1])
    loud, calm = tails
    with (tmp_path / "loud" / LOG).open("ab") as log:
        log.write(b"x" * 99 + b"\n")
        log.write((b"y" * 99 + b"\n") * (3 * MAX_READ // 100))
    (tmp_path / "calm" / LOG).write_bytes(b"one word\n")
    await eventually(partial(says, calm, "one word"), "the calm one is heard")
    await eventually(lambda: loud.console.next_number == 3 * MAX_READ // 100 + 2, "the loud one is read to its end")
    await eventually(lambda: quiet(outputs), "nothing to do")
    outputs.forget(loud)
    with (tmp_path / "loud" / LOG).open("ab") as log:
        log.write(b"nobody listens\n")
    with (tmp_path / "calm" / LOG).open("ab") as log:
        log.write(b"two words\n")
    await eventually(partial(says, calm, "two words"), "the calm one is still heard")
    assert "nobody listens" not in loud.console.tail(1)
    outputs.close()


async def test_one_that_the_kernel_does_not_watch_is_looked_at(tmp_path: Path) -> None:
    outputs, tail = Outputs(), Tail(tmp_path)
    kept = (tmp_path / LOG).open("ab", buffering=0)
    (tmp_path / LOG).unlink()  # there is nothing to watch at that path
    outputs.follow(tail)
    kept.write(b"unseen\n")
    await eventually(partial(says, tail, "unseen"), "it is read all the same")
    outputs.close()
    kept.close()
    tail.close()
