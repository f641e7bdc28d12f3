"""Acting on several things, each with a result of its own: one refusal does not stop the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict

from shared.platform.errors import Fault, Kind

T = TypeVar("T", bound=str)
MAX_ITEMS: Final = 50


class BulkItem(BaseModel):
    """What became of one item."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    item: str
    ok: bool
    id: str | None = None
    code: str | None = None
    detail: str | None = None


class BulkResult(BaseModel):
    """A result for each item, in the order they were sent."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    succeeded: int
    failed: int
    results: list[BulkItem]


async def each(
    items: Sequence[T], act: Callable[[T], Awaitable[object]], note: Callable[[Fault], Awaitable[None]]
) -> BulkResult:
    """Do it for each item, one after another: they change the same roster, side by side they would only collide.

    A refusal becomes the item's result, after `note` was told of it. A failure of ours ends the call: what follows
    would fail as well.
    """
    results: list[BulkItem] = []
    for item in dict.fromkeys(items):
        try:
            done = await act(item)
        except Fault as fault:
            if fault.kind in (Kind.INTERNAL, Kind.UNAVAILABLE):
                raise
            await note(fault)
            results.append(BulkItem(item=item, ok=False, code=fault.code, detail=fault.reason))
        else:
            results.append(BulkItem(item=item, ok=True, id=getattr(done, "id", None)))
    succeeded = sum(result.ok for result in results)
    return BulkResult(succeeded=succeeded, failed=len(results) - succeeded, results=results)
