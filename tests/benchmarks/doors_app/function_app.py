"""The doors with the real guards in front of handlers that do next to nothing: what the guards cost shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import azure.functions as func
from pydantic import Field

from shared.composition import services
from shared.http import Auth, Call, In, ListQuery, Out, Page, Reply, Routes, rates
from shared.identity.permissions import Permission
from shared.store.documents import Document

for _name, _rate in list(rates.RATE_CLASSES.items()):  # counted as ever, but no bench is ever refused
    _limits = {dimension: 10**9 for dimension, _ in _rate.limits()}
    rates.RATE_CLASSES[_name] = replace(_rate, **_limits)

routes = Routes("bench", services)


class Port(In):
    """A port of a server."""

    number: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "udp"


class ThingCreate(In):
    """About what a server's creation sends."""

    name: str = Field(min_length=1, max_length=60)
    template: str = Field(pattern=r"^[a-z0-9-]+$", max_length=60)
    memory_mib: int = Field(ge=64, le=1_048_576)
    cpu_percent: int = Field(ge=1, le=12_800)
    disk_mib: int = Field(ge=64)
    ports: list[Port] = Field(default_factory=list, max_length=20)
    variables: dict[str, str] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list, max_length=20)
    description: str = Field(default="", max_length=500)


class ThingView(Out):
    """What comes back."""

    id: str
    name: str
    memory_mib: int
    ports: list[Port]


class Thing(Document):
    """What is stored."""

    type: Literal["bench_thing"] = "bench_thing"
    name: str
    memory_mib: int
    variables: dict[str, str] = Field(default_factory=dict)
    description: str = ""


def _view(id: str, body: ThingCreate) -> ThingView:
    return ThingView(id=id, name=body.name, memory_mib=body.memory_mib, ports=body.ports)


@routes.post("/v1/bench/guarded", permission=Permission.SERVERS_CREATE, status=201, response=ThingView)
async def bench_guarded(call: Call, body: ThingCreate) -> Reply:
    """Every guard, no store."""
    id = call.new_id("srv")
    return Reply(_view(id, body), status=201, etag='"1"', location=f"/v1/bench/{id}")


@routes.post("/v1/bench/stored", permission=Permission.SERVERS_CREATE, status=201, response=ThingView)
async def bench_stored(call: Call, body: ThingCreate) -> Reply:
    """Every guard, and one document stored."""
    thing = Thing(
        id=call.new_id("srv"),
        org_id=call.org,
        name=body.name,
        memory_mib=body.memory_mib,
        variables=body.variables,
        description=body.description,
    )
    stored = await call.services.store.create(call.org, thing)
    return Reply(_view(stored.id, body), status=201, etag=stored.etag, location=f"/v1/bench/{stored.id}")


@routes.get("/v1/bench/things", permission=Permission.SERVERS_READ)
async def bench_list(call: Call, query: ListQuery) -> Page[ThingView]:
    """A list query behind every guard."""
    found = await call.services.store.page(call.org, Thing, limit=query.limit, cursor=query.cursor)
    return call.page(
        found, lambda thing: ThingView(id=thing.id, name=thing.name, memory_mib=thing.memory_mib, ports=[])
    )


@routes.get("/v1/bench/hello", auth=Auth.ANONYMOUS)
async def bench_hello(_call: Call) -> Reply:
    """Nothing."""
    return Reply(b"{}")


@routes.get("/v1/bench/unguarded", auth=Auth.ANONYMOUS)
async def bench_unguarded(call: Call) -> Page[ThingView]:
    """The same list query without a guard: the plain SDK, and the same answer made of what it gives."""
    things = [Thing.from_wire(row) for row in await _rows(call)]
    views = [ThingView(id=thing.id, name=thing.name, memory_mib=thing.memory_mib, ports=[]) for thing in things]
    return Page[ThingView].model_construct(items=views)


@routes.get("/v1/bench/untyped", auth=Auth.ANONYMOUS, response=Page[ThingView])
async def bench_untyped(call: Call) -> Reply:
    """As above, without models either: nothing read is checked, and the answer is plain JSON of plain dicts."""
    import json

    rows = await _rows(call)
    items = [{"id": row["id"], "name": row["name"], "memory_mib": row["memory_mib"], "ports": []} for row in rows]
    return Reply(json.dumps({"items": items, "next": None}).encode())


async def _rows(call: Call) -> list[dict[str, Any]]:
    container = await call.services.database.container("tenants")
    pages = container.query_items(
        'SELECT * FROM c WHERE c["ix"]["type"] = @type ORDER BY c["id"] DESC',
        parameters=[{"name": "@type", "value": "bench_thing"}],
        partition_key=[call.request.headers["x-bench-org"]],
        max_item_count=50,
    ).by_page()
    async for page in pages:
        return [row async for row in page]
    return []


app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(routes.blueprint)
