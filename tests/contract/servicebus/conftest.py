"""One endpoint a module run, a clean set of queues a test, and skipping by what the target can do."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.servicebus.target import CAPABILITIES, Queues, Target, open_target


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with open_target(tmp_path_factory.mktemp("servicebus")) as found:
        yield found


@pytest.fixture
def needs(target: Target):  # type: ignore[no-untyped-def]
    """Call with capability names to skip where the target lacks one."""

    def check(*names: str) -> None:
        missing = set(names) - CAPABILITIES[target.name]
        if missing:
            pytest.skip(f"{target.name} cannot: {', '.join(sorted(missing))}")

    return check


@pytest.fixture
def queues(target: Target) -> Iterator[Queues]:
    made = Queues(target)
    yield made
    made.clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK leaves a socket or a stream open when its connection breaks."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
            item.add_marker(
                pytest.mark.filterwarnings("ignore:.*StreamWriter.__del__:pytest.PytestUnraisableExceptionWarning")
            )


@pytest.fixture(autouse=True)
def _sockets_of_the_sdk() -> Iterator[None]:
    """Collect what it left before another test is blamed for it."""
    yield
    gc.collect()
