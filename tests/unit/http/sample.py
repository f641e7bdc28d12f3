"""A resource of the tests' own, declared as any other, over a plain dict."""

from __future__ import annotations

from enum import StrEnum
from secrets import token_urlsafe
from typing import Any

from pydantic import Field

from shared.http import Auth, Call, In, ListQuery, Out, Page, Reply, Routes, accepted
from shared.http.principal import Principal, PrincipalKind
from shared.http.request import Request
from shared.platform.errors import Fault, Forbidden, Kind, NotFound, PreconditionFailed, Unauthenticated
from shared.platform.ids import OrgId, ServerId
from shared.store import charge


class Can(StrEnum):
    READ = "things:read"
    WRITE = "things:write"


class NoRoomLeft(Fault):
    kind, code, title = Kind.QUOTA, "test_no_room_left", "No room is left"


class Port(In):
    number: int = Field(ge=1, le=65535)
    protocol: str = "udp"


class ThingCreate(In):
    name: str = Field(min_length=1, max_length=40)
    memory_mib: int = Field(ge=64)
    ports: list[Port] = Field(default_factory=list)


class ThingEdit(In):
    name: str = Field(min_length=1, max_length=40)


class ThingView(Out):
    id: str
    name: str


class ThingList(ListQuery):
    state: str | None = None
    tags: list[str] = Field(default_factory=list)


class TokenForm(In):
    grant_type: str
    subject_token: str = ""


class Gate:
    """Knows four callers by their whole token; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.may: set[str] = {Can.READ, Can.WRITE}
        self.resources: list[str | None] = []
        self.noted: list[tuple[str, str]] = []

    async def authenticate(self, request: Request) -> Principal:
        self.asked += 1
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        known = {
            "kim": Principal(PrincipalKind.USER, "usr_kim", OrgId("org_a"), client="console"),
            "kay": Principal(PrincipalKind.USER, "usr_kay", OrgId("org_a"), client="console"),
            "lee": Principal(PrincipalKind.USER, "usr_lee", OrgId("org_b"), client="console"),
            "new": Principal(PrincipalKind.USER, "usr_new", None, client="console"),
        }
        if token not in known:
            raise Unauthenticated("the token is not valid")
        return known[token]

    async def authorise(self, call: Call, permission: str, resource: str | None) -> None:
        self.resources.append(resource)
        if permission not in self.may:
            raise Forbidden(f"{permission} is needed", permission=permission)

    async def note(self, call: Call, fault: Fault) -> None:
        self.noted.append((call.route.name, fault.code))


def make(backing: Any) -> tuple[Routes, dict[str, Any]]:  # noqa: C901 - a list of routes, each of two lines
    """The routes, and what their handlers keep."""
    routes = Routes("things", lambda: backing)
    kept: dict[str, Any] = {"made": [], "calls": 0, "fail_with": None}

    @routes.get("/v1/things", permission=Can.READ)
    async def list_things(call: Call, query: ThingList) -> Page[ThingView]:
        """List things."""
        kept["query"] = query
        return call.page_of([ThingView(id="t1", name=call.org)], "more" if query.cursor is None else None)

    @routes.post(
        "/v1/things", permission=Can.WRITE, idempotent=True, status=201, response=ThingView, problems=[NoRoomLeft]
    )
    async def create_thing(call: Call, body: ThingCreate) -> Reply:
        """Create a thing.

        It is placed at once.
        """
        kept["calls"] += 1
        id = call.new_id("srv")
        if kept["fail_with"] is not None:
            raise kept["fail_with"]
        kept["made"].append(id)
        if (hang := kept.pop("hang", None)) is not None:
            await hang.wait()
        return Reply(ThingView(id=id, name=body.name), status=201, etag='"1"', location=f"/v1/things/{id}")

    @routes.post("/v1/secrets", permission=Can.WRITE, idempotent=True, sealed=True, status=201, response=ThingView)
    async def create_secret(call: Call, body: ThingCreate) -> Reply:
        """Create something whose text is shown once."""
        kept["made"].append(secret := token_urlsafe(32))
        return Reply(ThingView(id=call.new_id("srv"), name=f"{body.name} {secret}"), status=201)

    @routes.post("/v1/plain", permission=Can.WRITE, status=201)
    async def create_plain(_call: Call, body: ThingCreate) -> ThingView:
        """Create without a key."""
        if kept["fail_with"] is not None:
            raise kept["fail_with"]
        return ThingView(id="p1", name=body.name)

    @routes.get("/v1/things/{server_id}", permission=Can.READ, resource="server_id", response=ThingView)
    async def read_thing(_call: Call, server_id: ServerId) -> Reply:
        """Read a thing."""
        if server_id.endswith("9"):
            raise NotFound(f"thing {server_id} does not exist")
        return Reply(ThingView(id=server_id, name="x"), etag='"7"')

    @routes.patch("/v1/things/{server_id}", permission=Can.WRITE, resource="server_id", response=ThingView)
    async def edit_thing(call: Call, server_id: ServerId, body: ThingEdit) -> Reply:
        """Edit a thing."""
        if call.if_match not in (None, '"7"'):
            raise PreconditionFailed("it was changed in the meantime")
        return Reply(ThingView(id=server_id, name=body.name), etag='"8"')

    @routes.delete("/v1/things/{server_id}", permission=Can.WRITE, resource="server_id")
    async def delete_thing(_call: Call, server_id: ServerId) -> None:
        """Delete a thing."""

    @routes.post("/v1/things/{server_id}/start", permission=Can.WRITE, durable=True, status=202)
    async def start_thing(call: Call, server_id: ServerId) -> Reply:
        """Start a thing."""
        kept["durable"] = call._durable
        return accepted("tsk_1")

    @routes.post("/v1/things/recount", permission=Can.WRITE)
    async def recount_things(_call: Call) -> None:
        """Count anew."""

    @routes.get("/v1/me", organization=False)
    async def read_me(call: Call) -> ThingView:
        """Read oneself."""
        return ThingView(id=call.principal.id, name="me")

    @routes.post("/v1/token", auth=Auth.ANONYMOUS, form=True, rate="sign_in")
    async def token(_call: Call, body: TokenForm) -> ThingView:
        """Get a token."""
        return ThingView(id="t", name=body.grant_type)

    @routes.get("/v1/broken", auth=Auth.ANONYMOUS)
    async def broken(_call: Call) -> ThingView:
        """Break."""
        raise RuntimeError("secret detail of a mistake")

    @routes.get("/v1/notes.txt", auth=Auth.ANONYMOUS, media_type="text/plain")
    async def notes(_call: Call) -> Reply:
        """Plain text."""
        return Reply(b"hello", content_type="text/plain; charset=utf-8", headers={"Cache-Control": "public"})

    @routes.get("/v1/charged", auth=Auth.ANONYMOUS)
    async def charged(_call: Call) -> ThingView:
        """Cost something."""
        charge.record("read", "tenants", {"x-ms-request-charge": "2.83"})
        return ThingView(id="c", name="c")

    routes.fallback(lambda: routes.declared)
    return routes, kept
