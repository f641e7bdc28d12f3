"""W3C trace context carried by hand: through queues, orchestrations and documents, where no library does it.

Format: https://www.w3.org/TR/trace-context/ (version 00).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

_TRACEPARENT: Final = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")
_ZERO_TRACE, _ZERO_SPAN = "0" * 32, "0" * 16


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where we are in a trace: the trace, the span that called us, and whether it is sampled."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> TraceContext:
        """A new span in the same trace."""
        return TraceContext(self.trace_id, os.urandom(8).hex(), self.sampled)


current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


def parse(traceparent: str | None) -> TraceContext | None:
    """The context of a `traceparent` value; None for an absent or malformed one, as the standard asks."""
    found = _TRACEPARENT.match(traceparent) if traceparent else None
    if found is None or found[1] == _ZERO_TRACE or found[2] == _ZERO_SPAN:
        return None
    return TraceContext(found[1], found[2], bool(int(found[3], 16) & 1))


def begin(traceparent: str | None) -> TraceContext:
    """The context of a piece of work that starts here: a child of the caller's, or a new trace."""
    parent = parse(traceparent)
    if parent is not None:
        return parent.child()
    random = os.urandom(24).hex()
    return TraceContext(random[:32], random[32:])


def inject(carrier: MutableMapping[str, str]) -> None:
    """Write the present context into headers or properties; does nothing outside a trace."""
    context = current.get()
    if context is not None:
        carrier["traceparent"] = context.traceparent


def extract(carrier: Mapping[str, str]) -> TraceContext | None:
    """Read the context from headers or properties."""
    return parse(carrier.get("traceparent"))
