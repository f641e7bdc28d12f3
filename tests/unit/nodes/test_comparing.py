"""When nodes are compared: rarely, after a pause, never all at once."""

from __future__ import annotations

import random

from shared.messaging.agent_api import ServerState
from shared.nodes.comparing import A_SECOND, AT_ONCE, Comparisons
from tests.support.clocks import SetClock

PAUSE = 60.0


def servers(revision: int) -> tuple[ServerState, ...]:
    return (ServerState("srv_a", revision, "running"), ServerState("srv_b", 1, "stopped"))


class Fleet:
    """So many nodes, each beating once a minute at a second of its own."""

    def __init__(self, nodes: int) -> None:
        self.clock = SetClock()
        chance = random.Random(7)
        self.comparisons = Comparisons(self.clock, PAUSE, chance.random)
        self.nodes = nodes
        self.revision = dict.fromkeys(range(nodes), 1)
        self.doubted = dict.fromkeys(range(nodes), 0.0)
        self.at: list[float] = []

    def run(self, minutes: float, *, together: bool = False) -> list[int]:
        """How many comparisons fell into each second."""
        seconds = [0] * int(minutes * 60)
        for second in range(len(seconds)):
            for node in range(self.nodes):
                if (0 if together else node % 60) == second % 60:
                    place = (node // 500, node % 500)
                    seconds[second] += self.comparisons.due(place, servers(self.revision[node]), self.doubted[node])
            self.clock.advance(1)
        return seconds


def test_a_calm_fleet_is_compared_once_and_then_each_few_hours() -> None:
    fleet = Fleet(120)
    assert sum(fleet.run(15)) == 120
    assert sum(fleet.run(120)) == 0
    assert 120 <= sum(fleet.run(240)) <= 240


def test_a_change_is_compared_after_a_pause_and_once() -> None:
    fleet = Fleet(1)
    fleet.run(15)
    fleet.revision[0] = 2
    found = fleet.run(30)
    assert sum(found) == 1
    assert PAUSE <= found.index(1) <= 3 * PAUSE


def test_a_doubt_is_like_a_change() -> None:
    fleet = Fleet(1)
    fleet.run(15)
    fleet.doubted[0] = fleet.clock.now().timestamp()
    assert sum(fleet.run(30)) == 1


def test_a_difference_is_looked_at_again_after_a_pause() -> None:
    fleet = Fleet(1)
    fleet.run(15)
    fleet.comparisons.again((0, 0))
    assert sum(fleet.run(2)) == 1


def test_a_thousand_nodes_that_come_back_together_with_nothing_are_no_storm() -> None:
    fleet = Fleet(1000)
    fleet.run(20)
    fleet.revision = dict.fromkeys(range(1000), 0)
    found = fleet.run(60, together=True)  # worst: all beat in the same second of each minute
    assert sum(found) == 1000, "each is compared, once"
    assert max(found) <= AT_ONCE
    assert all(sum(found[second : second + 60]) <= AT_ONCE + 60 * A_SECOND for second in range(0, len(found), 60))


def test_an_instance_that_has_just_begun_spreads_its_first_comparisons() -> None:
    fleet = Fleet(1200)
    found = fleet.run(15)
    assert sum(found) == 1200
    minutes = [sum(found[second : second + 60]) for second in range(0, 600, 60)]
    assert max(minutes) < 2 * 1200 / 10
