"""The rate classes: how often a route of each class may be called, by whom. One table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Dimension = Literal["client", "org", "user", "address"]
WINDOW_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class RateClass:
    """Calls per minute for each dimension that is counted; a dimension that is None is not.

    `client` is a front end (all its users together; API keys are none), `org` an organization, `user` a person, an API key or a node,
    `address` an IP address. `strict`: the shared count is asked before each call is let through, not beside it.
    """

    name: str
    why: str
    client: int | None = None
    org: int | None = None
    user: int | None = None
    address: int | None = None
    strict: bool = False

    def limits(self) -> tuple[tuple[Dimension, int], ...]:
        """The counted dimensions with their limits."""
        found: list[tuple[Dimension, int]] = []
        for dimension in ("client", "org", "user", "address"):
            limit = getattr(self, dimension)
            if limit is not None:
                found.append((dimension, limit))
        return tuple(found)

    @property
    def policy(self) -> str:
        """The `RateLimit-Policy` field (draft-ietf-httpapi-ratelimit-headers)."""
        return ", ".join(f'"{dimension}";q={limit};w={WINDOW_SECONDS}' for dimension, limit in self.limits())


RATE_CLASSES: Final = {
    rate.name: rate
    for rate in (
        RateClass("read", "a console that refreshes", client=60_000, org=6_000, user=600, address=3_000),
        RateClass("write", "a person at work, or a script", client=12_000, org=1_200, user=120, address=600),
        RateClass("heavy", "exports, bulk calls, searches", client=1_200, org=60, user=20, address=60),
        RateClass("sign_in", "tokens and invitations: guessing must not pay", client=3_000, address=30, strict=True),
        RateClass("open", "what anybody may read", address=240),
        RateClass("health", "probes of several fronts at once", address=1_200),
        RateClass("agent", "a node: beats, reports, renewals", org=12_000, user=240, address=6_000),
        RateClass("admin", "whoever holds the master key", address=600),
        RateClass("refused", "calls with a proof that did not hold", address=60),
    )
}
