"""Refusals. Each is a class with a stable code, and says the figure that decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """What sort of refusal it is; a door maps the sort to a status."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    GONE = "gone"
    PRECONDITION_FAILED = "precondition_failed"
    PRECONDITION_REQUIRED = "precondition_required"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"
    UNPROCESSABLE = "unprocessable"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong place in what was sent: where (`body.ports.0`), what is wrong with it, and a code to tell apart by."""

    field: str
    message: str
    code: str = "invalid"


Figure = str | int | float | bool | None


class Fault(Exception):
    """A refusal with a reason.

    A subclass sets `kind`, `code` and `title`; its instance carries the reason with the figures in it
    (`needs 2048 MiB, node has 1536 MiB`) and the same figures by name, for programs.
    Two classes with one code are refused when the second is defined.
    """

    kind: ClassVar[Kind] = Kind.INTERNAL
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something failed on our side"
    codes: ClassVar[dict[str, type[Fault]]] = {}

    def __init__(
        self, reason: str, *, errors: Sequence[FieldError] = (), retry_after: float | None = None, **figures: Figure
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.errors = tuple(errors)
        self.retry_after = retry_after
        self.figures: Mapping[str, Figure] = figures

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            raise TypeError(f"{cls.__qualname__} has no code of its own")
        known = Fault.codes.setdefault(cls.code, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"the code {cls.code!r} of {cls.__qualname__} is already that of {known.__qualname__}")


class Invalid(Fault):
    """What was sent breaks a rule that can be told without looking anything up."""

    kind, code, title = Kind.INVALID, "invalid", "The request is not valid"


class Unauthenticated(Fault):
    """Who calls is not known."""

    kind, code, title = Kind.UNAUTHENTICATED, "unauthenticated", "Sign in first"


class Forbidden(Fault):
    """Who calls is known and may not do this."""

    kind, code, title = Kind.FORBIDDEN, "forbidden", "You may not do this"


class NotFound(Fault):
    """There is no such thing in this organization."""

    kind, code, title = Kind.NOT_FOUND, "not_found", "There is no such thing here"


class Conflict(Fault):
    """The thing's present state does not allow it."""

    kind, code, title = Kind.CONFLICT, "conflict", "That does not fit the present state"


class AlreadyExists(Fault):
    """Something with that id or name is there already."""

    kind, code, title = Kind.CONFLICT, "already_exists", "It exists already"


class Gone(Fault):
    """It was there and is not coming back."""

    kind, code, title = Kind.GONE, "gone", "It is gone"


class PreconditionFailed(Fault):
    """It was changed since the caller read it."""

    kind, code, title = Kind.PRECONDITION_FAILED, "precondition_failed", "It was changed in the meantime"


class QuotaExceeded(Fault):
    """A limit of the organization's plan, or of the product, is reached."""

    kind, code, title = Kind.QUOTA, "quota_exceeded", "A limit is reached"


class RateLimited(Fault):
    """Too many calls in too little time."""

    kind, code, title = Kind.RATE_LIMITED, "rate_limited", "Too many requests"


class Unavailable(Fault):
    """Something that we need does not answer; the same call may work a little later."""

    kind, code, title = Kind.UNAVAILABLE, "unavailable", "Not available at the moment"


class Internal(Fault):
    """Our own mistake."""

    kind, code, title = Kind.INTERNAL, "internal", "Something failed on our side"


class SecretsUnavailable(Unavailable):
    """The place where secrets are kept does not answer."""

    code, title = "secrets_unavailable", "The secret store does not answer"
