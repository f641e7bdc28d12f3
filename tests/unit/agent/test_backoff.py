"""Waiting between tries: full jitter below a ceiling that doubles."""

from __future__ import annotations

from agent.backoff import Backoff


def test_the_ceiling_doubles_from_one_second_to_a_minute_and_begins_anew_after_a_success() -> None:
    highest = Backoff(lambda: 1.0)
    assert [highest.next() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    highest.reset()
    assert highest.next() == 1


def test_a_wait_is_anywhere_below_its_ceiling_so_that_agents_do_not_come_back_together() -> None:
    waits = []
    for _ in range(2000):
        backoff = Backoff()
        waits.append([backoff.next() for _ in range(7)][-1])
    assert 0 <= min(waits) < 6
    assert 54 < max(waits) <= 60
    assert 25 < sum(waits) / len(waits) < 35


def test_what_the_other_side_asks_for_is_the_least() -> None:
    assert Backoff(lambda: 0.0).next(at_least=30) == 30
