"""Which sites we believe when they say who somebody is: a fixed table, read from the settings."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TrustedIssuer(BaseModel):
    """One BetterAuth site: where its keys are, which clients it speaks for, and from which pages it is called."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    issuer: str = Field(min_length=8, max_length=256)
    jwks_uri: str = Field(min_length=8, max_length=512)
    clients: tuple[str, ...] = Field(min_length=1)
    origins: tuple[str, ...] = ()
    refresh_clients: tuple[str, ...] = ("cli",)

    @field_validator("issuer", "jwks_uri")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value

    def allows_origin(self, origin: str | None) -> bool:
        """Whether a call from this page is the site's own. A program sends no Origin; a browser always does on POST."""
        return origin is None or origin in self.origins

    def may_refresh(self, client: str) -> bool:
        """Whether the client gets refresh tokens. Never a browser's: a page asks its own site again instead."""
        return client in self.refresh_clients and client in self.clients


class TrustTable:
    """The trusted issuers by their exact `iss`."""

    def __init__(self, issuers: tuple[TrustedIssuer, ...]) -> None:
        self.issuers: Mapping[str, TrustedIssuer] = {issuer.issuer: issuer for issuer in issuers}
        if len(self.issuers) != len(issuers):
            raise ValueError("an issuer stands twice in the trust table")

    def find(self, issuer: object) -> TrustedIssuer | None:
        """The entry, or None. The `iss` looked up here is unverified: it only chooses whose key must fit."""
        return self.issuers.get(issuer) if isinstance(issuer, str) else None

    @property
    def origins(self) -> tuple[str, ...]:
        """Every page origin that any trusted site is called from."""
        return tuple(dict.fromkeys(origin for entry in self.issuers.values() for origin in entry.origins))
