"""Headers of every answer: security, CORS, ids."""

from __future__ import annotations

from typing import Final

from shared.platform.settings import Settings

_ALWAYS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Origin",  # of answers without CORS headers too: a cache must not give those to a page that may call
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
EXPOSED: Final = "ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
ALLOWED_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, traceparent, X-Request-Id"
)
ALLOWED_METHODS: Final = "GET, POST, PUT, PATCH, DELETE"


def standing(settings: Settings) -> dict[str, str]:
    """The headers that every answer has, whatever it is."""
    if settings.public_url.startswith("https://"):
        return {**_ALWAYS, "Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
    return dict(_ALWAYS)


def cors(settings: Settings) -> dict[str, dict[str, str]]:
    """For each origin that may call, the headers that its browser needs to see. An exact list: no pattern, no star."""
    return {
        origin: {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}
        for origin in settings.cors_origins
    }


def preflight() -> dict[str, str]:
    """What a preflight answer adds."""
    return {
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": "600",
    }
