"""Keeping secrets and e-mail addresses out of what we write down about ourselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "***"

_PATTERNS: Final = (
    (re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), MASK),  # JSON Web Tokens
    # Our API keys (their beginning is shown everywhere), refresh tokens and enrolment tokens; a test makes one of each.
    (re.compile(r"\b(mk_[0-9a-f]{10}|mrt|mce)_[\w-]{8,}"), rf"\1_{MASK}"),
    (
        re.compile(
            r"(?i)\b((?:shared)?access(?:key|signature)|accountkey|sig|invitation|[\w-]*(?:password|secret|token))="
            r"[^;&\s\"']+"
        ),
        rf"\1={MASK}",
    ),
    (re.compile(r'(?i)"([\w-]*(?:password|secret|token|_key))"(\s*:\s*)"[^"]+"'), rf'"\1"\2"{MASK}"'),
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
        clean[name] = MASK if _SECRET_NAMES.search(name) else _redacted(value)
    return clean


def _redacted(value: Any) -> Any:
    """The value with every text in it searched, however deep."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return redact_mapping(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    return value
