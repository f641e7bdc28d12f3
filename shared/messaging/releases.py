"""Releases of the agent: what is signed about one, and the command that has a node take it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.messaging import codec, jws

RELEASE_KIND: Final = "meridian-release+jws"
MAX_RELEASE_BYTES: Final = 200 * 1024 * 1024
MAX_MANIFEST_BYTES: Final = 16 * 1024
_VERSION: Final = re.compile(r"\d{1,6}(\.\d{1,6}){1,3}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is signed about a release."""

    version: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise codec.WireError(f"manifest.version: {self.version[:40]!r} is not a version")
        if not _SHA256.fullmatch(self.sha256):
            raise codec.WireError("manifest.sha256: not 64 hexadecimal digits")
        if not 0 < self.size <= MAX_RELEASE_BYTES:
            raise codec.WireError(f"manifest.size: {self.size} bytes, at most {MAX_RELEASE_BYTES} are allowed")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version to compare by: 1.10 is after 1.9."""
        return numbers_of(self.version)


@dataclass(frozen=True, slots=True)
class UpdateNode:
    """The payload of `node.update`. What is said of the release must be what its manifest says; that one is signed."""

    url: str
    version: str
    sha256: str
    manifest: str


def numbers_of(version: str) -> tuple[int, ...]:
    """A version's numbers; of one that is none, nothing, which is before all others."""
    return tuple(int(part) for part in version.split(".")) if _VERSION.fullmatch(version) else ()


def sign_release(file: Path, version: str, key: jws.PrivateKey, key_id: str = "release") -> str:
    """The manifest of a release, for whoever makes one."""
    data = file.read_bytes()
    manifest = Manifest(version, hashlib.sha256(data).hexdigest(), len(data))
    return jws.sign(codec.to_json(manifest), key, RELEASE_KIND, key_id)


def open_manifest(text: str, key: jws.PublicKey) -> Manifest:
    """A manifest that the key has signed.

    Raises:
        SignatureError: it has not.
        WireError: signed, but not of the form.
    """
    content = jws.verify(text.strip(), RELEASE_KIND, lambda _: key, MAX_MANIFEST_BYTES)
    return codec.from_json(Manifest, content, MAX_MANIFEST_BYTES)


def peek_manifest(text: str) -> Manifest:
    """What a manifest says, whoever signed it: to name it, not to trust it.

    Raises:
        SignatureError: it is no manifest.
        WireError: not of the form.
    """
    header, content = jws.peek(text.strip(), MAX_MANIFEST_BYTES)
    if header.kind != RELEASE_KIND:
        raise jws.SignatureError(f"a {header.kind[:40]!r}, not a {RELEASE_KIND}")
    return codec.from_json(Manifest, content, MAX_MANIFEST_BYTES)
