"""What the request pipeline takes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from shared.http.principal import Auth

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.http.idempotency import Idempotency
    from shared.http.ports import Authenticator, Authorizer
    from shared.http.ratelimit import RateLimiter

#: Where the ways to prove who one is live: `module:function`, the function takes the services.
AUTHENTICATORS: Final = {
    Auth.USER: "shared.identity.authenticator:build",
    Auth.AGENT: "shared.nodes.authenticator:build",
}
AUTHORIZER: Final = "shared.identity.authorizer:build"


def authenticator(s: Services, auth: Auth) -> Authenticator:
    """The authenticator of that kind."""
    found: Authenticator = _build(AUTHENTICATORS[auth], s)
    return found


def authorizer(s: Services) -> Authorizer:
    """Who may what."""
    found: Authorizer = _build(AUTHORIZER, s)
    return found


def rate_limiter(s: Services) -> RateLimiter:
    """How often."""
    from shared.http.ratelimit import RateLimiter, StoredWindows

    return RateLimiter(s.clock, StoredWindows(s.directory), enabled=s.settings.rate_limits)


def idempotency(s: Services) -> Idempotency:
    """Replies kept by Idempotency-Key."""
    from shared.http.idempotency import Idempotency
    from shared.http.sealing import Sealer

    return Idempotency(s.directory, s.store, s.clock, s.ids, Sealer(s.settings.cursor_secret()))


def _build(place: str, s: Services) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)(s)
