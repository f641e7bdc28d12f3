"""Access keys: which key opens which level, where a key may stand, and how keys are kept."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.functions_host import APPS, HostProcess

APP = APPS / "http_sample"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    with HostProcess(APP, tmp_path_factory.mktemp("keys") / "data") as running:
        yield running


def key_of(host: HostProcess, which: str) -> str | None:
    keys: dict[str, Any] = host.keys()
    return {
        "no key": None,
        "a wrong key": "wrong",
        "its function key": keys["functions"]["level_function"]["default"],
        "the host key": keys["host"]["default"],
        "the master key": keys["master"],
        "a system key": keys["system"]["durabletask_extension"],
    }[which]


TABLE = [
    # key                 anonymous function default admin
    ("no key", 200, 401, 401, 401),
    ("a wrong key", 200, 401, 401, 401),
    ("its function key", 200, 200, 401, 401),  # of level_function; another function's key opens nothing
    ("the host key", 200, 200, 200, 401),
    ("the master key", 200, 200, 200, 200),
    ("a system key", 200, 401, 401, 401),
]


@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize(("which", "anonymous", "function", "default", "admin"), TABLE, ids=[row[0] for row in TABLE])
def test_levels(
    host: HostProcess, which: str, anonymous: int, function: int, default: int, admin: int, place: str
) -> None:
    key = key_of(host, which)
    headers = {"x-functions-key": key} if key and place == "header" else {}
    query = f"?code={key}" if key and place == "query" else ""
    for level, status in (("anonymous", anonymous), ("function", function), ("default", default), ("admin", admin)):
        answer = host.call("GET", f"/api/levels/{level}{query}", headers=headers)
        assert answer.status_code == status, (which, level)
        if status == 401:
            assert answer.content == b""


def test_the_header_goes_before_the_query(host: HostProcess) -> None:
    right, wrong = key_of(host, "the host key"), "wrong"
    assert host.call("GET", f"/api/levels/function?code={right}", headers={"x-functions-key": wrong}).status_code == 401
    assert (
        host.call("GET", f"/api/levels/function?code={wrong}", headers={"x-functions-key": str(right)}).status_code
        == 200
    )


def test_a_wrong_method_is_404_even_without_a_key(host: HostProcess) -> None:
    assert host.call("POST", "/api/items/special").status_code == 404


@pytest.mark.parametrize("path", ["/admin/host/status", "/admin/functions", "/diagnostics/cost"])
def test_the_hosts_own_addresses_need_the_master_key(host: HostProcess, path: str) -> None:
    assert host.call("GET", path).status_code == 401
    assert host.call("GET", f"{path}?code={key_of(host, 'the host key')}").status_code == 401
    answer = host.call("GET", f"{path}?code={key_of(host, 'the master key')}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")


def test_status_and_functions_tell_what_runs(host: HostProcess) -> None:
    master = {"x-functions-key": str(key_of(host, "the master key"))}
    assert host.call("GET", "/admin/host/status", headers=master).json()["state"] == "Running"
    functions = {each["name"]: each for each in host.call("GET", "/admin/functions", headers=master).json()}
    assert functions["by_number"]["invoke_url_template"].endswith("/api/items/{id:int}")
    assert functions["by_number"]["config"]["bindings"][0]["type"] in ("httpTrigger", "http")


def test_keys_are_kept_for_their_owner_alone_and_stay(tmp_path: Path) -> None:
    with HostProcess(APP, tmp_path / "data") as first:
        kept = first.keys()
        assert stat.S_IMODE((tmp_path / "data" / "keys.json").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert kept["master"] not in first.part.output()
        first.part.kill()
        first.start()
        assert first.keys() == kept


def test_show_keys_prints_them(tmp_path: Path) -> None:
    with HostProcess(APP, tmp_path / "data", "--show-keys") as host:
        host.part.stop()
        assert host.keys()["master"] in host.part.output()
