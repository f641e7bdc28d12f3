"""W3C Trace Context (https://www.w3.org/TR/trace-context/): the one header that follows a request to the agent and back."""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def valid_traceparent(text: str | None) -> str | None:
    """The text when it is a version-00 `traceparent`, else None: a broken one is dropped, never an error."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None
