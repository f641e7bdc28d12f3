"""Provisioned throughput as a resource: kept and given back, not enforced (the budget switch does that)."""

from __future__ import annotations

from typing import Any

import orjson

from local.cosmos import shape
from local.cosmos.engine import Engine
from local.cosmos.errors import bad_request, not_found
from local.cosmos.http import Request, Response
from local.cosmos.listing import feed, query_resources
from local.cosmos.model import Container, Database, encode_rid

MIN_THROUGHPUT, MAX_THROUGHPUT = 400, 1_000_000


def wanted_throughput(request: Request) -> dict[str, Any] | None:
    """The throughput asked for when a database or container is made.

    Raises:
        CosmosError: 400, not a throughput.
    """
    fixed, autoscale = (
        request.headers.find("x-ms-offer-throughput"),
        request.headers.find("x-ms-cosmos-offer-autopilot-settings"),
    )
    if fixed is not None:
        return {"offerThroughput": _check(fixed)}
    if autoscale is not None:
        try:
            settings = orjson.loads(autoscale)
            most = _check(settings["maxThroughput"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise bad_request("The autoscale settings must be JSON with a 'maxThroughput'.") from None
        return {"offerThroughput": most // 10, "offerAutopilotSettings": {"maxThroughput": most}}
    return None


def _check(value: Any) -> int:
    text = str(value)
    if not text.isdecimal() or not MIN_THROUGHPUT <= int(text) <= MAX_THROUGHPUT or int(text) % 100:
        raise bad_request(
            f"A throughput of {text} is not possible: it is a multiple of 100 from {MIN_THROUGHPUT} to {MAX_THROUGHPUT}."
        )
    return int(text)


def add_offer(engine: Engine, owner: Database | Container, content: dict[str, Any]) -> None:
    """Store a new resource's throughput."""
    database, container = (owner.rid, None) if isinstance(owner, Database) else (None, owner.rid)
    with engine.storage.committer.unit() as db:
        db.execute(
            "INSERT INTO offers (database, container, content) VALUES (?, ?, ?)",
            (database, container, orjson.dumps(content).decode()),
        )


def _offers(engine: Engine) -> list[dict[str, Any]]:
    owners: dict[tuple[int | None, int | None], Database | Container] = {
        (database.rid, None): database for database in engine.storage.databases.values()
    }
    owners |= {(None, container.rid): container for container in engine.storage.containers.values()}
    rows = engine.storage.reader.execute("SELECT rid, database, container, content FROM offers").fetchall()
    return [
        _body(rid, owners[database, container], orjson.loads(content)) for rid, database, container, content in rows
    ]


def _body(rid: int, owner: Database | Container, content: dict[str, Any]) -> dict[str, Any]:
    name = _name(rid)
    return {
        "id": name,
        "_rid": name,
        "_self": f"offers/{name}/",
        "_etag": f'"{rid:08x}"',
        "_ts": owner.ts,
        "resource": owner.self_link,
        "offerType": "Invalid",
        "offerResourceId": owner.resource_id,
        "offerVersion": "V2",
        "content": content,
    }


def _name(rid: int) -> str:
    return encode_rid(b"O" + rid.to_bytes(2, "big"))


def list_offers(engine: Engine, _request: Request) -> Response:
    """`GET /offers`."""
    return feed("Offers", "", _offers(engine))


def query_offers(engine: Engine, request: Request) -> Response:
    """`POST /offers`."""
    return query_resources(request, "Offers", "", _offers(engine))


def _find(engine: Engine, name: str) -> tuple[int, dict[str, Any]]:
    for offer in _offers(engine):
        # The signature covers the id in lower case, so some clients send it so.
        if offer["id"].lower() == name.lower():
            return int(offer["_etag"].strip('"'), 16), offer
    raise not_found(f"There is no offer '{name}'.")


def read_offer(engine: Engine, request: Request) -> Response:
    """`GET /offers/{rid}`."""
    return Response(200, orjson.dumps(_find(engine, request.segments[1])[1]))


async def replace_offer(engine: Engine, request: Request) -> Response:
    """`PUT /offers/{rid}`."""
    rid, offer = _find(engine, request.segments[1])
    content = shape.parse(request.body).get("content")
    if not isinstance(content, dict):
        raise bad_request("An offer needs an object 'content'.")
    settings = content.get("offerAutopilotSettings")
    if settings:
        kept = {"offerThroughput": _check(settings.get("maxThroughput")) // 10, "offerAutopilotSettings": settings}
    else:
        kept = {"offerThroughput": _check(content.get("offerThroughput"))}
    with engine.storage.committer.unit() as db:
        db.execute("UPDATE offers SET content=? WHERE rid=?", (orjson.dumps(kept).decode(), rid))
    await engine.storage.committer.committed()
    return Response(200, orjson.dumps({**offer, "content": kept}))
