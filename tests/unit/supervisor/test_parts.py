"""The order of parts and the pace of restarts."""

import pytest

from local.supervisor.parts import Part, restart_delay, start_order


def part(name: str, *needs: str) -> Part:
    return Part(name, ("true",), needs=needs)


def test_each_wave_needs_only_the_waves_before_it() -> None:
    waves = start_order((part("host", "cosmos", "bus"), part("cosmos"), part("job", "host"), part("bus")))
    assert [[p.name for p in wave] for wave in waves] == [["cosmos", "bus"], ["host"], ["job"]]


def test_a_need_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="host needs cosmos, which is not part of the house"):
        start_order((part("host", "cosmos"),))


def test_a_circle_is_named() -> None:
    with pytest.raises(ValueError, match="a, b need each other in a circle"):
        start_order((part("a", "b"), part("b", "a")))


@pytest.mark.parametrize(
    ("name", "deaths", "fraction", "seconds"),
    [
        ("first, earliest", 1, 0.0, 0.25),
        ("first, latest", 1, 0.999999, 0.5),
        ("third", 3, 0.0, 1.0),
        ("never above the ceiling", 1000, 0.999999, 30.0),
    ],
)
def test_restart_delay(name: str, deaths: int, fraction: float, seconds: float) -> None:
    assert restart_delay(deaths, fraction) == pytest.approx(seconds, rel=1e-3)
