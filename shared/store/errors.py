"""What the store's refusals become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.platform.errors import AlreadyExists, Fault, Internal, Kind, NotFound, PreconditionFailed

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError


class StoreUnavailable(Fault):
    """The store does not answer, or not in time."""

    kind, code, title = Kind.UNAVAILABLE, "store_unavailable", "The store does not answer"


class StoreBusy(Fault):
    """The store refused because of too many requests, also after waiting as long as it asked."""

    kind, code, title = Kind.UNAVAILABLE, "store_busy", "The store is busy"


class DocumentTooLarge(Fault):
    """More than the store takes in one piece (2 MB)."""

    kind, code, title = Kind.TOO_LARGE, "document_too_large", "Too large to be stored"


class BadCursor(Fault):
    """A page cursor that we did not make, or not for this list of this organization."""

    kind, code, title = Kind.INVALID, "bad_cursor", "The cursor does not belong to this list"


@dataclass(frozen=True, slots=True)
class BatchFailed(Exception):
    """Which operation of a batch was refused. It is the `__cause__` of the `Fault` that `commit` raises."""

    index: int
    operation: str
    id: str
    status: int


def fault_for(status: int, what: str, retry_after: float | None = None) -> Fault:
    """The refusal for a status code of the store; `what` names the thing (`Server srv_...`)."""
    if status == 404:
        return NotFound(f"{what} does not exist")
    if status == 409:
        return AlreadyExists(f"{what} exists already")
    if status == 412:
        return PreconditionFailed(f"{what} was changed in the meantime")
    if status == 413:
        return DocumentTooLarge(f"{what} is larger than 2 MB")
    if status == 429:
        return StoreBusy("the store is at its limit of request units", retry_after=retry_after or 1.0)
    if (
        status in (408, 410, 449, 500, 502, 503, 504, 0) or status < 400
    ):  # below 400: something else sits at its address
        return StoreUnavailable(f"the store answered {status or 'nothing'}", retry_after=1.0)
    return Internal(f"the store answered {status} for {what}")


def translate(error: AzureError, what: str) -> Fault:
    """The refusal for an error of the SDK; without a status the connection itself failed."""
    status = int(getattr(error, "status_code", None) or 0)
    headers = getattr(error, "headers", None) or {}
    wait = float(headers.get("x-ms-retry-after-ms") or 0) / 1000
    return fault_for(status, what, wait or None)
