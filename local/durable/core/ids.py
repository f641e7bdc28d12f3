"""Ids of instances and executions."""

from __future__ import annotations

import secrets
import time

MAX_ID_CHARACTERS = 256
_FORBIDDEN = "/\\?#"


def new_id() -> str:
    """32 hex digits, as the extension's ids look; they sort by time (RFC 9562, UUID version 7).

    Random ids would touch a page of their own in the id index with every start; these grow at its end.
    """
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return f"{value:032x}"


def why_bad(instance_id: str) -> str | None:
    """Why an id cannot be an orchestration's; None if it can. Source: Microsoft's documentation of instance ids."""
    if not instance_id:
        return "an instance id must not be empty"
    if len(instance_id) > MAX_ID_CHARACTERS:
        return f"an instance id has at most {MAX_ID_CHARACTERS} characters, this one has {len(instance_id)}"
    if instance_id.startswith("@"):
        return "an instance id must not begin with '@': that is how entities are named"
    for character in instance_id:
        if character in _FORBIDDEN or ord(character) < 32 or 127 <= ord(character) < 160:
            return f"an instance id must not contain {character!r}"
    return None
