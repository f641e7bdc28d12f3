"""What the doors need from behind them. `shared/composition` brings it together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shared.http.principal import Auth, Principal
from shared.http.request import Request

if TYPE_CHECKING:
    from shared.http.call import Call
    from shared.http.idempotency import Idempotency
    from shared.http.ratelimit import RateLimiter
    from shared.platform.clock import Clock
    from shared.platform.errors import Fault
    from shared.platform.ids import Ids
    from shared.platform.settings import Settings


class Authenticator(Protocol):
    """Finds out who calls."""

    async def authenticate(self, request: Request) -> Principal:
        """The caller.

        Raises:
            Unauthenticated: there is no proof, or it does not hold. The reason may say which check failed.
        """


class Authorizer(Protocol):
    """Decides whether a caller may."""

    async def authorise(self, call: Call, permission: str, resource: str | None) -> None:
        """Return if the caller of this call has the permission, for the resource if one is named.

        Raises:
            Forbidden: it has not; the reason names the permission.
        """

    async def note(self, call: Call, fault: Fault) -> None:
        """Write down that a handler, or what it called, has refused the caller a right; other refusals are none of its."""


class Backing(Protocol):
    """All that the request pipeline takes from the composition root."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> Ids: ...
    @property
    def authorizer(self) -> Authorizer: ...
    @property
    def rate_limiter(self) -> RateLimiter: ...
    @property
    def idempotency(self) -> Idempotency: ...
    def authenticator(self, auth: Auth) -> Authenticator: ...
