"""Things die while twenty agents work: control plane, broker, store, line, agents. In the end everything has ended once.

What is asked, and when what dies, follows from a seed: `CHAOS_SEED=7` repeats a run as far as the machine lets it.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.chaos import Crowd, Work
from tests.support.house import HouseForTests
from tests.support.lines import Line, LoopThread
from tests.support.processes import free_port

pytestmark = pytest.mark.slow
AGENTS = 20
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(10_000))


@pytest.fixture(scope="module")
def thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, thread: LoopThread) -> Iterator[HouseForTests]:
    settings = {"MERIDIAN_RATE_LIMITS": "false"}
    house = HouseForTests(tmp_path_factory.mktemp("house"), "cosmos", "bus", "auth", "host", settings=settings)
    line_port = free_port()
    spaces = {"default": {"connection": house.settings()["ServiceBusConnection"], "amqp_port": line_port, "tls": False}}
    house.set({"MERIDIAN_AGENT_NAMESPACES": json.dumps(spaces)})
    house.line = Line(line_port, house.house.ports.bus)  # type: ignore[attr-defined]
    with house:
        thread.do(house.line.start())  # type: ignore[attr-defined]
        yield house
        thread.do(house.line.cut())  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def crowd(house: HouseForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    crowd = Crowd(house, tmp_path_factory.mktemp("crowd"), AGENTS)
    yield crowd
    crowd.close()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    print(f"CHAOS_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


def part_dies(house: HouseForTests, name: str, chance: random.Random) -> None:
    """SIGKILL, a pause, and up again."""
    house.kill(name)
    time.sleep(chance.uniform(0.0, 2.0))
    house.start(name)


@pytest.mark.parametrize("name", ["host", "bus", "cosmos"])
def test_a_part_is_killed_and_comes_back(house: HouseForTests, crowd: Crowd, chance: random.Random, name: str) -> None:
    with Work(crowd, chance) as work:
        for _ in range(2):
            time.sleep(chance.uniform(0.5, 3.0))
            part_dies(house, name, chance)
        time.sleep(1.0)
    crowd.check(work)
    assert work.tasks
    assert work.commands


def test_agents_are_killed_in_the_middle_of_commands(crowd: Crowd, chance: random.Random) -> None:
    with Work(crowd, chance) as work:
        for agent in chance.sample(crowd.agents, 8):
            time.sleep(chance.uniform(0.0, 0.5))
            crowd.restart(agent)
    crowd.check(work)


def test_the_line_stalls_and_is_cut_and_comes_back(
    house: HouseForTests, thread: LoopThread, crowd: Crowd, chance: random.Random
) -> None:
    line: Line = house.line  # type: ignore[attr-defined]
    with Work(crowd, chance) as work:
        time.sleep(chance.uniform(0.2, 1.0))
        thread.loop.call_soon_threadsafe(line.stall)
        time.sleep(chance.uniform(2.0, 5.0))
        thread.loop.call_soon_threadsafe(line.flow)
        time.sleep(chance.uniform(0.2, 1.0))
        thread.do(line.cut())
        time.sleep(chance.uniform(1.0, 5.0))
        thread.do(line.start())
    crowd.check(work)


@pytest.mark.soak  # what a dying door left behind waits for the sweep, and each part dies in turn
def test_everything_dies_in_any_order(
    house: HouseForTests, thread: LoopThread, crowd: Crowd, chance: random.Random
) -> None:
    line: Line = house.line  # type: ignore[attr-defined]

    def cut() -> None:
        thread.do(line.cut())
        time.sleep(chance.uniform(0.0, 2.0))
        thread.do(line.start())

    deaths: list[Callable[[], None]] = [cut]
    deaths += [lambda name=name: part_dies(house, name, chance) for name in ("host", "bus", "cosmos")]  # type: ignore[misc]
    deaths += [lambda agent=agent: crowd.restart(agent) for agent in chance.sample(crowd.agents, 4)]  # type: ignore[misc]
    chance.shuffle(deaths)
    with Work(crowd, chance) as work:
        for death in deaths:
            time.sleep(chance.uniform(0.0, 1.5))
            death()
    crowd.check(work)
