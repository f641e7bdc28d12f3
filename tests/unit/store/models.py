"""Documents of the tests' own."""

from __future__ import annotations

from typing import ClassVar, Literal

from shared.store.documents import Document
from shared.store.unscoped import DirectoryEntry


class Note(Document):
    type: Literal["test_note"] = "test_note"
    text: str = ""
    number: int = 0
    tags: tuple[str, ...] = ()


class OtherThing(Document):
    type: Literal["test_other"] = "test_other"


class Labelled(Document):
    indexed: ClassVar[tuple[str, ...]] = ("labels",)
    type: Literal["test_labelled"] = "test_labelled"
    labels: dict[str, str]


class Event(Document):
    container: ClassVar[str] = "usage"
    type: Literal["test_event"] = "test_event"
    period: str
    what: str = ""


class Lookup(DirectoryEntry):
    type: Literal["test_lookup"] = "test_lookup"
    org: str = ""
    n: int = 0


class Kept(Document):
    """Listed by what its ids begin with."""

    indexed: ClassVar[tuple[str, ...]] = ("state",)
    id_prefix: ClassVar[str] = "kept_"
    type: Literal["test_kept"] = "test_kept"
    state: str = "open"
    text: str = ""


class KeptBeside(Document):
    """Another model whose ids begin like those of `Kept`."""

    type: Literal["test_beside"] = "test_beside"
