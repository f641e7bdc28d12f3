"""What runs after a commit runs after its own commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.common.database import open_database
from local.durable.core.kernel import Kernel
from local.durable.core.schema import APPLICATION_ID, MIGRATIONS


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    connection = open_database(tmp_path / "durable.db", application_id=APPLICATION_ID, migrations=MIGRATIONS)
    yield Kernel(connection, lambda error: None, lambda line: None)
    connection.close()


def write(kernel: Kernel, name: str) -> None:
    with kernel.committer.unit():
        kernel.store.save_entity(name, "1", 0)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_an_action_waits_for_the_commit_of_its_own_group(kernel: Kernel) -> None:
    seen: list[tuple[str, int]] = []
    write(kernel, "a")
    kernel.after_commit(lambda: seen.append(("first", kernel.committer.commits)))
    assert seen == []
    await turns(3)
    write(kernel, "b")
    kernel.after_commit(lambda: seen.append(("second", kernel.committer.commits)))
    assert seen == [("first", 1)]
    await turns(3)
    assert seen == [("first", 1), ("second", 2)]


async def test_what_the_first_write_wakes_shares_its_commit(kernel: Kernel) -> None:
    """As a message and the episode that takes it in."""
    seen: list[tuple[str, int]] = []

    def episode() -> None:
        write(kernel, "b")
        kernel.after_commit(lambda: seen.append(("episode", kernel.committer.commits)))

    write(kernel, "a")
    asyncio.get_running_loop().call_soon(episode)
    await kernel.committer.committed()
    assert seen == [("episode", 1)]


async def test_actions_of_a_lost_commit_never_run(kernel: Kernel) -> None:
    seen: list[str] = []
    write(kernel, "a")
    kernel.after_commit(lambda: seen.append("lost"))
    kernel.committer.connection.execute("ROLLBACK")  # the COMMIT to come fails: no transaction is open
    await turns(3)
    assert kernel.generation == 1
    write(kernel, "b")
    kernel.after_commit(lambda: seen.append("kept"))
    await turns(3)
    assert seen == ["kept"]


async def test_an_action_without_a_write_runs_in_the_next_turn(kernel: Kernel) -> None:
    seen: list[int] = []
    for number in range(2):
        kernel.after_commit(lambda number=number: seen.append(number))  # type: ignore[misc]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert seen == [0, 1]
