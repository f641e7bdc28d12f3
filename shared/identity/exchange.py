"""The token exchange (RFC 8693): a site's short statement about who signed in, for our access token.

The statement is used up by its `jti`, last of all checks: the directory refuses to create the same entry twice, so of
any number of callers with one statement exactly one gets a token. Fails closed: no directory, no token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.identity import assertions
from shared.identity.access_tokens import AccessToken
from shared.identity.assertions import Assertion, AssertionRefused
from shared.identity.errors import NotAMember, OAuthError
from shared.identity.keysets import KeySets
from shared.identity.memberships import Memberships
from shared.identity.models import User
from shared.identity.refresh import RefreshTokens
from shared.identity.sessions import Sessions, session_id
from shared.identity.tokens import Tokens
from shared.identity.trust import TrustTable
from shared.identity.users import Users
from shared.platform import telemetry
from shared.platform.clock import Clock
from shared.platform.ids import OrgId
from shared.store.unscoped import Directory

if TYPE_CHECKING:
    import jwt

_BURN_MARGIN_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Issued:
    """What an exchange gives."""

    text: str
    token: AccessToken
    refresh_token: str | None = None


class TokenExchange:
    """Turns statements of trusted sites into our tokens."""

    def __init__(
        self,
        *,
        trust: TrustTable,
        key_sets: KeySets,
        directory: Directory,
        users: Users,
        memberships: Memberships,
        tokens: Tokens,
        refresh: RefreshTokens,
        sessions: Sessions,
        clock: Clock,
        audience: str,
    ) -> None:
        self._trust, self._key_sets, self._directory, self._users = trust, key_sets, directory, users
        self._memberships, self._tokens, self._refresh, self._sessions = memberships, tokens, refresh, sessions
        self._clock, self._audience = clock, audience

    async def exchange(
        self, subject: str, *, client: str | None, organization: OrgId | None, origin: str | None
    ) -> Issued:
        """Our token for a site's statement.

        Args:
            subject: the site's JWT.
            client: who the caller says it is (optional; must fit the statement).
            organization: which of the person's organizations the token is for; None chooses the last used one.
            origin: the browser's `Origin`, if one was sent.

        Raises:
            OAuthError: the statement does not hold, was used, or the person is no member of the organization.
        """
        try:
            assertion = await self._checked(subject, client, origin)
        except AssertionRefused as refusal:
            _count(refusal.code)
            raise OAuthError("invalid_grant", refusal.reason) from refusal
        user = await self._users.signed_in(assertion)
        if user.deleted_at is not None:
            raise OAuthError("invalid_grant", "the account was deleted")
        org = await self._organization(user, organization)
        session = session_id(assertion.issuer, assertion.session)
        text, token = await self._tokens.issue(user.user_id, org, assertion.client, session, assertion.authenticated_at)
        refresh = await self._first_refresh(assertion, token) if self._may_refresh(assertion) else None
        _count("ok")
        return Issued(text, token, refresh)

    async def refresh(self, refresh_token: str, *, client: str, organization: OrgId | None) -> Issued:
        """A new token and refresh token for a refresh token; it may be for another of the person's organizations.

        Raises:
            OAuthError: as `exchange`, and if the refresh token was used before.
        """
        presented = await self._refresh.read(refresh_token, client)
        family = presented.family
        user = await self._users.get(family.user_id)
        if user.deleted_at is not None:
            raise OAuthError("invalid_grant", "the account was deleted")
        # An organization that is asked for and refused must not cost the caller the refresh token, so that comes first.
        org = await self._organization(user, organization, before=family.org_id)
        renewed = await self._refresh.turn(presented, org)
        text, token = await self._tokens.issue(user.user_id, org, client, family.session, family.authenticated_at)
        return Issued(text, token, renewed)

    async def log_out(self, logout_token: str) -> None:
        """A site's word that a session of its own has ended (OpenID Connect Back-Channel Logout).

        Raises:
            OAuthError: it is not such a word from a trusted site.
        """
        try:
            unverified = assertions.read(logout_token, self._trust)
            key = await self._key(unverified)
            issuer, session = assertions.check_logout(unverified, key, self._audience, self._clock.now())
        except AssertionRefused as refusal:
            raise OAuthError("invalid_request", refusal.reason) from refusal
        await self._sessions.end(session_id(issuer, session), "signed out at the site")

    async def _checked(self, subject: str, client: str | None, origin: str | None) -> Assertion:
        unverified = assertions.read(subject, self._trust)
        if not self._trust.allows_origin(unverified.issuer, origin):
            raise AssertionRefused("origin", f"pages of {origin} do not speak for {unverified.issuer.issuer}")
        key = await self._key(unverified)
        assertion = assertions.check(unverified, key, self._audience, client, self._clock.now())
        if await self._sessions.ended(session_id(assertion.issuer, assertion.session)):
            raise AssertionRefused("session_ended", "the sign-in session has ended")
        left = (assertion.expires_at - self._clock.now()).total_seconds()
        kept = int(left) + _BURN_MARGIN_SECONDS
        if not await self._directory.burn("jti", assertion.issuer, assertion.token_id, ttl=kept):
            telemetry.log("identity").warning(
                "a sign-in token was presented twice", extra={"issuer": assertion.issuer, "client": assertion.client}
            )
            raise AssertionRefused("replay", "the token was used before; ask your site for a new one")
        return assertion

    async def _key(self, unverified: assertions.Unverified) -> jwt.PyJWK:
        key = await self._key_sets.find(unverified.issuer, unverified.key_id)
        if key is None:
            raise AssertionRefused("key", "signed by a key that the issuer does not publish")
        return key

    async def _organization(self, user: User, wanted: OrgId | None, *, before: OrgId | None = None) -> OrgId | None:
        """The organization the token will be for: the wanted one; else the one before, or the one that the person chose
        last, or any; or none (onboarding)."""
        if wanted is not None:
            try:
                await self._memberships.check(wanted, user.user_id)
            except NotAMember as refusal:
                raise OAuthError("invalid_target", refusal.reason) from refusal
            if user.preferred_org != wanted:
                await self._users.prefer(user.user_id, wanted)
            return wanted
        likely = (before, user.preferred_org, *(membership.org_id for membership in user.memberships))
        for org in dict.fromkeys(org for org in likely if org is not None):
            try:
                await self._memberships.check(org, user.user_id)
            except NotAMember:
                continue
            return org
        return None

    def _may_refresh(self, assertion: Assertion) -> bool:
        issuer = self._trust.find(assertion.issuer)
        return issuer is not None and self._trust.may_refresh(issuer, assertion.client)

    async def _first_refresh(self, assertion: Assertion, token: AccessToken) -> str:
        return await self._refresh.start(
            user=token.user,
            org=token.org,
            client=assertion.client,
            session=token.session,
            authenticated_at=assertion.authenticated_at,
            session_ends_at=assertion.session_ends_at,
        )


def _count(outcome: str) -> None:
    telemetry.counter("identity.exchanges", "{exchange}").add(1, {"outcome": outcome})
