"""Page cursors: the store's continuation token, sealed for one list of one organization.

A cursor is `base64url(mac || token)`. The MAC covers the tenant and the whole query, so a cursor of another tenant, of
another list, or one that somebody made up opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from shared.store.errors import BadCursor

_MAC_BYTES: Final = 16
MAX_CURSOR: Final = 4096


class Cursors:
    """Seals and opens page cursors with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(b"meridian cursor\0" + key).digest()

    def _mac(self, binding: str, token: bytes) -> bytes:
        message = binding.encode() + b"\0" + token
        return hmac.digest(self._key, message, "sha256")[:_MAC_BYTES]

    def seal(self, binding: str, token: str) -> str:
        """The cursor for a continuation token; `binding` is the tenant and query it belongs to."""
        raw = token.encode()
        return base64.urlsafe_b64encode(self._mac(binding, raw) + raw).rstrip(b"=").decode()

    def open(self, binding: str, cursor: str) -> str:
        """The continuation token of a cursor.

        Raises:
            BadCursor: it is not one of ours for exactly this binding.
        """
        try:
            raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (binascii.Error, UnicodeEncodeError):
            raise BadCursor("the cursor is not one that this list gave out") from None
        mac, token = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if len(cursor) > MAX_CURSOR or not hmac.compare_digest(mac, self._mac(binding, token)):
            raise BadCursor("the cursor is not one that this list gave out")
        return token.decode()
