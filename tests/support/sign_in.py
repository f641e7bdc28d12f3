"""What a client of the sign-in says to the API, and how a refusal looks."""

from __future__ import annotations

import base64
import json
from typing import Any

import requests

from tests.support.house import HouseForTests
from tests.support.people import EXCHANGE, JWT_TYPE, PATIENCE


def exchange(house: HouseForTests, token: str, **more: str) -> requests.Response:
    """Offer a token of a sign-in site in exchange for one of ours."""
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": JWT_TYPE, **more}
    return requests.post(f"{house.api}/v1/auth/token", data=form, timeout=PATIENCE)


def refused(reply: requests.Response, *words: str) -> bool:
    """Whether it is a refusal in OAuth's form whose reason has these words, and is not to be cached."""
    assert reply.status_code == 400, reply.text
    assert reply.headers["Cache-Control"] == "no-store"
    body = reply.json()
    assert body["error"] == "invalid_grant"
    assert all(word in body["error_description"] for word in words), body
    return True


def b64(value: bytes | dict[str, Any]) -> str:
    """As it stands in a JWT: unpadded base64url, of JSON if it is a mapping."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
