"""Shared access signatures: reading, verifying and making tokens.

https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

Right = Literal["Send", "Listen", "Manage"]
PREFIX = "SharedAccessSignature "
MAX_TOKEN_BYTES = 8192


class TokenRefused(Exception):
    """The token does not open this door; the text says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A shared access policy of the namespace or of one entity."""

    name: str
    rights: frozenset[str]
    primary_key: str
    secondary_key: str

    def both(self) -> tuple[str, str]:
        """Both keys."""
        return self.primary_key, self.secondary_key


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token allows: rights on a path and all below it, until a time."""

    path: tuple[str, ...]
    rights: frozenset[str]
    expires_at: float

    def covers(self, path: tuple[str, ...]) -> bool:
        """Whether `path` is this path or lies below it, by whole segments: `node-1` does not open `node-10`."""
        return path[: len(self.path)] == self.path


def segments(path: str) -> tuple[str, ...]:
    """An entity's path in comparable form."""
    return tuple(part for part in path.lower().split("/") if part)


def split_uri(uri: str) -> tuple[str, tuple[str, ...]]:
    """Host (lower case, no port) and path segments of an audience such as `sb://host:5672/queue`.

    Raises:
        TokenRefused: it is no such URI.
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme.lower() not in ("sb", "amqp", "amqps", "http", "https"):
        raise TokenRefused("the audience is not a URI of a Service Bus entity")
    return host.lower(), segments(unquote(parts.path))


def sign(uri: str, key_name: str, key: str, expires_at: int) -> str:
    """A token for `uri` and everything below it.

    Args:
        uri: for example `sb://host/queue`.
        key_name: name of the rule.
        key: key of the rule, used as UTF-8 text (not decoded from base64).
        expires_at: Unix time in seconds.
    """
    resource = quote(uri.lower(), safe="")
    signature = quote(_signature(resource, str(expires_at), key), safe="")
    return f"{PREFIX}sr={resource}&sig={signature}&se={expires_at}&skn={quote(key_name, safe='')}"


def _signature(resource: str, expiry: str, key: str) -> str:
    digest = hmac.new(key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def verify(
    token: str,
    audience: str,
    *,
    now: float,
    hosts: frozenset[str],
    rules: Mapping[tuple[str, ...], Iterable[Rule]],
) -> Grant:
    """Check a token against the audience it is presented for.

    Args:
        token: the text that begins with `SharedAccessSignature`.
        audience: URI of the entity to be opened.
        now: Unix time in seconds.
        hosts: the names that this endpoint answers to.
        rules: rules by entity path, `()` being the namespace.

    Returns:
        What the token allows, on the path of the audience.

    Raises:
        TokenRefused: forged, expired, for another host or path, or by an unknown rule.
    """
    if not token.startswith(PREFIX) or len(token) > MAX_TOKEN_BYTES:
        raise TokenRefused("not a shared access signature")
    fields = dict(part.partition("=")[::2] for part in token[len(PREFIX) :].split("&"))
    missing = {"sr", "sig", "se", "skn"} - fields.keys()
    if missing:
        raise TokenRefused(f"the token lacks {', '.join(sorted(missing))}")
    if not fields["se"].isdecimal() or len(fields["se"]) > 12 or int(fields["se"]) <= now:
        raise TokenRefused("the token has expired")
    resource_host, resource = split_uri(unquote(fields["sr"]))
    audience_host, path = split_uri(audience)
    if resource_host not in hosts or audience_host not in hosts:
        raise TokenRefused("the token or its audience names another host")
    rights = _signed_by(fields, resource, rules)
    if rights is None:
        raise TokenRefused("no rule of that name has signed this token")
    grant = Grant(path, rights, float(fields["se"]))
    if path[: len(resource)] != resource:
        raise TokenRefused("the token was signed for another entity")
    return grant


def _signed_by(
    fields: dict[str, str], resource: tuple[str, ...], rules: Mapping[tuple[str, ...], Iterable[Rule]]
) -> frozenset[str] | None:
    """Rights of the rule that signed: looked for on the entity, its parents and the namespace."""
    name, given = unquote(fields["skn"]), unquote(fields["sig"])
    for depth in range(len(resource), -1, -1):
        for rule in rules.get(resource[:depth], ()):
            if rule.name.lower() != name.lower():
                continue
            for key in rule.both():
                if key and hmac.compare_digest(_signature(fields["sr"], fields["se"], key).encode(), given.encode()):
                    return rule.rights
    return None


def allows(grants: Iterable[Grant], path: tuple[str, ...], right: Right, now: float) -> bool:
    """Whether one of the grants gives the right on the path. Manage holds Send and Listen."""
    return any(
        grant.expires_at > now and grant.covers(path) and (right in grant.rights or "Manage" in grant.rights)
        for grant in grants
    )
