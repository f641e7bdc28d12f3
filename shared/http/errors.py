"""Refusals that the doors themselves make."""

from __future__ import annotations

from shared.platform.errors import Fault, Kind


class BodyTooLarge(Fault):
    """More bytes than the route takes."""

    kind, code, title = Kind.TOO_LARGE, "body_too_large", "The body is too large"


class BodyTooDeep(Fault):
    """JSON nested deeper than anything of ours is."""

    kind, code, title = Kind.INVALID, "body_too_deep", "The body is nested too deeply"


class UnsupportedMediaType(Fault):
    """A body of another type than the route reads."""

    kind, code, title = Kind.UNSUPPORTED_MEDIA, "unsupported_media_type", "That content type is not read here"


class NoOrganization(Fault):
    """The token is for no organization, and the route is about one."""

    kind, code, title = Kind.FORBIDDEN, "no_organization", "Choose an organization first"


class IfMatchRequired(Fault):
    """A change without saying which version it changes."""

    kind, code, title = Kind.PRECONDITION_REQUIRED, "if_match_required", "If-Match is needed"


class IdempotencyKeyRequired(Fault):
    """A creation that could happen twice."""

    kind, code, title = Kind.INVALID, "idempotency_key_required", "Idempotency-Key is needed"


class IdempotencyKeyReused(Fault):
    """The same key with another body."""

    kind, code, title = Kind.UNPROCESSABLE, "idempotency_key_reused", "The Idempotency-Key was used for another request"


class IdempotencyKeyInUse(Fault):
    """The first request with this key has not ended yet."""

    kind, code, title = Kind.CONFLICT, "idempotency_key_in_use", "The first request with this key is still running"


class ReplyLost(Fault):
    """A kept reply that nobody can open: the installation's secret has changed since."""

    kind, code, title = Kind.GONE, "idempotency_reply_lost", "The reply to the first request is lost"


class RouteNotFound(Fault):
    """No route has this path."""

    kind, code, title = Kind.NOT_FOUND, "route_not_found", "There is no such path"


class MethodNotAllowed(Fault):
    """A route has this path, with other methods."""

    kind, code, title = Kind.METHOD_NOT_ALLOWED, "method_not_allowed", "Not with that method"
