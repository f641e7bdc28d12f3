"""Results that carry their reason: an answer of a rule is never a bare False."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.platform.errors import Figure

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """It may be done; here is what was found."""

    value: T


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not be done; why, with the figures."""

    code: str
    reason: str
    figures: Mapping[str, Figure] = field(default_factory=dict)


Outcome = Ok[T] | Denied
