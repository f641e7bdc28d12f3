"""The sides of the Cosmos benches: our endpoint, the emulator on npm, and SQLite with nothing around it."""

from __future__ import annotations

import asyncio
import base64
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from local.cosmos import documents
from local.cosmos.indexing import check_definition
from local.cosmos.storage import Storage
from tests.benchmarks.cosmos_load import Client, MakeRequest
from tests.benchmarks.harness import MissingPeer, Work
from tests.benchmarks.machine import children_of, pinned
from tests.support.processes import ROOT, free_port, wait_for_port

KEY = base64.b64encode(b"benchmark key").decode()
EMULATOR = ROOT / "node_modules" / "@vercel" / "cosmosdb-server" / "lib" / "cli.js"
TENANTS, EACH = 10, 500
PAD = "x" * 350  # about half a kilobyte an item


def document(tenant: int, number: int) -> dict[str, Any]:
    """An item as the product's are: a few short properties and some ballast."""
    return {
        "id": f"item-{number:06}",
        "tenant": f"t{tenant}",
        "type": "server" if number % 5 else "node",
        "rank": number * 7919 % 100_003,
        "state": ("running", "stopped", "failed")[number % 3],
        "pad": PAD,
    }


DOCS = "/dbs/d/colls/c/docs"
Request = tuple[str, str, bytes, dict[str, str]]


def _keyed(tenant: int, **headers: str) -> dict[str, str]:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"x-ms-documentdb-partitionkey": f'["t{tenant}"]', **more}


def read_item(number: int) -> Request:
    """A point read."""
    return "GET", f"{DOCS}/item-{number % EACH:06}", b"", _keyed(number % TENANTS)


def create_item(number: int) -> Request:
    """A create."""
    item = {**document(number % TENANTS, 0), "id": f"new-{number}"}
    return "POST", DOCS, orjson.dumps(item), _keyed(number % TENANTS)


def create_batch(number: int) -> Request:
    """A batch of ten creates."""
    items = [{**document(0, 0), "id": f"batch-{number}-{at}"} for at in range(10)]
    body = orjson.dumps([{"operationType": "Create", "resourceBody": item} for item in items])
    flags = {"x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"}
    return "POST", DOCS, body, _keyed(0, **flags, **{"x-ms-cosmos-batch-continue-on-error": "False"})


QUERY = "SELECT TOP 20 * FROM c WHERE c.tenant = @tenant AND c.type = 'node' ORDER BY c.rank DESC"


def query_of(tenant: int) -> Request:
    """Twenty of a tenant's items by a filter and an order."""
    body = orjson.dumps({"query": QUERY, "parameters": [{"name": "@tenant", "value": f"t{tenant}"}]})
    # Written out, since a second Content-Type would follow the common one.
    return "POST", DOCS, body, _keyed(tenant, **{"x-ms-documentdb-isquery": "True"})


def query_items(number: int) -> Request:
    """The same over all tenants in turn."""
    return query_of(number % TENANTS)


class ServerSide:
    """A server in a process of its own on the first core."""

    def __init__(self, name: str, make: MakeRequest, *, tls: bool = False) -> None:
        self.name, self._tls = name, tls
        self.folder = Path(tempfile.mkdtemp(prefix="cosmos-bench-"))
        self.port = free_port()
        self._client = Client(self.port, KEY, make, tls=tls)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """How the server is started."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Before the server starts."""

    def load(self) -> None:
        """After it has started."""

    def start(self) -> None:
        self.prepare()
        self._process = subprocess.Popen(
            pinned(0, self.command()), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_port(self.port, self._process)
        self.load()
        self.run(1.0)

    def run(self, seconds: float) -> Work:
        return self._client.run(seconds)

    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return children_of(self._process.pid)

    def check(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, "the server ended"

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


class Ours(ServerSide):
    """`local.cosmos` over a file filled beforehand."""

    def __init__(self, name: str, make: MakeRequest, *, tenants: int = TENANTS, each: int = EACH) -> None:
        super().__init__(name, make)
        self._tenants, self._each = tenants, each

    def command(self) -> list[str]:
        options = ["--port", str(self.port), "--data", str(self.folder), "--key", KEY, "--quiet"]
        return [sys.executable, "-m", "local.cosmos", *options]

    def prepare(self) -> None:
        asyncio.run(fill(self.folder, self._tenants, self._each))


async def fill(folder: Path, tenants: int, each: int) -> None:
    """A data file with a container of so many items."""

    def fail(error: Exception) -> None:
        raise error

    storage = Storage(folder / "cosmos.db", synchronous="NORMAL", on_failure=fail)
    now = int(time.time())
    definition = check_definition({"partitionKey": {"paths": ["/tenant"]}})
    container = storage.add_container(storage.add_database("d", now), "c", definition, now)
    for tenant in range(tenants):
        for number in range(each):
            with storage.committer.unit() as db:
                item = document(tenant, number)
                documents.create(db, container, container.key.of_document(item), item, now)
        await storage.committer.committed()
    storage.close()


class NpmEmulator(ServerSide):
    """`@vercel/cosmosdb-server`, the emulator on npm; in memory only.

    It always tells clients to come by https, so an SDK left at its defaults reaches it over TLS only; over plain http
    endpoint discovery must be switched off.
    """

    def command(self) -> list[str]:
        return ["node", str(EMULATOR), *([] if self._tls else ["--no-ssl"]), "--port", str(self.port)]

    def prepare(self) -> None:
        if not EMULATOR.exists() or shutil.which("node") is None:
            raise MissingPeer("run npm install, with Node.js on the PATH")

    def load(self) -> None:
        for path, body in (
            ("/dbs", {"id": "d"}),
            ("/dbs/d/colls", {"id": "c", "partitionKey": {"paths": ["/tenant"], "kind": "Hash"}}),
        ):
            self._send(lambda _, path=path, body=body: ("POST", path, orjson.dumps(body), {}), 1)

        def fill_in(number: int) -> Request:
            tenant, at = divmod(number - 1, EACH)
            return "POST", DOCS, orjson.dumps(document(tenant, at)), _keyed(tenant)

        self._send(fill_in, TENANTS * EACH)

    def _send(self, make: MakeRequest, count: int) -> None:
        Client(self.port, KEY, make, tls=self._tls).send_each(count)


class BareSqlite:
    """The same work by plain SQL in this process: no HTTP, no signature, no JSON beyond storing the text."""

    def __init__(self, name: str, work: Callable[[sqlite3.Connection, int], None]) -> None:
        self.name = name
        self._work, self._numbers = work, count()
        self._folder = Path(tempfile.mkdtemp(prefix="cosmos-bench-"))
        self._db: sqlite3.Connection | None = None

    def start(self) -> None:
        self._db = sqlite3.connect(self._folder / "bare.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE items (pk TEXT, id TEXT, body TEXT, PRIMARY KEY (pk, id)) WITHOUT ROWID")
        rows = [
            (f"t{tenant}", item["id"], orjson.dumps(item).decode())
            for tenant in range(TENANTS)
            for item in (document(tenant, number) for number in range(EACH))
        ]
        self._db.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
        self._db.execute("CREATE INDEX by_rank ON items (pk, json_extract(body,'$.type'), json_extract(body,'$.rank'))")
        self.run(0.2)

    def run(self, seconds: float) -> Work:
        assert self._db is not None
        until, units, cpu = time.perf_counter() + seconds, 0, time.process_time()
        while time.perf_counter() < until:
            self._work(self._db, next(self._numbers))
            units += 1
        return Work(units, cpu=time.process_time() - cpu)

    def pids(self) -> Sequence[int]:
        return []

    def check(self) -> None:
        assert self._db is not None
        assert self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"

    def stop(self) -> None:
        if self._db is not None:
            self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def bare_read(db: sqlite3.Connection, number: int) -> None:
    """A point read."""
    key = (f"t{number % TENANTS}", f"item-{number % EACH:06}")
    assert db.execute("SELECT body FROM items WHERE pk=? AND id=?", key).fetchone()


def bare_create(db: sqlite3.Connection, number: int) -> None:
    """A create, synced to disk."""
    item = {**document(number % TENANTS, 0), "id": f"new-{number}"}
    db.execute("INSERT INTO items VALUES (?, ?, ?)", (item["tenant"], item["id"], orjson.dumps(item).decode()))


def bare_batch(db: sqlite3.Connection, number: int) -> None:
    """Ten creates in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    for at in range(10):
        bare_create(db, number * 10 + at + 1_000_000_000)
    db.execute("COMMIT")


def bare_query(db: sqlite3.Connection, number: int) -> None:
    """Twenty rows by an index."""
    rows = db.execute(
        "SELECT body FROM items WHERE pk=? AND json_extract(body,'$.type')='node' "
        "ORDER BY json_extract(body,'$.rank') DESC LIMIT 20",
        (f"t{number % TENANTS}",),
    ).fetchall()
    assert len(rows) == 20
