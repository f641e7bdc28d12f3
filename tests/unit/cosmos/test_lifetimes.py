"""How long items live, and what is left when they have ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from local.cosmos.auth import MasterKey
from local.cosmos.continuation import TokenSigner
from local.cosmos.engine import Engine, Options
from local.cosmos.housekeeping import purge_all
from local.cosmos.ttl import expiry
from tests.unit.cosmos.engines import NOW, fill, open_storage


@pytest.mark.parametrize(
    ("case", "default", "own", "expected"),
    [
        ("switched off", None, 10, None),
        ("default", 60, None, 160),
        ("own wins", 60, 10, 110),
        ("own for ever", 60, -1, None),
        ("on, but for ever", -1, None, None),
        ("on, own", -1, 5, 105),
    ],
)
def test_expiry(case: str, default: int | None, own: int | None, expected: int | None) -> None:
    assert expiry(default, own, 100) == expected, case


def test_ended_items_are_purged_with_their_unique_values(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    unique = {"uniqueKeys": [{"paths": ["/e"]}]}
    items = [{"id": f"i{n}", "pk": "t", "e": n, "ttl": 1 if n < 700 else 100} for n in range(710)]
    container = fill(storage, items, defaultTtl=-1, uniqueKeyPolicy=unique)
    key = "a2V5"
    engine = Engine(storage, MasterKey(key), TokenSigner(key), Options(), clock=lambda: NOW + 5)
    assert asyncio.run(purge_all(engine)) == 700
    assert storage.writer.execute(f"SELECT count(*) FROM {container.table}").fetchone()[0] == 10
    assert storage.writer.execute("SELECT count(*) FROM unique_values").fetchone()[0] == 10
    engine.close()
