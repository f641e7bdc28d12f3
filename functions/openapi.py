"""`/openapi.json` and `/docs`: the API described by its own declarations."""

from __future__ import annotations

from functions import declared
from shared.composition import services
from shared.http import Auth, Call, Reply, Routes

routes = Routes("documentation", services)
blueprint = routes.blueprint


@routes.get("/openapi.json", auth=Auth.ANONYMOUS, rate="open")
async def openapi_document(_call: Call) -> Reply:
    """The OpenAPI 3.1 document of this API."""
    from shared.http.openapi import document_bytes

    return Reply(document_bytes(declared()))
