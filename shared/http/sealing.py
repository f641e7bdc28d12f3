"""Sealing a kept reply that holds a secret, so that only who has the `Idempotency-Key` of its request can have it again.

The store knows a key by its hash alone. AES-256-GCM takes its key from the installation's own secret and the request's
`Idempotency-Key` together: neither a copy of the store nor that of the settings opens what is kept.
"""

from __future__ import annotations

import base64
import hmac
import os
from typing import Final

_NONCE_BYTES: Final = 12


class Sealer:
    """Seals and opens with one secret of the installation."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"meridian kept replies", "sha256")

    def seal(self, key: str, record_id: str, body: bytes) -> str:
        """The body as text that opens with the same key for the same record."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # heavy, and needed once in a while

        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._key(key)).encrypt(nonce, body, record_id.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, key: str, record_id: str, text: str) -> bytes | None:
        """The body; None if the installation's secret has changed since, or the text is damaged."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        raw = base64.b64decode(text)
        try:
            return AESGCM(self._key(key)).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], record_id.encode())
        except InvalidTag:
            return None

    def _key(self, key: str) -> bytes:
        return hmac.digest(self._secret, key.encode(), "sha256")
