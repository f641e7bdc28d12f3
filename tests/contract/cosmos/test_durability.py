"""What the process keeps when it dies, whom it lets in at start, and who wins a race."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.cosmos import CosmosClient, PartitionKey
from azure.cosmos.aio import CosmosClient as AsyncCosmosClient
from azure.cosmos.exceptions import CosmosAccessConditionFailedError, CosmosHttpResponseError, CosmosResourceExistsError

from tests.contract.cosmos.conftest import endpoint
from tests.contract.cosmos.rawhttp import call
from tests.contract.cosmos.target import KEY
from tests.support.processes import ROOT, Part, free_port

pytestmark = pytest.mark.local_only
BATCH = 5
ROUNDS = 4


def container_of(part: Part, **options: Any) -> Any:
    client = CosmosClient(f"http://localhost:{part.port}", KEY, retry_total=0, retry_connect=0, **options)
    return client.create_database_if_not_exists("d").create_container_if_not_exists("c", PartitionKey("/pk"))


def test_kill_9_loses_no_acknowledged_write_and_halves_no_batch(tmp_path: Path) -> None:
    port = free_port()
    acknowledged: set[str] = set()
    whole: set[str] = set()
    for round_number in range(ROUNDS):
        part = endpoint(tmp_path, "--sync", "FULL", port=port).start()
        container = container_of(part)
        stop = threading.Event()

        def write(
            worker: int, container: Any = container, stop: threading.Event = stop, rnd: int = round_number
        ) -> None:
            number = 0
            while not stop.is_set():
                name = f"{rnd}-{worker}-{number}"
                number += 1
                try:
                    if worker % 2:
                        operations = [("create", ({"id": f"{name}-{at}", "pk": "t"},)) for at in range(BATCH)]
                        container.execute_item_batch(operations, "t")
                        whole.add(name)
                    else:
                        container.create_item({"id": name, "pk": "t"})
                        acknowledged.add(name)
                except AzureError:
                    return

        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        before = len(acknowledged) + len(whole)
        for thread in threads:
            thread.start()
        while len(acknowledged) + len(whole) < before + 60:
            time.sleep(0.005)
        assert part.process is not None
        os.killpg(part.process.pid, signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join()
        part.process.wait()
    part = endpoint(tmp_path, port=port).start()
    try:
        found = set(container_of(part).query_items("SELECT VALUE c.id FROM c", partition_key="t"))
    finally:
        part.kill()
    singles = {name for name in found if name.count("-") == 2}
    batches: dict[str, int] = {}
    for name in found - singles:
        batches[name.rsplit("-", 1)[0]] = batches.get(name.rsplit("-", 1)[0], 0) + 1
    assert acknowledged <= singles
    assert whole <= batches.keys()
    assert set(batches.values()) == {BATCH}
    # At most what was under way at each kill may be there without having been acknowledged.
    assert len(singles - acknowledged) <= 2 * ROUNDS
    assert len(batches.keys() - whole) <= 2 * ROUNDS


def test_the_log_never_goes_back(tmp_path: Path) -> None:
    """Deleting the newest item and restarting must not give its place in the change feed to another."""
    port = free_port()
    with endpoint(tmp_path, port=port) as part:
        container = container_of(part)
        container.create_item({"id": "a", "pk": "t"})
        container.create_item({"id": "b", "pk": "t"})
        headers: dict[str, str] = {}
        list(
            container.query_items_change_feed(
                start_time="Beginning", response_hook=lambda found, _: headers.update(found)
            )
        )
        container.delete_item("b", "t")
        part.stop()
    with endpoint(tmp_path, port=port) as part:
        container = container_of(part)
        made = container.create_item({"id": "c", "pk": "t"})
        changed = list(container.query_items_change_feed(continuation=headers["etag"]))
        assert [item["id"] for item in changed] == ["c"]
        assert made["_rid"] != headers
        part.stop()


async def test_exactly_one_of_many_writers_wins_an_etag(tmp_path: Path) -> None:
    with endpoint(tmp_path) as part:
        container_of(part).create_item({"id": "a", "pk": "t", "wins": 0})
        async with AsyncCosmosClient(f"http://localhost:{part.port}", KEY) as client:
            container = client.get_database_client("d").get_container_client("c")

            async def attempt(item: dict[str, Any], writer: int) -> bool:
                body = {**item, "writer": writer, "wins": item["wins"] + 1}
                try:
                    await container.replace_item(
                        "a", body, etag=item["_etag"], match_condition=MatchConditions.IfNotModified
                    )
                except CosmosAccessConditionFailedError:
                    return False
                return True

            for round_number in range(8):
                item = await container.read_item("a", "t")
                results = await asyncio.gather(*[attempt(item, writer) for writer in range(12)])
                assert sum(results) == 1, round_number
                found = await container.read_item("a", "t")
                assert found["writer"] == results.index(True)
            assert found["wins"] == 8


async def test_exactly_one_of_many_creates_of_an_id_wins_and_increments_add_up(tmp_path: Path) -> None:
    with endpoint(tmp_path) as part:
        container_of(part)
        async with AsyncCosmosClient(f"http://localhost:{part.port}", KEY) as client:
            container = client.get_database_client("d").get_container_client("c")

            async def create(writer: int) -> bool:
                try:
                    await container.create_item({"id": "a", "pk": "t", "n": 0, "writer": writer})
                except CosmosResourceExistsError:
                    return False
                return True

            assert sum(await asyncio.gather(*[create(writer) for writer in range(16)])) == 1
            change = [{"op": "incr", "path": "/n", "value": 1}]
            await asyncio.gather(*[container.patch_item("a", "t", change) for _ in range(40)])
            assert (await container.read_item("a", "t"))["n"] == 40


def refused_start(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "local.cosmos", "--port", str(free_port()), "--data", str(folder), *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2, ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def made_file(tmp_path: Path) -> Path:
    with endpoint(tmp_path) as part:
        container_of(part).create_item({"id": "a", "pk": "t", "pad": "x" * 100_000})
        part.stop()
    return tmp_path / "data" / "cosmos.db"


def test_a_damaged_file_is_refused_unchanged(tmp_path: Path) -> None:
    file = made_file(tmp_path)
    raw = bytearray(file.read_bytes())
    raw[100 : len(raw) - 4096] = os.urandom(len(raw) - 4196)
    file.write_bytes(raw)
    assert "is damaged" in refused_start(file.parent)
    assert file.read_bytes() == raw


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    file = made_file(tmp_path)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    assert "newer version" in refused_start(file.parent)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "cosmos.db")
    connection.execute("PRAGMA user_version=1")
    connection.execute("CREATE TABLE somebody_elses (a)")
    connection.close()
    assert "another program" in refused_start(tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--key", "not base64!"), "base64"),
        (("--ranges", "99"), "1 to 8"),
        (("--ru-budget", "-1"), "above 0"),
        (("--port", "1"), "cannot listen"),
    ],
)
def test_a_bad_option_is_refused_in_one_line(tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    if options[0] == "--port" and os.geteuid() == 0:
        pytest.skip("root may listen on any port")
    assert reason in refused_start(tmp_path, *options)


def test_a_folder_and_a_port_serve_one_at_a_time(tmp_path: Path) -> None:
    with endpoint(tmp_path) as part:
        assert "in use by another cosmos" in refused_start(tmp_path / "data")
        assert "is in use" in refused_start(tmp_path / "other", "--port", str(part.port))


def test_the_key_is_made_once_kept_private_and_printed(tmp_path: Path) -> None:
    printed = []
    for _ in range(2):
        port = free_port()
        part = Part.module(
            "local.cosmos", "--port", str(port), "--data", str(tmp_path / "data"), log=tmp_path / "log", port=port
        )
        with part:
            assert part.stop() == 0
        printed.append(part.output().rsplit("AccountKey=", 1)[1].split(";")[0])
    file = tmp_path / "data" / "cosmos.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert printed == [file.read_text().strip()] * 2


def test_a_lost_answer_is_what_the_client_sees_as_conflict(tmp_path: Path) -> None:
    """A 503 after the write took effect: the SDK sends it again and then meets its own first attempt."""
    with endpoint(tmp_path, "--faults") as part:
        container = container_of(part)
        assert part.port is not None
        fault = {"status": 503, "n": 1, "method": "POST", "kind": "docs", "after": True}
        assert call(part.port, "POST", "/_local/fault", fault, sign=False)[2] == {"open": 1}
        with pytest.raises(CosmosHttpResponseError) as seen:
            container.create_item({"id": "a", "pk": "t"})
        assert seen.value.status_code in (409, 503)
        assert container.read_item("a", "t")["id"] == "a"


def test_a_budget_throttles_and_says_when_to_come_again(tmp_path: Path) -> None:
    with endpoint(tmp_path, "--ru-budget", "5") as part:
        client = CosmosClient(f"http://localhost:{part.port}", KEY)
        container = client.create_database("d").create_container("c", PartitionKey("/pk"))
        assert part.port is not None
        headers = {"x-ms-documentdb-partitionkey": '["t"]'}
        answers = [
            call(part.port, "POST", "/dbs/d/colls/c/docs", {"id": str(n), "pk": "t"}, headers) for n in range(20)
        ]
        refused = [found for status, found, _ in answers if status == 429]
        assert refused
        assert {found["x-ms-substatus"] for found in refused} == {"3200"}
        assert all(0 < int(found["x-ms-retry-after-ms"]) <= 1000 for found in refused)
        for number in range(100, 103):
            container.create_item({"id": str(number), "pk": "t"})  # the SDK waits as it is told


def test_a_query_that_names_no_tenant_is_refused_when_the_switch_is_on(tmp_path: Path) -> None:
    with endpoint(tmp_path, "--deny-cross-partition") as part:
        container = container_of(part)
        container.create_item({"id": "a", "pk": "t"})
        leaks = [
            lambda: container.query_items("SELECT * FROM c", enable_cross_partition_query=True),
            lambda: container.query_items("SELECT * FROM c ORDER BY c.id", enable_cross_partition_query=True),
            lambda: container.read_all_items(),
            lambda: container.query_items_change_feed(start_time="Beginning"),
        ]
        for leak in leaks:
            with pytest.raises(CosmosHttpResponseError) as refused:
                list(leak())
            assert refused.value.status_code == 403
        assert len(list(container.query_items("SELECT * FROM c", partition_key="t"))) == 1
        assert len(list(container.query_items_change_feed(partition_key="t", start_time="Beginning"))) == 1
        assert [item["id"] for item in container.read_items([("a", "t"), ("b", "u")])] == ["a"]
