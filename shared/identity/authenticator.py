"""Who calls: the bearer credential of a request, checked. An access token, or an API key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.identity import api_keys
from shared.identity.caller import MAKER
from shared.identity.errors import NoCredential, SessionEnded, TokenInvalid, TokenRefused
from shared.identity.tokens import Tokens

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.http.principal import Principal
    from shared.http.request import Request
    from shared.identity.api_keys import ApiKeys
    from shared.identity.sessions import Sessions


class BearerAuthenticator:
    """Implements `shared.http.ports.Authenticator` for people and for automation.

    Only the Authorization header counts: a cookie is never looked at, so no page can make a browser act for someone.
    """

    def __init__(self, tokens: Tokens, sessions: Sessions, keys: ApiKeys) -> None:
        self._tokens, self._sessions, self._keys = tokens, sessions, keys

    async def authenticate(self, request: Request) -> Principal:
        """See `Authenticator.authenticate`."""
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not credential:
            raise NoCredential("send an access token or an API key: Authorization: Bearer <it>")
        if credential.startswith(api_keys.PREFIX):
            return await self._key(credential, request.address)
        return await self._token(credential)

    async def _token(self, text: str) -> Principal:
        from shared.http.principal import Principal, PrincipalKind

        try:
            token = await self._tokens.verify(text)
        except TokenRefused as refusal:
            raise TokenInvalid(str(refusal)) from None
        if await self._sessions.ended(token.session):
            raise SessionEnded("the sign-in session has ended; sign in again")
        return Principal(PrincipalKind.USER, token.user, token.org, client=token.client, session=token.session)

    async def _key(self, text: str, address: str) -> Principal:
        from shared.http.principal import Principal, PrincipalKind

        key = await self._keys.authenticate(text, address)
        return Principal(
            PrincipalKind.API_KEY,
            key.id,
            key.org_id,
            client="api_key",
            scopes=frozenset(key.scopes),
            details={MAKER: key.made_by},
        )


def build(services: Services) -> BearerAuthenticator:
    """For the composition root."""
    identity = services.identity
    return BearerAuthenticator(identity.tokens, identity.sessions, identity.api_keys)
