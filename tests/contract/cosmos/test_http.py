"""HTTP as odd clients speak it: many requests at once, bodies in pieces, too much of everything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import quote

import orjson
import pytest

from local.cosmos.auth import MasterKey
from local.cosmos.routes import signed_resource
from tests.contract.cosmos.rawhttp import date
from tests.contract.cosmos.target import KEY, Target

pytestmark = pytest.mark.local_only


@pytest.fixture
def connection(target: Target) -> Iterator[socket.socket]:
    port = int(target.endpoint.rsplit(":", 1)[1].strip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield connection


def request(method: str, path: str, body: bytes = b"", *more: str, length: bool = True) -> bytes:
    """A signed request as bytes."""
    now = date()
    signature = MasterKey(KEY).signature(method, *signed_resource(tuple(path.strip("/").split("/"))), now)
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: x",
        f"x-ms-date: {now}",
        f"authorization: {quote(f'type=master&ver=1.0&sig={signature}', safe='')}",
        *more,
    ]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answers(connection: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """So many answers, in the order in which they come."""
    stream, found = connection.makefile("rb"), []
    for _ in range(count):
        status = int(stream.readline().split()[1])
        headers = {}
        while line := stream.readline().strip():
            name, value = line.decode().split(": ", 1)
            headers[name] = value
        found.append((status, headers, stream.read(int(headers.get("content-length", 0)))))
    return found


def test_requests_sent_ahead_are_answered_in_order(connection: socket.socket, target: Target) -> None:
    """Writes wait for a commit and reads do not: still nothing overtakes."""
    docs = f"/dbs/{target.database}/colls/plain/docs"
    sent = b""
    for number in range(20):
        key = 'x-ms-documentdb-partitionkey: ["ahead"]'
        body = orjson.dumps({"id": f"ahead-{number}", "tenant": "ahead"})
        upsert = "x-ms-documentdb-is-upsert: True"
        sent += request("POST", docs, body, key, upsert, f"x-ms-activity-id: write-{number}")
        sent += request("GET", f"{docs}/ahead-{number}", b"", key, f"x-ms-activity-id: read-{number}")
    connection.sendall(sent)
    found = answers(connection, 40)
    assert [headers["x-ms-activity-id"] for _, headers, _ in found] == [
        f"{kind}-{number}" for number in range(20) for kind in ("write", "read")
    ]
    assert {status for status, _, _ in found} <= {200, 201}
    ids = [orjson.loads(body)["id"] for _, _, body in found]
    assert ids == [f"ahead-{number}" for number in range(20) for _ in range(2)]


def test_a_body_in_pieces(connection: socket.socket, target: Target) -> None:
    head = request(
        "POST",
        f"/dbs/{target.database}/colls/plain/docs",
        b"",
        'x-ms-documentdb-partitionkey: ["t"]',
        "x-ms-documentdb-is-upsert: True",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        length=False,
    )
    connection.sendall(head)
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    for piece in (b'{"id":"pie', b'ces","ten', b'ant":"t"}'):
        connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    connection.sendall(b"0\r\n\r\n")
    [(status, _, body)] = answers(connection, 1)
    assert status in (200, 201)
    assert orjson.loads(body)["id"] == "pieces"


def test_the_connection_closes_when_asked(connection: socket.socket) -> None:
    connection.sendall(request("GET", "/dbs", b"", "Connection: close"))
    [(status, headers, _)] = answers(connection, 1)
    assert (status, headers["connection"]) == (200, "close")
    assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("case", "sent", "status"),
    [
        ("not HTTP", b"\x16\x03\x01 hello\r\n\r\n", 400),
        ("endless headers", b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        ("upgrade", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    connection: socket.socket, case: str, sent: bytes, status: int
) -> None:
    connection.sendall(sent)
    text = b""
    while piece := connection.recv(65536):
        text += piece
    assert text.startswith(b"HTTP/1.1 %d " % status) or (case == "upgrade" and text.startswith(b"HTTP/1.1 401")), text


def test_a_request_that_names_another_host_of_ours_gets_that_address_back(connection: socket.socket) -> None:
    """The SDK goes on with the address that the account document gives: it must be the one that it came by."""
    connection.sendall(request("GET", "/").replace(b"Host: x", b"Host: cosmos.test:1234"))
    [(status, _, body)] = answers(connection, 1)
    assert status == 200
    assert orjson.loads(body)["writableLocations"][0]["databaseAccountEndpoint"] == "http://cosmos.test:1234/"
