"""HTTP triggers as the real host has them: routes, methods, headers, query, bodies, answers."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.functions_host import APPS, HostProcess


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    data = tmp_path_factory.mktemp("host") / "data"
    with HostProcess(APPS / "http_sample", data, env={"AzureWebJobs.switched_off.Disabled": "true"}) as running:
        yield running


def seen(host: HostProcess, method: str, path: str, **options: Any) -> dict[str, Any]:
    answer = host.call(method, path, **options)
    assert answer.status_code == 200, answer.status_code
    document: dict[str, Any] = answer.json()
    return document


@pytest.mark.parametrize(
    ("method", "path", "function", "route"),
    [
        pytest.param("GET", "/api/items/special", "literal", {}, id="a literal goes before parameters"),
        pytest.param("GET", "/api/items/7", "by_number", {"id": "7"}, id="a constraint goes before a plain parameter"),
        pytest.param("GET", "/api/items/seven", "by_name", {"name": "seven"}, id="what no constraint takes"),
        pytest.param("GET", "/api/items/99999999999", "by_name", {"name": "99999999999"}, id="int has 32 bits"),
        pytest.param("PUT", "/api/items/7", "put_number", {"id": "7"}, id="the method chooses among equal routes"),
        pytest.param(
            "DELETE", "/api/items/special", "by_name", {"name": "special"}, id="a literal of another method gives way"
        ),
        pytest.param("GET", "/API/Items/SPECIAL", "literal", {}, id="case does not matter"),
        pytest.param("GET", "/api/items/a%20b", "by_name", {"name": "a b"}, id="values are decoded"),
        pytest.param("GET", "/api/items/a%2Fb", "by_name", {"name": "a%2Fb"}, id="an encoded slash stays encoded"),
        pytest.param("GET", "/api/optional/a/b", "optional", {"first": "a", "second": "b"}, id="optional, given"),
        pytest.param("GET", "/api/optional/a", "optional", {"first": "a"}, id="optional, absent"),
        pytest.param("GET", "/api/files/x/y/z.txt", "catch_all", {"rest": "x/y/z.txt"}, id="catch-all"),
        pytest.param("GET", "/api/echo/", "echo", {}, id="a trailing slash"),
        pytest.param("PATCH", "/api/echo", "echo", {}, id="no methods named: every method"),
    ],
)
def test_the_route_that_answers(
    host: HostProcess, method: str, path: str, function: str, route: dict[str, str]
) -> None:
    told = seen(host, method, path)
    assert (told["function"], told["route"]) == (function, route)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "/api/items/7", id="a wrong method is 404, not 405"),
        pytest.param("HEAD", "/api/items/7", id="GET does not take HEAD along"),
        pytest.param("GET", "/api/optional", id="a parameter that is not optional"),
        pytest.param("GET", "/api/optional/a/b/c", id="a segment too many"),
        pytest.param("GET", "/echo", id="without the prefix"),
        pytest.param("GET", "/api/switched-off", id="a function that a setting switches off"),
        pytest.param("GET", "/api/nowhere", id="no such route"),
    ],
)
def test_404(host: HostProcess, method: str, path: str) -> None:
    answer = host.call(method, path)
    assert (answer.status_code, answer.content) == (404, b"")


def test_query_drops_empty_values_and_joins_repeated_ones(host: HostProcess) -> None:
    told = seen(host, "GET", "/api/echo?a=1&b=&a=2&c=%C3%BC&d=x+y&code=k")
    assert told["params"] == {"a": "1,2", "c": "ü", "d": "x y", "code": "k"}
    assert told["url"].endswith("/api/echo?a=1&b=&a=2&c=%C3%BC&d=x+y&code=k")


def test_headers_are_lower_case_and_repeated_ones_joined(host: HostProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
    connection.putrequest("GET", "/api/echo")
    connection.putheader("X-Thing", "1")
    connection.putheader("x-thing", "2")
    connection.endheaders()
    told = json.loads(connection.getresponse().read())
    connection.close()
    assert told["headers"]["x-thing"] == "1,2"


def test_the_caller_is_appended_to_x_forwarded_for(host: HostProcess) -> None:
    forwarded = seen(host, "GET", "/api/echo", headers={"X-Forwarded-For": "203.0.113.9"})["headers"]["x-forwarded-for"]
    first, _, last = forwarded.partition(", ")
    assert first == "203.0.113.9"
    assert last.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", ["X-ARR-ClientCert", "X-MS-CLIENT-PRINCIPAL", "X-MS-CLIENT-PRINCIPAL-ID"])
def test_a_header_that_only_the_front_may_set_never_reaches_the_app(host: HostProcess, name: str) -> None:
    assert name.lower() not in seen(host, "GET", "/api/echo", headers={name: "forged"})["headers"]


def test_a_body_arrives_whole(host: HostProcess) -> None:
    body = bytes(range(256)) * 4096  # a MiB, so that it comes in many pieces
    assert seen(host, "POST", "/api/echo", data=body)["body"].encode("latin-1") == body


def test_chunked_bodies_are_411(host: HostProcess) -> None:
    answer = host.call("POST", "/api/echo", data=iter([b"one", b"two"]))
    assert (answer.status_code, answer.content) == (411, b"")


def test_a_connection_answers_on_after_411(host: HostProcess) -> None:
    with socket.create_connection(("127.0.0.1", host.port), timeout=30) as link:
        link.sendall(b"POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert link.recv(1000).startswith(b"HTTP/1.1 411")
        link.sendall(b"GET /api/text HTTP/1.1\r\nHost: x\r\n\r\n")
        assert link.recv(1000).startswith(b"HTTP/1.1 200")


def test_a_body_above_the_limit_is_413_before_it_is_read(host: HostProcess) -> None:
    with socket.create_connection(("127.0.0.1", host.port), timeout=30) as link:
        link.sendall(b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        assert link.recv(1000).startswith(b"HTTP/1.1 413")


def test_chunked_bodies_arrive_empty_without_strict(tmp_path: Any) -> None:
    with HostProcess(APPS / "http_sample", tmp_path / "data", "--no-strict") as lenient:
        assert seen(lenient, "POST", "/api/echo", data=iter([b"one", b"two"]))["body"] == ""


def test_a_str_is_an_answer(host: HostProcess) -> None:
    answer = host.call("GET", "/api/text")
    assert (answer.status_code, answer.content.decode()) == (200, "plain text ✓")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_several_cookies_and_one_value_of_any_other_header(host: HostProcess) -> None:
    answer = host.call("GET", "/api/cookies")
    raw = answer.raw.headers
    assert raw.getlist("set-cookie") == ["first=1; HttpOnly; Path=/", "second=a%2Fb; SameSite=Lax"]
    assert raw.getlist("x-twice") == ["2"]
    assert answer.headers["x-once"] == "1"
    assert (answer.headers["content-length"], answer.content) == ("2", b"ok")


@pytest.mark.parametrize("path", ["raises", "nothing", "dictionary", "bad-header", "status/999", "status/100"])
def test_what_fails_is_500_with_an_empty_body(host: HostProcess, path: str) -> None:
    answer = host.call("GET", f"/api/{path}")
    assert (answer.status_code, answer.content) == (500, b"")
    assert "x-broken" not in answer.headers


@pytest.mark.parametrize(
    ("code", "body"), [(201, b"told"), (204, b""), (304, b""), (404, b"told"), (418, b"told"), (599, b"told")]
)
def test_statuses(host: HostProcess, code: int, body: bytes) -> None:
    answer = host.call("GET", f"/api/status/{code}")
    assert (answer.status_code, answer.content) == (code, body)


def test_head_has_the_length_and_no_body(host: HostProcess) -> None:
    answer = host.call("HEAD", "/api/text")
    assert (answer.headers["content-length"], answer.content) == (str(len("plain text ✓".encode())), b"")


def test_async_functions_run_on_the_loop_and_plain_ones_in_a_thread(host: HostProcess) -> None:
    assert host.call("GET", "/api/where/am-i").text == "MainThread"
    assert host.call("GET", "/api/thread").text.startswith("function_")


def test_the_trace_goes_on_with_a_new_span(host: HostProcess) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    trace = host.call("GET", "/api/thread", headers={"traceparent": parent}).text.split()[1]
    assert trace.startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert "00f067aa0ba902b7" not in trace


def test_a_stop_does_not_wait_for_a_thread(tmp_path: Any) -> None:
    with HostProcess(APPS / "http_sample", tmp_path / "data") as stubborn:
        assert stubborn.call("GET", "/api/slow-sync").status_code == 500  # its thread sleeps on for 20 seconds
        before = time.monotonic()
        assert stubborn.part.stop() == 0
        assert time.monotonic() - before < 15
        assert "still running in a thread; left behind" in stubborn.part.output()


@pytest.mark.parametrize("path", ["slow-async", "slow-sync"])
def test_function_timeout_fails_the_call_and_the_host_goes_on(host: HostProcess, path: str) -> None:
    answer = host.call("GET", f"/api/{path}")
    assert (answer.status_code, answer.content) == (500, b"")
    assert answer.elapsed.total_seconds() < 15  # not the 20 or 30 that they sleep
    assert host.call("GET", "/api/text").status_code == 200


def test_the_log_tells_each_call_in_a_line(host: HostProcess) -> None:
    host.call("GET", "/api/raises?secret=1")
    host.call("GET", "/api/thread")
    host.call("GET", "/api/levels/admin")
    lines = [line for line in _settled(host, "ValueError: told to").splitlines() if " http " in line]
    failed = next(line for line in lines if "ValueError: told to" in line)
    assert "GET /api/raises " in failed
    assert re.search(r"\(function_app\.py:\d+\)$", failed)
    assert " ms " in failed
    assert "secret" not in host.part.output()
    assert any("GET /api/levels/admin" in line and "401" in line for line in lines)
    assert "a line of the app, by where_sync" in host.part.output()


def test_junk_on_the_port_does_no_harm(host: HostProcess) -> None:
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 100, b"A" * 70_000):
        with socket.create_connection(("127.0.0.1", host.port), timeout=30) as link:
            link.sendall(junk)
    assert host.call("GET", "/api/text").status_code == 200


def test_the_home_page_says_that_the_app_runs(host: HostProcess) -> None:
    assert "up and running" in host.call("GET", "/").text


def _settled(host: HostProcess, text: str) -> str:
    """The log once it holds the text and the line of the last request (lines are written in batches of milliseconds)."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        output = host.part.output()
        if text in output and "GET /api/levels/admin" in output:
            return output
        time.sleep(0.01)
    raise AssertionError(f"{text!r} never came:\n{host.part.output()}")
