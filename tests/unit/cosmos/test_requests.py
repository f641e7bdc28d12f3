"""What a request must bring before anything is looked up: the key, the signature, a token of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from local.cosmos.app import App
from local.cosmos.auth import MasterKey
from local.cosmos.continuation import TokenSigner
from local.cosmos.engine import Engine, Options
from local.cosmos.errors import CosmosError
from tests.unit.cosmos.engines import open_storage


def test_a_token_is_good_for_its_binding_only() -> None:
    signer = TokenSigner("key")
    token = signer.make(b"query", {"r": 1})
    assert signer.read(b"query", token) == {"r": 1}
    for other, binding in ((signer, b"another"), (TokenSigner("other key"), b"query")):
        with pytest.raises(CosmosError):
            other.read(binding, token)


@pytest.mark.parametrize("token", ["", "x", "====", "AAAA", "é"])
def test_a_broken_token_is_refused(token: str) -> None:
    with pytest.raises(CosmosError):
        TokenSigner("key").read(b"", token)


def test_the_key_must_be_base64() -> None:
    for bad in ("", "not base64!", "a"):
        with pytest.raises(ValueError, match="key"):
            MasterKey(bad)


async def test_the_application_answers_any_asgi_server(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    key = "a2V5"
    engine = Engine(storage, MasterKey(key), TokenSigner(key), Options())
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/dbs",
        "headers": [(b"host", b"x")],
        "client": ("127.0.0.1", 1),
    }
    await App(engine)(scope, receive, send)
    assert sent[0]["status"] == 401
    assert orjson.loads(sent[1]["body"])["code"] == "Unauthorized"
    engine.close()
