"""Keeping secrets and e-mail addresses out of what we write down about ourselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "***"

_PATTERNS: Final = (
    (re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), MASK),  # JSON Web Tokens
    (re.compile(r"\b(mck|mrt|met)_[\w-]{8,}"), rf"\1_{MASK}"),  # our API keys, refresh tokens, enrolment tokens
    (
        re.compile(r"(?i)\b((?:shared)?access(?:key|signature)|accountkey|sig|password|secret|token)=[^;&\s\"']+"),
        rf"\1={MASK}",
    ),
    (re.compile(r"(?i)\b(bearer|basic|dpop)\s+[\w.~+/=-]{8,}"), rf"\1 {MASK}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), MASK),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<e-mail>"),
)
_SECRET_NAMES: Final = re.compile(
    r"(?i)(authorization|cookie|password|secret|token|api_?key|private_?key|signature|credential|connection_?string|x-functions-key)"
)


def redact(text: str) -> str:
    """The text without anything that looks like a secret or an e-mail address."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact_mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same for named values: a value whose name speaks of a secret goes whole, others are searched."""
    clean: dict[str, Any] = {}
    for name, value in values.items():
        if _SECRET_NAMES.search(name):
            clean[name] = MASK
        elif isinstance(value, str):
            clean[name] = redact(value)
        elif isinstance(value, Mapping):
            clean[name] = redact_mapping(value)
        else:
            clean[name] = value
    return clean
