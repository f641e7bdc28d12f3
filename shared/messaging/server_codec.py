"""The strict reader of the contract, under the name that the servers' files use."""

from __future__ import annotations

from shared.messaging.codec import MAX_ITEMS, MAX_TEXT, WireError, from_wire, to_wire

__all__ = ["MAX_ITEMS", "MAX_TEXT", "WireError", "from_wire", "to_wire"]
