"""API keys for automation."""

from __future__ import annotations

from pydantic import Field

from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.authorizer import caller_of
from shared.identity.errors import ApiKeyNotFound, CannotPassOn, TooManyApiKeys
from shared.identity.models import ApiKey, ApiKeyUse, Network
from shared.identity.permissions import Permission
from shared.platform.clock import Timestamp
from shared.platform.ids import ApiKeyId

routes = Routes("api-keys", services)
blueprint = routes.blueprint


class ApiKeyCreate(In):
    """A new key."""

    name: str = Field(min_length=1, max_length=100, pattern=r"\S")
    scopes: set[Permission] = Field(min_length=1, description="What the key can do, within what its maker may.")
    expires_at: Timestamp | None = None
    networks: list[Network] = Field(default=[], max_length=20, description="Addresses it may be used from; none: all.")


class ApiKeyView(Out):
    """A key, without its secret."""

    id: str
    name: str
    prefix: str
    scopes: list[Permission]
    networks: list[str]
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    made_by: str
    created_at: Timestamp
    last_used_at: Timestamp | None = Field(description="Noted at most every ten minutes.")
    last_used_from: str | None


class NewApiKey(ApiKeyView):
    """A key just made, with its secret: shown this once."""

    key: str


@routes.get("/v1/api-keys", permission=Permission.API_KEYS_READ)
async def list_api_keys(call: Call, query: ListQuery) -> Page[ApiKeyView]:
    """The organization's keys, newest first, with their last use."""
    keys = call.services.identity.api_keys
    found = await keys.page(call.org, limit=query.limit, cursor=query.cursor)
    uses = await keys.uses(call.org, found.items)
    return call.page(found, lambda key: view_key(key, uses.get(key.id)))


@routes.post(
    "/v1/api-keys",
    permission=Permission.API_KEYS_MANAGE,
    idempotent=True,
    sealed=True,
    status=201,
    response=NewApiKey,
    problems=[CannotPassOn, TooManyApiKeys],
)
async def create_api_key(call: Call, body: ApiKeyCreate) -> Reply:
    """Make a key. Its text is in this reply and nowhere else; the same request again within a day gives it again."""
    made = await call.services.identity.api_keys.make(
        call.org,
        ApiKeyId(call.new_id("key")),
        name=body.name.strip(),
        scopes=frozenset(body.scopes),
        expires_at=body.expires_at,
        networks=tuple(body.networks),
        by=await caller_of(call),
    )
    shown = NewApiKey(**view_key(made.key, None).model_dump(), key=made.text)
    return Reply(shown, status=201, location=f"/v1/api-keys/{made.key.id}")


@routes.get("/v1/api-keys/{key_id}", permission=Permission.API_KEYS_READ, problems=[ApiKeyNotFound])
async def read_api_key(call: Call, key_id: ApiKeyId) -> ApiKeyView:
    """One key."""
    keys = call.services.identity.api_keys
    key = await keys.get(call.org, key_id)
    return view_key(key, (await keys.uses(call.org, [key])).get(key.id))


@routes.delete(
    "/v1/api-keys/{key_id}", permission=Permission.API_KEYS_MANAGE, if_match=False, problems=[ApiKeyNotFound]
)
async def revoke_api_key(call: Call, key_id: ApiKeyId) -> None:
    """End a key, within 30 seconds everywhere. (A key never changes otherwise, so there is no version to name.)"""
    await call.services.identity.api_keys.revoke(call.org, key_id, by=await caller_of(call))


def view_key(key: ApiKey, use: ApiKeyUse | None) -> ApiKeyView:
    """A key as callers see it."""
    return ApiKeyView(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        scopes=list(key.scopes),
        networks=list(key.networks),
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        made_by=key.made_by,
        created_at=key.created_at,
        last_used_at=use.used_at if use else None,
        last_used_from=use.address if use else None,
    )
