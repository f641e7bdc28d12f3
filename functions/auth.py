"""Sign-in: a site's token for ours, renewed, revoked; and what others need to verify ours."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from shared.composition import services
from shared.http import Auth, Call, In, Out, Reply, Routes
from shared.identity.errors import OAuthError, TokenRefused
from shared.identity.oauth import ACCESS_TYPE, GRANT, LIFE, SUBJECT_TYPE
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.identity.exchange import Issued

routes = Routes("sign-in", services)
blueprint = routes.blueprint

_JWT = Field(min_length=1, max_length=4096)


class TokenRequest(In):
    """A token exchange (RFC 8693) or, for the command line, a refresh (RFC 6749, 6)."""

    grant_type: Literal["urn:ietf:params:oauth:grant-type:token-exchange", "refresh_token"]
    subject_token: str | None = Field(default=None, max_length=8192, description="The JWT of the sign-in site.")
    subject_token_type: str | None = Field(default=None, max_length=100, description=SUBJECT_TYPE)
    refresh_token: str | None = Field(default=None, max_length=200)
    client_id: str | None = Field(default=None, max_length=50, description="Must fit the token's `azp`.")
    organization: OrgId | None = Field(default=None, max_length=64, description="Which organization the token is for.")
    requested_token_type: str | None = Field(default=None, max_length=100)


class TokenReply(Out):
    """An access token for one organization, or for none while the person belongs to none."""

    access_token: str
    issued_token_type: str = ACCESS_TYPE
    token_type: str = "Bearer"  # noqa: S105 - a type's name
    expires_in: int
    user: str
    organization: str | None
    onboarding: bool = Field(description="No organization yet: found one, or accept an invitation.")
    refresh_token: str | None = Field(default=None, description="For the command line only; good once.")


class OAuthProblem(Out):
    """A refusal in OAuth's own form (RFC 6749, 5.2)."""

    error: str
    error_description: str


class RevokeRequest(In):
    """A token to end (RFC 7009)."""

    token: str = _JWT
    token_type_hint: str | None = Field(default=None, max_length=50)


class LogoutRequest(In):
    """A site's word that a session has ended (OpenID Connect Back-Channel Logout 1.0)."""

    logout_token: str = _JWT


@routes.post(
    "/v1/auth/token", auth=Auth.ANONYMOUS, form=True, rate="sign_in", response=TokenReply, answers={400: OAuthProblem}
)
async def exchange_token(call: Call, body: TokenRequest) -> Reply:
    """Exchange a sign-in site's token for an access token.

    The site's token is good for one exchange. Refusals are in OAuth's form: `invalid_grant`, `invalid_request`,
    `invalid_target`. Browsers get no refresh token: they ask their site again.
    """
    return await _oauth(_issue(call, body))


@routes.post("/v1/auth/revoke", auth=Auth.ANONYMOUS, form=True, rate="sign_in")
async def revoke_token(call: Call, body: RevokeRequest) -> None:
    """End the sign-in session that a token belongs to (RFC 7009). An unknown token is no error."""
    identity = call.services.identity
    await identity.refresh.revoke(body.token)
    try:
        token = await identity.tokens.verify(body.token)
    except TokenRefused:
        return
    await identity.sessions.end(token.session, "revoked")


@routes.post("/v1/auth/backchannel-logout", auth=Auth.ANONYMOUS, form=True, rate="sign_in", answers={400: OAuthProblem})
async def backchannel_logout(call: Call, body: LogoutRequest) -> Reply:
    """A sign-in site tells that a session has ended: its tokens are refused from now on."""
    return await _oauth(_log_out(call, body.logout_token))


@routes.post("/v1/auth/sign-out", organization=False, rate="write")
async def sign_out(call: Call) -> None:
    """End the session of the token that this is called with, here. (The site's own session is the site's to end.)"""
    if call.principal.session is not None:
        await call.services.identity.sessions.end(call.principal.session, "signed out")


@routes.get("/.well-known/jwks.json", auth=Auth.ANONYMOUS, response=dict[str, object])
async def jwks(call: Call) -> Reply:
    """The public keys of our access tokens (RFC 7517). The next key is published a day before it signs."""
    ring = await call.services.identity.tokens.ring()
    return Reply(ring.published(), headers={"Cache-Control": "public, max-age=300"})


@routes.get("/.well-known/oauth-authorization-server", auth=Auth.ANONYMOUS, response=dict[str, object])
async def metadata(call: Call) -> Reply:
    """What this authorization server offers (RFC 8414)."""
    return Reply(call.services.identity.metadata(), headers={"Cache-Control": "public, max-age=300"})


async def _issue(call: Call, body: TokenRequest) -> Reply:
    exchange = call.services.identity.exchange
    if body.grant_type == GRANT:
        if body.subject_token is None or body.subject_token_type != SUBJECT_TYPE:
            raise OAuthError("invalid_request", f"subject_token and subject_token_type={SUBJECT_TYPE} are needed")
        issued = await exchange.exchange(
            body.subject_token, client=body.client_id, organization=body.organization, origin=call.request.origin
        )
    else:
        if body.refresh_token is None or body.client_id is None:
            raise OAuthError("invalid_request", "refresh_token and client_id are needed")
        issued = await exchange.refresh(body.refresh_token, client=body.client_id, organization=body.organization)
    return Reply(_token_reply(issued))


async def _log_out(call: Call, token: str) -> Reply:
    await call.services.identity.exchange.log_out(token)
    return Reply(status=200)


def _token_reply(issued: Issued) -> TokenReply:
    return TokenReply(
        access_token=issued.text,
        expires_in=int(LIFE.total_seconds()),
        user=issued.token.user,
        organization=issued.token.org,
        onboarding=issued.token.org is None,
        refresh_token=issued.refresh_token,
    )


async def _oauth(work: Awaitable[Reply]) -> Reply:
    """Refusals of the protocol in its own form; all others stay problems."""
    try:
        return await work
    except OAuthError as refusal:
        problem = OAuthProblem(error=refusal.error, error_description=refusal.reason)
        return Reply(problem, status=refusal.status)
