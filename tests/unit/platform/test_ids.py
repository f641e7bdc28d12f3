from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from shared.platform.ids import PREFIXES, Ids, derived, make, pattern
from tests.support.clocks import SetClock

START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def test_an_id_tells_its_kind_and_fits_its_pattern() -> None:
    made = Ids().new("srv")
    assert re.match(pattern("srv"), made)
    assert not re.match(pattern("nod"), made)


def test_ids_sort_by_the_time_they_were_made() -> None:
    clock = SetClock()
    ids = Ids(clock, lambda n: b"\xff" * n)
    first = ids.new("srv")
    clock.advance(0.001)
    later = Ids(clock, bytes).new("srv")
    assert first < later


def test_the_same_moment_and_randomness_make_the_same_id() -> None:
    made = make("org", START, b"0123456789")
    assert made == make("org", START, b"0123456789")
    parsed = ULID.from_str(made.removeprefix("org_"))
    assert parsed.datetime == START
    assert parsed.bytes[6:] == b"0123456789"


@pytest.mark.parametrize("size", [0, 9, 11])
def test_an_id_takes_exactly_ten_random_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"10 random bytes, not {size}"):
        make("org", START, bytes(size))


def test_a_derived_id_follows_from_its_parts_alone() -> None:
    assert derived("tsk", START, "a", "b") == derived("tsk", START, "a", "b")
    assert len({derived("tsk", START, "a", "b"), derived("tsk", START, "ab"), derived("cmd", START, "a", "b")[3:]}) == 3
    assert derived("tsk", START, "a") < derived("tsk", START + timedelta(milliseconds=1), "a")


def test_what_is_older_than_every_id_sorts_before_them() -> None:
    """A caller may look from the year 126 on: the id of that place is the first of all."""
    assert make("aud", datetime(126, 3, 24, tzinfo=UTC), bytes(10)) == make(
        "aud", datetime(1970, 1, 1, tzinfo=UTC), bytes(10)
    )


def test_no_prefix_stands_for_two_kinds() -> None:
    prefixes = list(PREFIXES.values())
    assert len(prefixes) == len(set(prefixes))
    assert all(re.fullmatch("[a-z]{3}", prefix) for prefix in prefixes)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_the_second_part_is_the_ulid_that_the_library_makes(milliseconds: int, randomness: bytes) -> None:
    from shared.platform.ids import encoded

    assert encoded(milliseconds, randomness) == str(ULID.from_bytes(milliseconds.to_bytes(6, "big") + randomness))
