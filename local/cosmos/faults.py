"""Faults that a test orders: the next requests fail, before or after they have taken effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.cosmos.errors import CosmosError, bad_request
from local.cosmos.http import Request


@dataclass(slots=True)
class Fault:
    """One order.

    `after`: the operation takes effect and only the answer is lost; `count`: so many requests; `retry_ms`: told to the client.
    """

    status: int
    substatus: int = 0
    count: int = 1
    method: str | None = None
    kind: str | None = None  # last fixed word of the path, such as `docs`
    after: bool = False
    retry_ms: int | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Fault:
        """Read `{status, sub, n, ms, method, kind, after}`.

        Raises:
            CosmosError: 400.
        """
        status = body.get("status")
        if type(status) is not int or not 400 <= status <= 599:
            raise bad_request("A fault needs a 'status' from 400 to 599.")
        unknown = body.keys() - {"status", "sub", "n", "ms", "method", "kind", "after"}
        if unknown:
            raise bad_request(f"A fault has no '{sorted(unknown)[0]}'.")
        return cls(
            status,
            int(body.get("sub", 0)),
            int(body.get("n", 1)),
            body.get("method"),
            body.get("kind"),
            bool(body.get("after", False)),
            body.get("ms"),
        )


class Faults:
    """The orders that are still open."""

    def __init__(self) -> None:
        self.orders: list[Fault] = []

    def strike(self, request: Request, *, after: bool) -> None:
        """Fail the request if an order says so.

        Raises:
            CosmosError: the ordered status.
        """
        words = [word for number, word in enumerate(request.segments) if number % 2 == 0]
        for order in self.orders:
            if order.after != after or order.count < 1:
                continue
            if order.method not in (None, request.method) or order.kind not in (None, words[-1] if words else ""):
                continue
            order.count -= 1
            headers = {} if order.retry_ms is None else {"x-ms-retry-after-ms": str(order.retry_ms)}
            raise CosmosError(
                order.status, "This fault was ordered by a test.", substatus=order.substatus, headers=headers
            )
