"""What follows when a game ends."""

from __future__ import annotations

import pytest

from agent.crash import CrashHistory, after_exit
from agent.drivers.base import Exit
from shared.messaging.server_spec import CrashPolicy

POLICY = CrashPolicy()


@pytest.mark.parametrize(
    ("name", "policy", "history", "code", "lasted", "action", "delay"),
    [
        ("first crash", POLICY, CrashHistory(), 1, 3, "start_at", 5),
        ("second doubles", POLICY, CrashHistory((995.0,), 5), 1, 3, "start_at", 10),
        ("third doubles again", POLICY, CrashHistory((990.0, 995.0), 10), 1, 3, "start_at", 20),
        ("never more than the longest", POLICY, CrashHistory((990.0,), 200), 1, 3, "start_at", 300),
        ("fifth in ten minutes", POLICY, CrashHistory((700.0, 800.0, 900.0, 990.0), 40), 1, 3, "crash_loop", 0),
        (
            "fifth, but the first is long ago",
            POLICY,
            CrashHistory((100.0, 800.0, 900.0, 990.0), 40),
            1,
            3,
            "start_at",
            80,
        ),
        ("a good run forgives", POLICY, CrashHistory((700.0, 800.0, 900.0, 990.0), 40), 1, 600, "start_at", 5),
        ("nearly a good run", POLICY, CrashHistory((990.0,), 40), 1, 599, "start_at", 80),
        ("ended by itself", POLICY, CrashHistory(), 0, 3, "stay_down", 0),
        ("ended by itself, always", CrashPolicy("always"), CrashHistory(), 0, 3, "start_at", 5),
        ("never", CrashPolicy("never"), CrashHistory(), 1, 3, "stay_down", 0),
        ("killed", POLICY, CrashHistory(), -9, 3, "start_at", 5),
        ("nobody saw how", POLICY, CrashHistory(), None, 3, "start_at", 5),
        (
            "the clock was set back by a day",
            POLICY,
            CrashHistory((87_000.0, 87_100.0, 87_200.0, 87_300.0), 40),
            1,
            3,
            "start_at",
            80,
        ),
        ("the clock was set back while it ran", POLICY, CrashHistory((990.0,), 5), 1, -86_400, "start_at", 10),
        ("one end is a loop", CrashPolicy(loop_count=1), CrashHistory(), 1, 3, "crash_loop", 0),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_decision(
    name: str, policy: CrashPolicy, history: CrashHistory, code: int | None, lasted: float, action: str, delay: float
) -> None:
    decision = after_exit(policy, history, Exit(code, 1000.0), 1000.0 - lasted)
    assert decision.action == action
    assert decision.reason
    if action == "start_at":
        assert decision.at == 1000.0 + delay
        assert decision.history.delay == delay


def test_a_loop_is_reached_after_five_crashes_and_never_before() -> None:
    history, moment = CrashHistory(), 0.0
    actions = []
    for _ in range(5):
        decision = after_exit(POLICY, history, Exit(1, moment + 1), moment)
        actions.append(decision.action)
        history, moment = decision.history, max(decision.at, moment + 1)
    assert actions == ["start_at"] * 4 + ["crash_loop"]
