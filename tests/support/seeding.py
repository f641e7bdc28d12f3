"""An organization with its owner, made through the services, and a token for it: for tests and benches that need no sign-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.audit.models import Actor
from shared.composition import Services
from shared.identity.models import User
from shared.platform.ids import OrgId, UserId
from shared.platform.settings import load_settings


@dataclass(frozen=True, slots=True)
class Owner:
    """Somebody who owns an organization."""

    org: OrgId
    user: UserId
    token: str


async def seed_owner(services: Services) -> Owner:
    """A new organization, its owner, and an access token of theirs for it."""
    user, org = UserId(services.ids.new("usr")), OrgId(services.ids.new("org"))
    await services.directory.create(User(id=user, issuer="https://site.example", subject=user, name="Kim"))
    actor = Actor(kind="user", id=user)
    await services.organizations.found(org, user, name="Test servers", description="", actor=actor)
    token, _ = await services.identity.tokens.issue(user, org, "panel", "session-1", services.clock.now())
    return Owner(org, user, token)


async def seed_house(values: Mapping[str, str]) -> Owner:
    """The same in a running house, whose settings these are."""
    settings = load_settings(
        {
            "cosmos_endpoint": values["COSMOS_ENDPOINT"],
            "cosmos_key": values["COSMOS_KEY"],
            "cosmos_database": values["COSMOS_DATABASE"],
            "public_url": values["MERIDIAN_PUBLIC_URL"],
            "secrets_folder": values["MERIDIAN_SECRETS_FOLDER"],
        }
    )
    services = Services(settings)
    try:
        return await seed_owner(services)
    finally:
        await services.close()
