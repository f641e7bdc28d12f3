"""When silence means that a game hangs."""

from __future__ import annotations

import pytest

from agent.servers.sampling import Meter


@pytest.mark.parametrize(
    ("answers", "ends_at"),
    [
        pytest.param("+---", 4, id="three_in_a_row"),
        pytest.param("+--+--+", None, id="an_answer_forgives"),
        pytest.param("----------", None, id="never_answered_never_hung"),
        pytest.param("--+---", 6, id="the_first_answer_counts_whenever_it_comes"),
    ],
)
def test_a_game_hangs_when_it_has_answered_and_does_so_no_more(answers: str, ends_at: int | None) -> None:
    meter = Meter(0.0)
    found = [at for at, answer in enumerate(answers, 1) if meter.hung(answer == "+")]
    assert found == ([] if ends_at is None else [ends_at])
