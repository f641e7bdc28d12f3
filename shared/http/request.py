"""A request as the rest of the house sees it: no type of the platform's goes further in than this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.platform.tracing import TraceContext


@dataclass(slots=True)
class Request:
    """One HTTP request. Header names are lower case; a repeated header or query parameter is joined with a comma."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    route_params: Mapping[str, str]
    body: bytes
    id: str
    trace: TraceContext
    hops: int = 1
    _address: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """The caller's IP address: the entry of `X-Forwarded-For` that our own front wrote, never one sent by the caller."""
        if self._address is None:
            entries = self.headers.get("x-forwarded-for", "").split(",")
            entry = entries[-self.hops].strip() if len(entries) >= self.hops else ""
            self._address = _without_port(entry) or "unknown"
        return self._address

    @property
    def origin(self) -> str | None:
        """The `Origin` of a browser's call."""
        return self.headers.get("origin")


def _without_port(entry: str) -> str:
    """`203.0.113.7:52311` and `[2001:db8::1]:52311` without the port that App Service adds."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
