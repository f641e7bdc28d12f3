"""What a command says when it cannot do what was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class CliError(Exception):
    """Told to the person in one line; the program leaves with code 1."""


@dataclass
class ApiError(CliError):
    """A problem document (RFC 9457) that the API answered with."""

    status: int
    code: str
    title: str
    detail: str
    request_id: str
    errors: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [self.detail or self.title]
        lines += [f"  {row.get('field', '')}: {row.get('message', '')}" for row in self.errors]
        lines.append(f"  ({self.code}, request {self.request_id})")
        return "\n".join(lines)

    @classmethod
    def from_body(cls, status: int, body: object) -> ApiError:
        """Read a problem document; anything else becomes one that says so."""
        found = body if isinstance(body, dict) else {}
        return cls(
            status=status,
            code=str(found.get("code") or found.get("error") or f"http_{status}"),
            title=str(found.get("title") or f"the API answered {status}"),
            detail=str(found.get("detail") or found.get("error_description") or ""),
            request_id=str(found.get("request_id") or "-"),
            errors=list(found.get("errors") or []),
        )
