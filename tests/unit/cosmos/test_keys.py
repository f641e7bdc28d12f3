"""Keys and values: the place of a partition key in the ring, paths, the order of mixed types."""

from __future__ import annotations

import random
from typing import Any

import pytest
from azure.cosmos import PartitionKey as SdkKey

from local.cosmos.errors import CosmosError
from local.cosmos.jsonvalue import UNDEFINED, canonical, sort_key
from local.cosmos.partition import KeyDefinition, parse_path, prefix_range

VALUES: list[Any] = ["a", "", "ü" * 40, "x" * 2000, 0, 1, -1, 1.5, 2**53, True, False, None]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_place_in_the_ring_is_the_sdks(value: Any) -> None:
    mine = KeyDefinition.parse({"paths": ["/a"]}).of_values([value])
    assert mine.epk == SdkKey("/a")._get_effective_partition_key_string([value])


@pytest.mark.parametrize("values", [["a", "b"], ["a", None], [1, True]], ids=repr)
def test_the_place_of_a_hierarchical_key_is_the_sdks(values: list[Any]) -> None:
    sdk = SdkKey(["/a", "/b"])
    mine = KeyDefinition.parse({"paths": ["/a", "/b"], "kind": "MultiHash"}).of_values(values)
    assert mine.epk == sdk._get_effective_partition_key_string(values)
    bounds = sdk._get_epk_range_for_prefix_partition_key(values[:1])
    assert prefix_range(values[:1]) == (bounds.min, bounds.max)


@pytest.mark.parametrize(
    ("path", "steps"),
    [("/a", ("a",)), ("/a/b", ("a", "b")), ('/"a b"/c', ("a b", "c")), ("a", None), ("/", None), ("", None)],
)
def test_paths(path: str, steps: tuple[str, ...] | None) -> None:
    if steps is not None:
        assert parse_path(path) == steps
        return
    with pytest.raises(CosmosError):
        parse_path(path)


def test_mixed_types_are_ordered_as_documented() -> None:
    ordered = [UNDEFINED, None, False, True, -1, 2.5, 10, "", "A", "a", [1], {"a": 1}]
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled, key=sort_key) == ordered


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [(1, 1.0, True), (1, True, False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), (None, UNDEFINED, False)],
)
def test_canonical_text_tells_values_apart(left: Any, right: Any, same: bool) -> None:
    assert (canonical(left) == canonical(right)) is same
