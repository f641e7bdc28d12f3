"""`/openapi.json` and `/docs`: the API described by its own declarations; and what no route takes."""

from __future__ import annotations

from functools import cache

from functions import declared
from shared.composition import services
from shared.http import Auth, Call, Reply, Routes

routes = Routes("documentation", services)
blueprint = routes.blueprint
routes.fallback(declared)


@cache
def _document() -> bytes:
    from shared.http.openapi import document_bytes

    return document_bytes(declared())


@routes.get("/openapi.json", auth=Auth.ANONYMOUS)
async def openapi_document(_call: Call) -> Reply:
    """The OpenAPI 3.1 document of this API."""
    return Reply(_document(), headers={"Cache-Control": "public, max-age=300"})


@routes.get("/docs", auth=Auth.ANONYMOUS, media_type="text/html")
async def docs_page(_call: Call) -> Reply:
    """The document as a page to browse."""
    from shared.http.documentation import page

    return page()


@routes.get("/docs/style.css", auth=Auth.ANONYMOUS, media_type="text/css")
async def docs_style(_call: Call) -> Reply:
    """The page's style sheet."""
    from shared.http.documentation import style

    return style()


@routes.get("/docs/script.js", auth=Auth.ANONYMOUS, media_type="text/javascript")
async def docs_script(_call: Call) -> Reply:
    """The page's script."""
    from shared.http.documentation import script

    return script()


@routes.get("/docs/problems", auth=Auth.ANONYMOUS, media_type="text/html")
async def docs_problems(_call: Call) -> Reply:
    """Every problem code and what it means."""
    from shared.http.documentation import problem_page

    return problem_page()
