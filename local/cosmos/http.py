"""A request as the handlers see it, and their answers."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from local.cosmos.charges import METADATA, Operation
from local.cosmos.errors import bad_request


class Headers:
    """Request headers, decoded when asked for: most of what an SDK sends is never looked at."""

    __slots__ = ("raw",)

    def __init__(self, raw: dict[bytes, bytes]) -> None:
        self.raw = raw

    def get(self, name: str, default: str = "") -> str:
        """The value of a header."""
        value = self.raw.get(name.encode())
        return default if value is None else value.decode("latin-1")

    def find(self, name: str) -> str | None:
        """The value of a header, or None."""
        value = self.raw.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def __contains__(self, name: str) -> bool:
        return name.encode() in self.raw


@dataclass(slots=True)
class Request:
    """One HTTP request, its path percent-decoded and split."""

    method: str
    segments: tuple[str, ...]
    headers: Headers
    body: bytes
    origin: str  # scheme and Host header: what the client calls this endpoint
    now: float

    @property
    def second(self) -> int:
        """The time in whole seconds, as `_ts` counts."""
        return int(self.now)

    @property
    def is_query(self) -> bool:
        """Whether a POST carries a query rather than a resource."""
        return self.flag("x-ms-documentdb-isquery") or self.headers.get("content-type").startswith(
            "application/query+json"
        )

    def flag(self, name: str) -> bool:
        """A header that is true, in any case: the SDK writes `True`."""
        return self.headers.raw.get(name.encode(), b"").lower() == b"true"

    def number(self, name: str, default: int) -> int:
        """A header that is a whole number.

        Raises:
            CosmosError: 400, it is none.
        """
        text = self.headers.find(name)
        if text is None:
            return default
        try:
            return int(text)
        except ValueError:
            raise bad_request(f"The header {name} must be a whole number, not {text!r}.") from None


class Done(NamedTuple):
    """What was done to one item, and its part of the charge."""

    operation: str
    id: str
    charge: float


@dataclass(slots=True)
class Response:
    """An answer: JSON, or nothing."""

    status: int
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    charge: float = METADATA
    operation: Operation = Operation.METADATA
    content_type: str = "application/json"
    done: Sequence[Done] = ()  # to which items, for the meter; of a batch each


# Most requests are answered at once; those that wait for a commit or a thread are answered later.
Answer = Response | Awaitable[Response]
