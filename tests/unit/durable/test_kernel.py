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


async def test_an_action_of_the_next_group_waits_for_the_next_commit(kernel: Kernel) -> None:
    """The second write comes after the first commit, and before the first group's actions."""
    seen: list[tuple[str, int]] = []
    loop = asyncio.get_running_loop()

    def second() -> None:
        write(kernel, "b")
        kernel.after_commit(lambda: seen.append(("second", kernel.committer.commits)))

    write(kernel, "a")
    loop.call_soon(second)
    kernel.after_commit(lambda: seen.append(("first", kernel.committer.commits)))
    while len(seen) < 2:
        await asyncio.sleep(0)
    assert seen == [("first", 1), ("second", 2)]


async def test_actions_of_a_lost_commit_never_run(kernel: Kernel) -> None:
    seen: list[str] = []
    write(kernel, "a")
    kernel.after_commit(lambda: seen.append("lost"))
    kernel.committer.connection.execute("ROLLBACK")  # the COMMIT to come fails: no transaction is open
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert kernel.generation == 1
    write(kernel, "b")
    kernel.after_commit(lambda: seen.append("kept"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == ["kept"]


async def test_an_action_without_a_write_runs_in_the_next_turn(kernel: Kernel) -> None:
    seen: list[int] = []
    for number in range(2):
        kernel.after_commit(lambda number=number: seen.append(number))  # type: ignore[misc]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert seen == [0, 1]
