"""The API client against a small real server that answers what each test wrote down."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.api import Api
from cli.errors import ApiError, CliError, NotSignedIn, Unreachable
from cli.profile import Profile

BROKEN = 0  # in place of a status: the line ends without an answer
Answer = tuple[int, dict[str, str], Any]


class Script(ThreadingHTTPServer):
    """Answers in the order written; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Script

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        status, headers, content = self.server.answers.pop(0)
        if status == BROKEN:
            self.close_connection = True
            return
        payload = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PATCH = do_DELETE = _do

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def script() -> Iterator[Script]:
    with Script() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def api(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("MERIDIAN_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("MERIDIAN_API_KEY", raising=False)
    port = script.server_address[1]
    return Api(
        Profile(
            api=f"http://127.0.0.1:{port}", access_token="t", access_expires_at=time.time() + 600, refresh_token="r"
        )
    )


def test_a_busy_answer_is_waited_for(api: Api, script: Script) -> None:
    script.answers = [(429, {"Retry-After": "0"}, {"code": "rate_limited"}), (200, {}, {"ok": True})]
    assert api.get("/v1/x") == {"ok": True}
    assert len(script.asked) == 2


def test_a_limit_of_a_day_is_told_and_not_waited_for(api: Api, script: Script) -> None:
    script.answers = [(429, {"Retry-After": "79200"}, {"code": "too_many", "detail": "3 within a day"})]
    with pytest.raises(ApiError, match="3 within a day"):
        api.post("/v1/x", {})
    assert len(script.asked) == 1


def test_a_post_that_is_repeated_keeps_its_idempotency_key(api: Api, script: Script) -> None:
    script.answers = [(503, {"Retry-After": "0"}, {}), (201, {}, {"id": "a"})]
    api.post("/v1/x", {"name": "a"})
    keys = {headers["idempotency-key"] for _, _, headers, _ in script.asked}
    assert len(script.asked) == 2
    assert len(keys) == 1


def test_a_change_sends_the_etag_that_was_read(api: Api, script: Script) -> None:
    script.answers = [(200, {"ETag": '"7"'}, {}), (200, {}, {"name": "b"})]
    assert api.change("PATCH", "/v1/x", {"name": "b"}) == {"name": "b"}
    assert script.asked[1][2]["if-match"] == '"7"'


def test_pages_follow_the_next_link_up_to_the_limit(api: Api, script: Script) -> None:
    script.answers = [
        (200, {}, {"items": [{"n": 1}, {"n": 2}], "next": "/v1/x?cursor=c"}),
        (200, {}, {"items": [{"n": 3}, {"n": 4}]}),
    ]
    assert [row["n"] for row in api.pages("/v1/x", limit=3)] == [1, 2, 3]
    assert script.asked[1][1] == "/v1/x?cursor=c"


def test_an_expiring_token_is_renewed_first_and_kept(api: Api, script: Script) -> None:
    api.profile.access_expires_at = time.time() + 5
    script.answers = [
        (200, {}, {"access_token": "t2", "expires_in": 600, "refresh_token": "r2", "organization": "org_1"}),
        (200, {}, {}),
    ]
    api.get("/v1/x")
    assert b"refresh_token=r" in script.asked[0][3]
    assert script.asked[1][2]["authorization"] == "Bearer t2"
    assert Profile.load("default").refresh_token == "r2"


def test_a_refusal_tells_reason_fields_and_request(api: Api, script: Script) -> None:
    problem = {
        "code": "invalid",
        "title": "Invalid",
        "detail": "2 fields are wrong",
        "request_id": "req-1",
        "errors": [{"field": "name", "message": "too long"}],
    }
    script.answers = [(422, {}, problem)]
    with pytest.raises(ApiError) as caught:
        api.post("/v1/x", {})
    assert str(caught.value).splitlines() == ["2 fields are wrong", "  name: too long", "  (invalid, request req-1)"]


def test_an_api_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERIDIAN_CONFIG_DIR", str(tmp_path))
    with pytest.raises(CliError, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        Api(Profile(api="http://127.0.0.1:1", access_token="t", access_expires_at=time.time() + 600)).get("/v1/x")


def test_nobody_signed_in_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MERIDIAN_API_KEY", raising=False)
    with pytest.raises(CliError, match="nobody is signed in"):
        Api(Profile()).get("/v1/x")


def test_a_broken_line_is_tried_again_where_that_does_nothing_twice(api: Api, script: Script) -> None:
    script.answers = [(BROKEN, {}, None), (201, {}, {"id": "a"})]
    assert api.post("/v1/x", {"name": "a"}) == {"id": "a"}
    assert len({headers["idempotency-key"] for _, _, headers, _ in script.asked}) == 1
    for twice_is_felt in (lambda: api.call("DELETE", "/v1/x"), lambda: api.post("/v1/x", {"line": "give"}, once=True)):
        script.answers = [(BROKEN, {}, None)]
        with pytest.raises(Unreachable):
            twice_is_felt()


def test_of_commands_at_the_same_time_one_renews_and_all_go_on(api: Api, script: Script) -> None:
    """A refresh token that is sent twice ends the sign-in."""
    fresh = {"access_token": "t2", "expires_in": 600, "refresh_token": "r2", "organization": "org_1"}
    script.answers = [(200, {}, fresh), *[(200, {}, {})] * 4]
    api.profile.access_expires_at = time.time() + 5
    api.profile.save()
    others = [Api(Profile.load("default")) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda other: other.get("/v1/x"), others))
    assert [path for _, path, _, _ in script.asked].count("/v1/auth/token") == 1
    assert {headers["authorization"] for _, path, headers, _ in script.asked if path == "/v1/x"} == {"Bearer t2"}


def test_tokens_are_not_sent_to_another_address(api: Api) -> None:
    api.profile.save()
    elsewhere = api.profile.at("http://127.0.0.1:1")
    assert (elsewhere.access_token, elsewhere.refresh_token) == ("", "")
    with pytest.raises(NotSignedIn, match=r"nobody is signed in at http://127\.0\.0\.1:1"):
        Api(elsewhere).get("/v1/x")


@pytest.mark.parametrize(("status", "code"), [(401, 3), (404, 4), (403, 1), (409, 1), (500, 1)])
def test_the_exit_code_tells_what_kind_of_refusal_it_was(status: int, code: int) -> None:
    assert ApiError.from_body(status, {}).exit_code == code
