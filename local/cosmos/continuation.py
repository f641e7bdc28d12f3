"""Continuation tokens: signed, and bound to the container, the partition, the query and its parameters."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any

import orjson

from local.cosmos.errors import bad_request

_MAC_BYTES = 12


class TokenSigner:
    """Makes and reads tokens. The secret is derived from the account key, so tokens outlive a restart."""

    def __init__(self, key: str) -> None:
        self._secret = hashlib.sha256(b"continuation\0" + key.encode()).digest()

    def make(self, binding: bytes, state: dict[str, Any]) -> str:
        """A token that holds `state` and is good for `binding` only."""
        payload = orjson.dumps(state)
        return base64.urlsafe_b64encode(self._mac(binding, payload) + payload).decode()

    def read(self, binding: bytes, token: str) -> dict[str, Any]:
        """The state within a token.

        Raises:
            CosmosError: 400, altered, or made for another container, partition, query or parameters.
        """
        try:
            raw = base64.urlsafe_b64decode(token.encode())
        except (binascii.Error, ValueError):
            raw = b""
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not payload or not hmac.compare_digest(mac, self._mac(binding, payload)):
            raise bad_request(
                "The continuation token is not valid for this request: it was altered, "
                "or belongs to another container, partition key, query or parameters."
            )
        state: dict[str, Any] = orjson.loads(payload)
        return state

    def _mac(self, binding: bytes, payload: bytes) -> bytes:
        message = hashlib.sha256(binding).digest() + payload
        return hmac.digest(self._secret, message, "sha256")[:_MAC_BYTES]
