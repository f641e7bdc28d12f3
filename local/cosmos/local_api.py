"""What is not Azure's: the meter, and the faults that tests order. Answered to this machine alone."""

from __future__ import annotations

import ipaddress

import orjson

from local.cosmos import shape
from local.cosmos.engine import Engine
from local.cosmos.errors import CosmosError, not_found
from local.cosmos.faults import Fault
from local.cosmos.http import Request, Response


def serve_local(engine: Engine, request: Request, client: str) -> Response:
    """`/_local/...`.

    Raises:
        CosmosError: 403 for another machine, 404, 405.
    """
    try:
        near = ipaddress.ip_address(client).is_loopback
    except ValueError:
        near = False
    if not near:
        raise CosmosError(403, "/_local answers this machine only.")
    what = (request.segments[1:], request.method)
    if what == (("meter",), "GET"):
        return Response(200, orjson.dumps(engine.meter.totals()))
    if request.segments[1:] == ("fault",) and engine.options.faults:
        if request.method == "POST":
            engine.faults.orders.append(Fault.parse(shape.parse(request.body)))
        elif request.method == "DELETE":
            engine.faults.orders.clear()
        else:
            raise CosmosError(405, f"{request.method} is not defined for /_local/fault.")
        return Response(200, orjson.dumps({"open": sum(order.count > 0 for order in engine.faults.orders)}))
    raise not_found(f"There is nothing at /{'/'.join(request.segments)}.")
