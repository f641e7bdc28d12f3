"""Account, databases, containers, physical ranges."""

from __future__ import annotations

from typing import Any

import orjson

from local.cosmos import shape, ttl
from local.cosmos.engine import Engine
from local.cosmos.errors import CosmosError, bad_request
from local.cosmos.http import Request, Response
from local.cosmos.indexing import check_definition
from local.cosmos.listing import feed, query_resources
from local.cosmos.model import Container, Database, etag
from local.cosmos.offers import add_offer, wanted_throughput


def read_account(_engine: Engine, request: Request) -> Response:
    """`GET /`: where the account can be reached, which is wherever the client just reached it."""
    location = [{"name": "This machine", "databaseAccountEndpoint": f"{request.origin}/"}]
    return _json(
        200,
        {
            "id": "localhost",
            "_rid": "localhost",
            "_self": "",
            "_dbs": "//dbs/",
            "media": "//media/",
            "addresses": "//addresses/",
            "writableLocations": location,
            "readableLocations": location,
            "enableMultipleWriteLocations": False,
            "continuousBackupEnabled": False,
            "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
            "userReplicationPolicy": {"asyncReplication": False, "minReplicaSetSize": 1, "maxReplicasetSize": 1},
            "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
            "queryEngineConfiguration": '{"maxSqlQueryInputLength":524288,"maxJoinsPerSqlQuery":10}',
        },
    )


def list_databases(engine: Engine, _request: Request) -> Response:
    """`GET /dbs`."""
    return feed("Databases", "", [database.body() for database in engine.storage.databases.values()])


async def create_database(engine: Engine, request: Request) -> Response:
    """`POST /dbs`."""
    body = shape.parse(request.body)
    name = shape.check_id(body.get("id"), "database")
    if name in engine.storage.databases:
        raise CosmosError(409, f"A database with the id '{name}' already exists.")
    throughput = wanted_throughput(request)
    database = engine.storage.add_database(name, request.second)
    if throughput is not None:
        add_offer(engine, database, throughput)
    await engine.storage.committer.committed()
    return _json(201, database.body(), etag(database.rid, 1))


def read_database(engine: Engine, request: Request) -> Response:
    """`GET /dbs/{id}`."""
    database = engine.storage.database(request.segments[1])
    return _json(200, database.body(), etag(database.rid, 1))


async def delete_database(engine: Engine, request: Request) -> Response:
    """`DELETE /dbs/{id}`."""
    engine.storage.drop_database(engine.storage.database(request.segments[1]))
    await engine.storage.committer.committed()
    return Response(204)


def list_containers(engine: Engine, request: Request) -> Response:
    """`GET /dbs/{id}/colls`."""
    database = engine.storage.database(request.segments[1])
    return feed("DocumentCollections", database.resource_id, _containers(engine, database))


async def create_container(engine: Engine, request: Request) -> Response:
    """`POST /dbs/{id}/colls`."""
    database = engine.storage.database(request.segments[1])
    body = shape.parse(request.body)
    name = shape.check_id(body.get("id"), "container")
    definition = check_definition(body)
    if (database.id, name) in engine.storage.containers:
        raise CosmosError(409, f"A container with the id '{name}' already exists in database '{database.id}'.")
    throughput = wanted_throughput(request)
    container = engine.storage.add_container(database, name, definition, request.second)
    if throughput is not None:
        add_offer(engine, container, throughput)
    await engine.storage.committer.committed()
    return _container(201, container)


def read_container(engine: Engine, request: Request) -> Response:
    """`GET /dbs/{id}/colls/{id}`."""
    return _container(200, engine.storage.container(request.segments[1], request.segments[3]))


async def replace_container(engine: Engine, request: Request) -> Response:
    """`PUT /dbs/{id}/colls/{id}`: indexing policy and time to live may change, keys may not."""
    container = engine.storage.container(request.segments[1], request.segments[3])
    body = shape.parse(request.body)
    if body.get("id") != container.id:
        raise bad_request(f"The id in the body, {body.get('id')!r}, is not the container's id '{container.id}'.")
    wanted = request.headers.find("if-match")
    if wanted is not None and wanted not in ("*", etag(container.rid, container.version)):
        raise CosmosError(412, "The container has changed since it was read.")
    definition = check_definition(body)
    for fixed in ("partitionKey", "uniqueKeyPolicy"):
        if definition.get(fixed) != container.definition.get(fixed):
            raise bad_request(f"'{fixed}' of a container cannot be changed; make a new container and copy the items.")
    lifetime_changed = definition.get("defaultTtl") != container.default_ttl
    engine.storage.replace_container(container, definition, request.second)
    if lifetime_changed:
        with engine.storage.committer.unit() as db:
            ttl.recompute(db, container)
    await engine.storage.committer.committed()
    return _container(200, container)


async def delete_container(engine: Engine, request: Request) -> Response:
    """`DELETE /dbs/{id}/colls/{id}`."""
    engine.storage.drop_container(engine.storage.container(request.segments[1], request.segments[3]))
    await engine.storage.committer.committed()
    return Response(204)


def list_ranges(engine: Engine, request: Request) -> Response:
    """`GET .../pkranges`.

    The SDK asks again with the ETag it got, and goes on asking until it hears 304.
    """
    container = engine.storage.container(request.segments[1], request.segments[3])
    version = f'"{container.rid}-{engine.options.ranges}"'
    if request.headers.find("if-none-match") == version:
        return Response(304, headers={"etag": version})
    ranges = [
        {
            "id": str(number),
            "_rid": container.item_rid(number),
            "_self": f"{container.self_link}pkranges/{number}/",
            "_etag": version,
            "_ts": container.ts,
            "minInclusive": start,
            "maxExclusive": end,
            "ridPrefix": number,
            "throughputFraction": 1 / engine.options.ranges,
            "status": "online",
            "parents": [],
        }
        for number, (start, end) in enumerate(engine.range_bounds())
    ]
    answer = feed("PartitionKeyRanges", container.resource_id, ranges)
    answer.headers["etag"] = version
    return answer


def query_databases(engine: Engine, request: Request) -> Response:
    """`POST /dbs` with a query."""
    return query_resources(request, "Databases", "", [item.body() for item in engine.storage.databases.values()])


def query_containers(engine: Engine, request: Request) -> Response:
    """`POST /dbs/{id}/colls` with a query."""
    database = engine.storage.database(request.segments[1])
    return query_resources(request, "DocumentCollections", database.resource_id, _containers(engine, database))


def _containers(engine: Engine, database: Database) -> list[dict[str, Any]]:
    return [container.body() for container in engine.storage.containers.values() if container.database is database]


def _container(status: int, container: Container) -> Response:
    return _json(status, container.body(), etag(container.rid, container.version))


def _json(status: int, body: dict[str, Any], version: str | None = None) -> Response:
    return Response(status, orjson.dumps(body), {} if version is None else {"etag": version})
