"""Names to things."""

from __future__ import annotations

from typing import Any

import pytest

from cli.api import Api
from cli.errors import CliError, NotThere
from cli.find import by_name, names_by_id, pairs
from tests.unit.cli.test_api import Script, api, script  # noqa: F401  # fixtures


def rows(*names: str, **more: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    return 200, {}, {"items": [{"id": f"x_{name}", "name": name, **more} for name in names]}


def test_a_near_miss_is_told_the_name_that_was_meant(api: Api, script: Script) -> None:  # noqa: F811
    script.answers = [rows(), rows("survival", "creative")]
    with pytest.raises(NotThere, match=r"no server is named 'survivl'; did you mean survival\?"):
        by_name(api, "server", "survivl")


def test_of_machines_of_one_name_the_one_in_service_is_meant(api: Api, script: Script) -> None:  # noqa: F811
    gone, there = (rows("attic", state=state)[2]["items"][0] for state in ("decommissioned", "active"))
    script.answers = [(200, {}, {"items": [gone, there]})]
    assert by_name(api, "node", "attic")["state"] == "active"


def test_two_people_of_one_name_are_told_apart_by_address_or_id(api: Api, script: Script) -> None:  # noqa: F811
    two = [{"id": f"mem_{n}", "name": "Ann", "email": f"ann{n}@example.com"} for n in (1, 2)]
    script.answers = [(200, {}, {"items": two})] * 2
    with pytest.raises(CliError, match=r"several members .* \(mem_1, mem_2\)"):
        by_name(api, "member", "Ann")
    assert by_name(api, "member", "ann2@example.com")["id"] == "mem_2"


@pytest.mark.parametrize(("status", "names"), [(200, {"x_a": "a"}), (403, {})])
def test_who_may_not_see_a_list_does_without_its_names(
    api: Api,  # noqa: F811
    script: Script,  # noqa: F811
    status: int,
    names: dict[str, str],
) -> None:
    script.answers = [(status, {}, rows("a")[2])]
    assert names_by_id(api, "/v1/nodes") == names


def test_pairs() -> None:
    assert pairs(["a=1", "b=x=y"], "label") == {"a": "1", "b": "x=y"}
    with pytest.raises(CliError, match="label 'a' must read key=value"):
        pairs(["a"], "label")
