"""Identity's parts, brought together for the composition root."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from shared.identity.api_keys import ApiKeys
from shared.identity.authorizer import Authorizer
from shared.identity.exchange import TokenExchange
from shared.identity.keysets import KeySets
from shared.identity.oauth import GRANT
from shared.identity.refresh import RefreshTokens
from shared.identity.sessions import Sessions
from shared.identity.tokens import Tokens
from shared.identity.trust import TrustTable

if TYPE_CHECKING:
    from shared.composition import Services


class Identity:
    """Who is calling, and what they may do."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def audience(self) -> str:
        """What a site's statement must be addressed to: our exchange."""
        return f"{self._services.settings.public_url}/v1/auth/token"

    def metadata(self) -> bytes:
        """Authorization server metadata (RFC 8414), as JSON."""
        issuer = self._services.settings.public_url
        document = {
            "issuer": issuer,
            "token_endpoint": self.audience,
            "revocation_endpoint": f"{issuer}/v1/auth/revoke",
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "grant_types_supported": [GRANT, "refresh_token"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
        }
        return json.dumps(document).encode()

    @cached_property
    def tokens(self) -> Tokens:
        """Our access tokens."""
        s = self._services
        return Tokens(s.secrets, s.clock, s.ids, s.settings.public_url)

    @cached_property
    def sessions(self) -> Sessions:
        """Sign-in sessions that have ended."""
        return Sessions(self._services.directory, self._services.clock)

    @cached_property
    def refresh(self) -> RefreshTokens:
        """Refresh tokens of the command line."""
        s = self._services
        return RefreshTokens(s.directory, self.sessions, s.clock, s.ids)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """Keys for automation."""
        s = self._services
        return ApiKeys(s.store, s.directory, s.audit, s.clock)

    @cached_property
    def exchange(self) -> TokenExchange:
        """Sites' statements for our tokens."""
        s = self._services
        return TokenExchange(
            trust=TrustTable(s.settings.trusted_issuers),
            key_sets=KeySets(s.clock),
            directory=s.directory,
            users=s.users,
            memberships=s.memberships,
            tokens=self.tokens,
            refresh=self.refresh,
            sessions=self.sessions,
            clock=s.clock,
            audience=self.audience,
        )

    @cached_property
    def authorizer(self) -> Authorizer:
        """May they."""
        s = self._services
        return Authorizer(s.memberships, s.audit, s.clock)
