"""A refusal, as the service words it: status, code, message, and the substatus which the SDKs decide by."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

# https://learn.microsoft.com/rest/api/cosmos-db/http-status-codes-for-cosmosdb
CODES: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Gone",
    412: "PreconditionFailed",
    413: "RequestEntityTooLarge",
    424: "FailedDependency",
    429: "TooManyRequests",
    449: "RetryWith",
    500: "InternalServerError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
}


class Substatus:
    """Numbers in `x-ms-substatus` that change what an SDK does next."""

    PARTITION_KEY_MISMATCH = 1001
    OWNER_NOT_FOUND = 1003
    CROSS_PARTITION_QUERY_NOT_SERVABLE = 1004
    CONTAINER_RECREATED = 1024
    PATCH_PREDICATE_FALSE = 1110
    RU_BUDGET_EXCEEDED = 3200


class CosmosError(Exception):
    """A request is refused."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        substatus: int = 0,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
        charge: float = 1.0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.substatus = substatus
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        self.charge = charge

    def body(self) -> bytes:
        """The JSON error body."""
        return orjson.dumps({"code": CODES.get(self.status, "Error"), "message": self.message, **self.extra})


def bad_request(message: str, *, substatus: int = 0) -> CosmosError:
    """400 with the reason."""
    return CosmosError(400, message, substatus=substatus)


def not_found(message: str, *, substatus: int = 0) -> CosmosError:
    """404 with what was looked for."""
    return CosmosError(404, message, substatus=substatus)
