"""Which sites we believe when they say who somebody is: the fixed table of the settings."""

from __future__ import annotations

from collections.abc import Mapping

from shared.platform.settings import TrustedIssuer


class TrustTable:
    """The trusted issuers by their exact `iss`."""

    def __init__(self, issuers: tuple[TrustedIssuer, ...]) -> None:
        self.issuers: Mapping[str, TrustedIssuer] = {issuer.issuer: issuer for issuer in issuers}
        if len(self.issuers) != len(issuers):
            raise ValueError("an issuer stands twice in the trust table")

    def find(self, issuer: object) -> TrustedIssuer | None:
        """The entry, or None. The `iss` looked up here is unverified: it only chooses whose key must fit."""
        return self.issuers.get(issuer) if isinstance(issuer, str) else None

    @staticmethod
    def allows_origin(entry: TrustedIssuer, origin: str | None) -> bool:
        """Whether a call from this page is the site's own. A program sends no Origin; a browser always does on POST."""
        return origin is None or origin in entry.origins

    @staticmethod
    def may_refresh(entry: TrustedIssuer, client: str) -> bool:
        """Whether the client gets refresh tokens. Never a browser's: a page asks its own site again instead."""
        return client in entry.refresh_clients and client in entry.clients

    @property
    def origins(self) -> tuple[str, ...]:
        """Every page origin that any trusted site is called from."""
        return tuple(dict.fromkeys(origin for entry in self.issuers.values() for origin in entry.origins))
