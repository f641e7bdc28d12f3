"""Refusals of identity."""

from __future__ import annotations

from shared.platform.errors import (
    Conflict,
    Fault,
    Forbidden,
    Kind,
    NotFound,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
)


class NoCredential(Unauthenticated):
    """No bearer credential was sent."""

    code, title = "credential_missing", "Sign in first"


class TokenInvalid(Unauthenticated):
    """The access token is not ours, changed, or no longer good."""

    code, title = "token_invalid", "The access token is not valid"


class SessionEnded(Unauthenticated):
    """The person signed out, or was signed out."""

    code, title = "session_ended", "You are signed out"


class ApiKeyInvalid(Unauthenticated):
    """There is no such key, it has expired or was revoked, or it may not be used from this address."""

    code, title = "api_key_invalid", "The API key is not valid"


class PermissionMissing(Forbidden):
    """The caller's role, grants or scopes do not allow it."""

    code, title = "permission_missing", "You may not do this"


class NotAMember(Forbidden):
    """The caller does not belong to the organization of the token (any more)."""

    code, title = "not_a_member", "You are not a member of this organization"


class CannotPassOn(Forbidden):
    """Nobody gives what they lack."""

    code, title = "permission_not_held", "You cannot give what you lack"


class ApiKeyNotFound(NotFound):
    """There is no such API key here."""

    code, title = "api_key_not_found", "There is no such API key"


class TooManyApiKeys(QuotaExceeded):
    """The organization has as many live keys as it may have."""

    code, title = "too_many_api_keys", "Too many API keys"


class TooManyOrganizations(QuotaExceeded):
    """One person belongs to as many organizations as they may."""

    code, title = "too_many_organizations", "Too many organizations"


class PersonsOnly(Forbidden):
    """A route for people, called with an API key."""

    code, title = "persons_only", "This needs a person's sign-in"


class UserDeleted(Conflict):
    """The account was deleted."""

    code, title = "user_deleted", "The account was deleted"


class OAuthError(Fault):
    """A refusal of the token endpoint, told in OAuth's own form (RFC 6749, 5.2)."""

    kind, code, title = Kind.INVALID, "oauth_error", "The token request was refused"

    def __init__(self, error: str, reason: str, *, status: int = 400) -> None:
        super().__init__(reason)
        self.error = error
        self.status = status


class KeySetUnavailable(Unavailable):
    """A site's key set could not be fetched, and no copy of it is young enough."""

    code, title = "key_set_unavailable", "The sign-in site does not answer"


class TokenRefused(ValueError):
    """Not a token of ours, or no longer good; the text says which. (What a caller gets is `TokenInvalid`.)"""
