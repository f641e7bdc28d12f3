"""What operations cost: published anchors, indexed values, the meter, the budget of a second."""

from __future__ import annotations

import pytest

from local.cosmos import charges
from local.cosmos.budget import Budget
from local.cosmos.errors import CosmosError
from local.cosmos.http import Done
from local.cosmos.indexing import DEFAULT_POLICY
from local.cosmos.meter import MOST_KINDS, Meter
from local.cosmos.terms import Terms


def test_charges_meet_the_published_anchors() -> None:
    kilobyte = 1024
    assert charges.read(kilobyte) == 1.0
    assert charges.read(100 * kilobyte) == 10.0
    for size, units in ((1, 4.95), (4, 6.67), (16, 9.52), (64, 22.67), (100, 50.0)):
        assert charges.insert(size * kilobyte, 0) == units
        assert charges.delete(size * kilobyte, 0) == units
        assert charges.replace(size * kilobyte, 0) == pytest.approx(2 * units, abs=0.01)
    for size, units in ((4, 1.14), (16, 1.67), (64, 4.76)):
        assert charges.read(size * kilobyte) == units
    assert charges.insert(10, 0) == charges.insert(kilobyte, 0), "nothing is cheaper than a kilobyte"
    assert charges.insert(1000 * kilobyte, 0) > 10 * charges.insert(64 * kilobyte, 0)
    assert charges.query(0, 0, 0) == 2.3
    assert charges.query(100, 50_000, 50_000) > charges.query(10, 5_000, 5_000) > 2.3


def _person(first: str, family: str | None = None, **more: object) -> dict[str, object]:
    return {"FamilyName": family, "FirstName": first, **more}


FAMILIES = {  # items of the .NET tutorial, and what its text says that they cost with everything indexed
    11.43: {
        "id": "Andersen.1",
        "LastName": "Andersen",
        "Parents": [_person("Thomas"), _person("Mary Kay")],
        "Children": [_person("Henriette", Gender="female", Grade=5, Pets=[{"GivenName": "Fluffy"}])],
        "Address": {"State": "WA", "County": "King", "City": "Seattle"},
        "IsRegistered": False,
    },
    14.29: {
        "id": "Wakefield.7",
        "LastName": "Wakefield",
        "Parents": [_person("Robin", "Wakefield"), _person("Ben", "Miller")],
        "Children": [
            _person(
                "Jesse", "Merriam", Gender="female", Grade=8, Pets=[{"GivenName": "Goofy"}, {"GivenName": "Shadow"}]
            ),
            _person("Lisa", "Miller", Gender="female", Grade=1, Pets=None),
        ],
        "Address": {"State": "NY", "County": "Manhattan", "City": "NY"},
        "IsRegistered": True,
    },
}


@pytest.mark.parametrize("units", FAMILIES)
def test_what_is_indexed_costs_what_the_service_said_it_does(units: float) -> None:
    indexed = Terms(DEFAULT_POLICY).count(FAMILIES[units])
    assert charges.insert(700, indexed) == pytest.approx(units, rel=0.01)


NAMED = {"includedPaths": [{"path": "/a/?"}, {"path": "/b/*"}], "excludedPaths": [{"path": "/*"}]}


@pytest.mark.parametrize(
    ("what", "policy", "item", "count"),
    [
        ("everything", DEFAULT_POLICY, {"id": "1", "a": 1, "b": [1, 2], "c": {"d": None}, "_etag": "x", "_ts": 1}, 4),
        ("a part is left out", {**DEFAULT_POLICY, "excludedPaths": [{"path": "/c/*"}]}, {"a": 1, "c": {"d": 1}}, 1),
        ("named paths alone", NAMED, {"id": "1", "a": 1, "b": {"c": 1, "d": [2, 3]}, "e": 5}, 4),
        ("what is named and missing is indexed too", NAMED, {"id": "1", "e": 5}, 2),
        ("nothing", {"includedPaths": [], "excludedPaths": [{"path": "/*"}]}, {"a": 1}, 0),
        ("no index at all", {"indexingMode": "none"}, {"a": 1}, 0),
    ],
)
def test_indexed_values_are_counted(what: str, policy: dict[str, object], item: dict[str, object], count: int) -> None:
    assert Terms(policy).count(item) == count, what


def test_the_meter_tells_kinds_of_items_apart_within_a_batch_too() -> None:
    meter = Meter(0.0)
    done = [
        Done("create", "srv_01J", 7.0),
        Done("replace", "led_nod_01J", 12.0),
        Done("create", "server_name:one", 6.0),
    ]
    meter.record("db", "tenants", charges.Operation.BATCH, 25.0, done)
    meter.record("db", "tenants", charges.Operation.READ, 1.0, [Done("read", "srv_01K", 1.0)])
    found = meter.totals()["containers"]["db/tenants"]
    assert found["request_units"] == 26.0
    assert {kind: counts["request_units"] for kind, counts in found["kinds"].items()} == {
        "create server": 6.0,
        "create srv": 7.0,
        "read srv": 1.0,
        "replace led": 12.0,
    }
    for number in range(5_000):
        meter.record("db", "tenants", charges.Operation.READ, 1.0, [Done("read", f"n{number}", 1.0)])
    kinds = meter.totals()["containers"]["db/tenants"]["kinds"]
    assert len(kinds) == MOST_KINDS, "ids without a beginning in common do not fill the memory"


def test_a_budget_counts_each_second_and_container_by_itself() -> None:
    budget = Budget(10)
    budget.charge(1, 100.0, 12)
    with pytest.raises(CosmosError) as refused:
        budget.admit(1, 100.75)
    assert refused.value.headers["x-ms-retry-after-ms"] == "250"
    budget.admit(2, 100.75)
    budget.admit(1, 101.0)
