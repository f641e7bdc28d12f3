"""Which paths and headers the SDK sends: a new version that sends another one is noticed here, before anything breaks."""

from __future__ import annotations

import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from local.cosmos.headers import KNOWN
from tests.contract.cosmos.driver import Cosmos, sdk
from tests.contract.cosmos.target import Target

pytestmark = pytest.mark.local_only

PLAIN = {
    "accept",
    "accept-encoding",
    "a-im",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "prefer",
    "user-agent",
    "x-ms-activity-id",
    "x-ms-client-id",
    "x-ms-client-request-id",
    "x-ms-consistency-level",
    "x-ms-continuation",
    "x-ms-date",
    "x-ms-end-epk",
    "x-ms-max-item-count",
    "x-ms-offer-throughput",
    "x-ms-read-key-type",
    "x-ms-session-token",
    "x-ms-start-epk",
    "x-ms-thinclient-proxy-operation-type",
    "x-ms-thinclient-proxy-resource-type",
    "x-ms-version",
}
SHAPES = {
    "GET ",
    "GET dbs/*/colls/*",
    "GET dbs/*/colls/*/pkranges",
    "GET dbs/*/colls/*/docs",
    "POST dbs/*/colls/*/docs",
    "GET dbs/*/colls/*/docs/*",
    "PUT dbs/*/colls/*/docs/*",
    "PATCH dbs/*/colls/*/docs/*",
    "DELETE dbs/*/colls/*/docs/*",
    "POST dbs/*/colls/*/operations/partitionkeydelete",
}


class Recorder(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Passes requests on to the endpoint and notes their shape."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.shapes: Counter[str] = Counter()
        self.headers: set[str] = set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        words = [word for word in self.path.split("?")[0].split("/") if word]
        odd = words[-2:-1] == ["operations"]
        shape = "/".join(
            "*" if at % 2 and not (odd and at == len(words) - 1) else word for at, word in enumerate(words)
        )
        self.server.shapes[f"{self.command} {shape}"] += 1
        self.server.headers |= {name.lower() for name in self.headers}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        upstream = HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        text = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        upstream.close()


@pytest.fixture
def recorder(target: Target) -> Iterator[Recorder]:
    recorder = Recorder(int(target.endpoint.rsplit(":", 1)[1].strip("/")))
    thread = threading.Thread(target=recorder.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield recorder
    recorder.shutdown()
    recorder.server_close()
    thread.join()


async def exercise(cosmos: Cosmos) -> None:
    """One of everything that an application does with items."""
    container = cosmos.plain
    await cosmos.fill(cosmos.item("a"), cosmos.item("b"))
    item = await sdk(container.read_item("a", cosmos.tenant))
    await sdk(container.replace_item("a", {**item, "n": 1}))
    await sdk(container.upsert_item(cosmos.item("c")))
    await sdk(container.patch_item("a", cosmos.tenant, [{"op": "incr", "path": "/n", "value": 1}]))
    await sdk(container.execute_item_batch([("create", (cosmos.item("d"),))], cosmos.tenant))
    await sdk(container.query_items("SELECT * FROM c ORDER BY c.id", partition_key=cosmos.tenant, max_item_count=1))
    await cosmos.query_all("SELECT * FROM c WHERE c.tenant = @tenant ORDER BY c.id")
    await cosmos.query_all("SELECT VALUE COUNT(1) FROM c")
    await sdk(container.read_items([("a", cosmos.tenant), ("b", cosmos.tenant)]))
    await sdk(container.query_items_change_feed(partition_key=cosmos.tenant, start_time="Beginning"))
    await sdk(container.query_items_change_feed(start_time="Now"))
    await sdk(container.delete_item("b", cosmos.tenant))
    await sdk(container.delete_all_items_by_partition_key(cosmos.tenant))
    await sdk(cosmos.container("hierarchical").query_items("SELECT * FROM c", partition_key=[cosmos.tenant]))


@pytest.mark.parametrize("mode", ["sync", "aio"])
async def test_the_sdk_sends_nothing_unknown(target: Target, recorder: Recorder, mode: str) -> None:
    through = Target(f"http://localhost:{recorder.server_address[1]}", "local", target.database)
    client: Any
    if mode == "sync":
        with through.client() as client:
            await exercise(Cosmos(through, mode, client))
    else:
        async with through.async_client() as client:
            await exercise(Cosmos(through, mode, client))
    shapes = set(recorder.shapes)
    assert shapes <= SHAPES, f"new paths: {shapes - SHAPES}"
    assert shapes | {"GET dbs/*/colls/*"} >= SHAPES, f"no longer used: {SHAPES - shapes}"
    # Of two containers, once: the list and the 304 that ends it. More tells that an answer named no range of the list.
    assert recorder.shapes["GET dbs/*/colls/*/pkranges"] <= 4
    unknown = recorder.headers - PLAIN - KNOWN
    assert not unknown, f"new headers: {sorted(unknown)}"
