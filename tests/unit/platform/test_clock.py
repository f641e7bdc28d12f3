from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.platform.clock import Timestamp

MOMENT = TypeAdapter(Timestamp)


def test_a_moment_is_kept_in_utc_whatever_offset_it_came_with() -> None:
    assert MOMENT.dump_json(MOMENT.validate_python("2026-01-31T10:30:00+01:00")) == b'"2026-01-31T09:30:00.000Z"'
    assert MOMENT.validate_python("2026-01-31T10:30:00+01:00").utcoffset().total_seconds() == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_utc_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="outside the years 1 to 9999"):
        MOMENT.validate_python(text)


def test_a_moment_without_an_offset_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        MOMENT.validate_python("2026-01-31T10:30:00")


@pytest.mark.parametrize("value", [0.5, 1_767_225_600, "0.5", "1767225600", "2026-01-31", "now", "", None, True])
def test_a_moment_is_written_out_and_no_number(value: object) -> None:
    with pytest.raises(ValidationError, match="date and time with an offset"):
        MOMENT.validate_python(value)
