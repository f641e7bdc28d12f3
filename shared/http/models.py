"""Base models of what goes in and out, and the replies that a handler may give.

Their validators are built at first use (`defer_build`): a start does not pay for the models of routes nobody calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
MAX_CURSOR: Final = 4096  # a URL with it still fits what fronts accept


class In(BaseModel):
    """What a caller sends: unknown fields are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Out(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class ListQuery(In):
    """The query of every list route. A list with filters or sorting adds its fields to a subclass."""

    limit: int = Field(default=50, ge=1, le=100, description="How many items at most.")
    cursor: str | None = Field(
        default=None,
        max_length=MAX_CURSOR,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Where to go on: from the `next` link.",
    )


class Page(Out, Generic[T]):
    """One page of a list, and the link to the next one if there is more."""

    items: list[T]
    next: str | None = Field(default=None, description="Relative URL of the next page; absent on the last one.")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that needs more than a model: a status, headers, an ETag, or bytes that are not JSON."""

    body: BaseModel | bytes | None = None
    status: int | None = None
    etag: str | None = None
    location: str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def accepted(task_id: str, body: BaseModel | None = None) -> Reply:
    """202: the work goes on as a task, which `Location` names."""
    return Reply(body, status=202, location=f"/v1/tasks/{task_id}")
