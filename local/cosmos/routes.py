"""Which handler serves which path, and what its signature covers."""

from __future__ import annotations

from collections.abc import Callable

from local.cosmos import changefeed, feeds, items, offers, resources
from local.cosmos.engine import Engine
from local.cosmos.errors import not_found
from local.cosmos.http import Answer, Request

Handler = Callable[[Engine, Request], Answer]


def _post_items(engine: Engine, request: Request) -> Answer:
    """One address for create, upsert, query and batch: headers tell them apart."""
    if request.flag("x-ms-cosmos-is-batch-request"):
        return items.run_batch(engine, request)
    if request.is_query or request.flag("x-ms-cosmos-is-query-plan-request"):
        return feeds.query_items(engine, request)
    return items.create_item(engine, request)


def _get_items(engine: Engine, request: Request) -> Answer:
    if "a-im" in request.headers:
        return changefeed.read_changes(engine, request)
    return feeds.read_all(engine, request)


def _post_databases(engine: Engine, request: Request) -> Answer:
    if request.is_query:
        return resources.query_databases(engine, request)
    return resources.create_database(engine, request)


def _post_containers(engine: Engine, request: Request) -> Answer:
    if request.is_query:
        return resources.query_containers(engine, request)
    return resources.create_container(engine, request)


# Path shapes: fixed words, with `*` for a name. Method -> handler.
SHAPES: dict[tuple[str, ...], dict[str, Handler]] = {
    (): {"GET": resources.read_account},
    ("dbs",): {"GET": resources.list_databases, "POST": _post_databases},
    ("dbs", "*"): {"GET": resources.read_database, "DELETE": resources.delete_database},
    ("dbs", "*", "colls"): {"GET": resources.list_containers, "POST": _post_containers},
    ("dbs", "*", "colls", "*"): {
        "GET": resources.read_container,
        "PUT": resources.replace_container,
        "DELETE": resources.delete_container,
    },
    ("dbs", "*", "colls", "*", "pkranges"): {"GET": resources.list_ranges},
    ("offers",): {"GET": offers.list_offers, "POST": offers.query_offers},
    ("offers", "*"): {"GET": offers.read_offer, "PUT": offers.replace_offer},
    ("dbs", "*", "colls", "*", "operations", "*"): {"POST": feeds.delete_partition},
    ("dbs", "*", "colls", "*", "docs"): {"GET": _get_items, "POST": _post_items},
    ("dbs", "*", "colls", "*", "docs", "*"): {
        "GET": items.read_item,
        "PUT": items.replace_item,
        "DELETE": items.delete_item,
        "PATCH": items.patch_item,
    },
}


# The same by fixed words and length: every second word is a name.
ROUTES = {(shape[::2], len(shape)): handlers for shape, handlers in SHAPES.items()}


def signed_resource(segments: tuple[str, ...]) -> tuple[str, str]:
    """The resource type and link that a request's signature covers."""
    if not segments:
        return "", ""
    if segments[0] == "offers":
        return "offers", segments[1].lower() if len(segments) > 1 else ""
    if segments[-2:] == ("operations", "partitionkeydelete"):
        return "colls", "/".join(segments[:-2])
    if len(segments) % 2:
        return segments[-1], "/".join(segments[:-1])
    return segments[-2], "/".join(segments)


def match(segments: tuple[str, ...]) -> dict[str, Handler]:
    """The handlers of a path.

    Raises:
        CosmosError: 404.
    """
    found = ROUTES.get((segments[::2], len(segments)))
    if found is None or (segments[4:5] == ("operations",) and segments[5] != "partitionkeydelete"):
        raise not_found(f"There is no resource at /{'/'.join(segments)}.")
    return found
