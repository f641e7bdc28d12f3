from __future__ import annotations

import pytest

from shared.platform.errors import Conflict, Fault, Kind


class NoRoom(Fault):
    kind, code, title = Kind.CONFLICT, "test_no_room", "The node has no room"


def test_a_refusal_carries_its_reason_and_the_figures() -> None:
    fault = NoRoom("needs 2048 MiB, node has 1536 MiB", needs_mib=2048, has_mib=1536)
    assert str(fault) == fault.reason == "needs 2048 MiB, node has 1536 MiB"
    assert fault.figures == {"needs_mib": 2048, "has_mib": 1536}
    assert Fault.codes["test_no_room"] is NoRoom


def test_a_code_is_never_given_to_a_second_class() -> None:
    with pytest.raises(TypeError, match=r"'test_no_room'.*already that of NoRoom"):
        type("Other", (Fault,), {"kind": Kind.CONFLICT, "code": "test_no_room", "__module__": __name__})


def test_a_refusal_without_a_code_of_its_own_is_refused() -> None:
    with pytest.raises(TypeError, match="has no code"):
        type("Silent", (Conflict,), {"__module__": __name__})
