"""Signed envelopes: how a command or a report becomes the text that travels, and how it is read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.messaging import codec, jws
from shared.messaging.limits import MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES

T = TypeVar("T")


def seal(content: object, kind: str, key: jws.PrivateKey, key_id: str) -> str:
    """The envelope, as it travels in a message's body.

    Raises:
        WireError: the content is larger than an envelope may be.
    """
    encoded = codec.to_json(content)
    if len(encoded) > MAX_PAYLOAD_BYTES:
        raise codec.WireError(
            f"the {type(content).__name__.lower()} has {len(encoded)} bytes, an envelope holds {MAX_PAYLOAD_BYTES}"
        )
    return jws.sign(encoded, key, kind, key_id)


def unseal(of: type[T], envelope: str, kind: str, find_key: Callable[[str], jws.PublicKey | None]) -> T:
    """The content of an envelope whose signature fits.

    Raises:
        SignatureError: unsigned, foreign or changed.
        WireError: signed, but not of the form (a type this side does not know, for one).
    """
    return codec.from_json(of, jws.verify(envelope, kind, find_key, MAX_ENVELOPE_BYTES), MAX_PAYLOAD_BYTES)
