"""Lists of databases, containers, offers and ranges, and queries over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from local.cosmos import shape
from local.cosmos.http import Request, Response
from local.cosmos.jsonvalue import UNDEFINED
from local.cosmos.query.plan import make_plan, parameters_of


def feed(name: str, owner: str, items: list[dict[str, Any]]) -> Response:
    """A list of resources."""
    body = orjson.dumps({"_rid": owner, name: items, "_count": len(items)})
    return Response(200, body, {"x-ms-item-count": str(len(items))})


def query_resources(request: Request, name: str, owner: str, items: list[dict[str, Any]]) -> Response:
    """A query over resources: they are few, so they are simply evaluated.

    Raises:
        CosmosError: 400.
    """
    body = shape.parse(request.body)
    parameters = parameters_of(body)
    plan = make_plan(str(body.get("query")), parameters, push_down=False)
    env: list[Any] = [UNDEFINED] * plan.compiled.scope.width[0]
    env[0] = parameters

    def rows() -> Iterator[None]:
        for item in items:
            env[plan.compiled.root] = item
            yield from plan.compiled.matched(env)

    return feed(name, owner, list(plan.compiled.finish(env, rows())))
