"""Secret values of servers: sealed with AES-256-GCM under the installation's key, bound to their server.

The key lies in the secret store and is made at first use. Without it nothing is opened: this fails closed.
"""

from __future__ import annotations

import base64
import json
import os
import secrets as randomness
from collections.abc import Mapping
from typing import Final

from shared.platform.secrets import Secrets
from shared.templates.models import Scalar

KEY_NAME: Final = "server-variables-key"


class Sealer:
    """Seals and opens."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def seal(self, server_id: str, values: Mapping[str, Scalar]) -> str:
        """The values as a text that can be stored."""
        if not values:
            return ""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(12)
        sealed = AESGCM(await self._key()).encrypt(nonce, json.dumps(dict(values)).encode(), server_id.encode())
        return base64.b64encode(nonce + sealed).decode()

    async def open(self, server_id: str, text: str) -> dict[str, Scalar]:
        """The reverse of `seal`."""
        if not text:
            return {}
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        raw = base64.b64decode(text)
        found: dict[str, Scalar] = json.loads(AESGCM(await self._key()).decrypt(raw[:12], raw[12:], server_id.encode()))
        return found

    async def _key(self) -> bytes:
        kept = await self._secrets.get(KEY_NAME)
        if kept is None:
            kept = await self._secrets.create(KEY_NAME, base64.b64encode(os.urandom(32)).decode())
        return base64.b64decode(kept)


def make_secret(kind: str) -> str:
    """A value that nobody has to think of."""
    return randomness.token_urlsafe(18) if kind == "password" else randomness.token_hex(16)
