"""What a command says when it cannot do what was asked, and the code that the program leaves with.

0: done. 1: refused, or it failed. 2: the command was not understood. 3: nobody is signed in, or the sign-in is over.
4: there is no such thing. 5: the API cannot be reached. 130: interrupted (Ctrl-C).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

REFUSED, NOT_SIGNED_IN, NOT_THERE, UNREACHABLE = 1, 3, 4, 5


class CliError(Exception):
    """Told to the person in one line or a few."""

    problem: ClassVar[str] = "refused"
    exit_code: int = REFUSED

    def document(self) -> dict[str, Any]:
        """The same for a program."""
        return {"code": self.problem, "detail": str(self)}


class Interrupted(BaseException):
    """Ctrl-C, past Typer: it would say "Aborted" and leave with 1, as after a refusal."""


class NobodyReads(BaseException):
    """Standard output was closed (`meridian ... | head`), past Typer, for which that is a failure."""


class NotSignedIn(CliError):
    """There is no token, or it is over."""

    problem = "not_signed_in"
    exit_code = NOT_SIGNED_IN


class NotThere(CliError):
    """Nothing has that name."""

    problem = "not_found"
    exit_code = NOT_THERE


class Unreachable(CliError):
    """The API or the sign-in site does not answer."""

    problem = "unreachable"
    exit_code = UNREACHABLE


@dataclass
class ApiError(CliError):
    """A problem document (RFC 9457) that the API answered with."""

    status: int
    code: str
    title: str
    detail: str
    request_id: str
    errors: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exit_code = {401: NOT_SIGNED_IN, 404: NOT_THERE}.get(self.status, REFUSED)

    def __str__(self) -> str:
        lines = [self.detail or self.title]
        rows = [": ".join(filter(None, (row.get("field"), row.get("message")))) for row in self.errors]
        lines += [f"  {row}" for row in rows if row != self.detail]  # of a single field the detail says it already
        lines.append(f"  ({self.code}, request {self.request_id})")
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """The problem's fields."""
        return {
            "status": self.status,
            "code": self.code,
            "detail": self.detail or self.title,
            "errors": self.errors,
            "request_id": self.request_id,
        }

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
