"""Identifiers: a prefix that tells the kind, then a ULID that sorts by the time of its making (`srv_01J9Z...`).

The format of the second part is the ULID specification's (https://github.com/ulid/spec).
"""

from __future__ import annotations

import hashlib
import os
from base64 import b32encode
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NewType

from shared.platform.clock import Clock, SystemClock

OrgId = NewType("OrgId", str)
UserId = NewType("UserId", str)
MemberId = NewType("MemberId", str)
InvitationId = NewType("InvitationId", str)
RoleId = NewType("RoleId", str)
GrantId = NewType("GrantId", str)
ApiKeyId = NewType("ApiKeyId", str)
SessionId = NewType("SessionId", str)
NodeId = NewType("NodeId", str)
EnrolmentId = NewType("EnrolmentId", str)
CertificateId = NewType("CertificateId", str)
ServerId = NewType("ServerId", str)
TemplateId = NewType("TemplateId", str)
TaskId = NewType("TaskId", str)
CommandId = NewType("CommandId", str)
AuditId = NewType("AuditId", str)

#: The prefix of each kind. A prefix is never reused for another kind: ids live on in logs and in customers' scripts.
PREFIXES: Final[dict[Any, str]] = {
    OrgId: "org",
    UserId: "usr",
    MemberId: "mem",
    InvitationId: "inv",
    RoleId: "rol",
    GrantId: "grt",
    ApiKeyId: "key",
    SessionId: "ses",
    NodeId: "nod",
    EnrolmentId: "enr",
    CertificateId: "crt",
    ServerId: "srv",
    TemplateId: "tpl",
    TaskId: "tsk",
    CommandId: "cmd",
    AuditId: "aud",
}

_CROCKFORD: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")
_ULID_PATTERN: Final = "[0-7][0-9A-HJKMNP-TV-Z]{25}"


def pattern(prefix: str) -> str:
    """The regular expression of an id with that prefix."""
    return f"^{prefix}_{_ULID_PATTERN}$"


class Ids:
    """Makes identifiers; time and randomness are given, so that a test can know what will be made."""

    def __init__(self, clock: Clock | None = None, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock or SystemClock()
        self._entropy = entropy

    def new(self, prefix: str) -> str:
        """A new id, for example `new("srv")`."""
        return make(prefix, self._clock.now(), self._entropy(10))


def make(prefix: str, moment: datetime, randomness: bytes) -> str:
    """The id of exactly this moment and these 10 random bytes. Ids begin with 1970: an earlier moment has that one's."""
    if len(randomness) != 10:
        raise ValueError(f"an id takes 10 random bytes, not {len(randomness)}")
    return f"{prefix}_{encoded(max(0, round(moment.timestamp() * 1000)), randomness)}"


def encoded(milliseconds: int, randomness: bytes) -> str:
    """A ULID: 48 bits of time, 80 of randomness, in Crockford's base 32."""
    # Base32 works in groups of 5 bytes: with 4 zero bytes in front, the last 26 characters are the ULID's 128 bits.
    text = b32encode(b"\0\0\0\0" + milliseconds.to_bytes(6, "big") + randomness)[6:]
    return text.translate(_CROCKFORD).decode()


def derived(prefix: str, moment: datetime, *parts: str) -> str:
    """The id that follows from its parts alone: a step that is run twice makes the same id twice.

    The moment must come from stored state too, never from the clock.
    """
    digest = hashlib.sha256("\x1f".join((prefix, *parts)).encode()).digest()
    return make(prefix, moment, digest[:10])
