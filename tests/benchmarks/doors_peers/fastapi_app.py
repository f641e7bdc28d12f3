"""The peer: the same guarded create in FastAPI with pydantic and PyJWT, as its documentation would have one write it.

`python -m tests.benchmarks.doors_peers.fastapi_app PORT PEM ISSUER` serves it with uvicorn (uvloop, httptools, one process).
"""

from __future__ import annotations

import sys
import time
import uuid
from typing import Annotated, Any, Literal

import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    cosmos_endpoint: str = ""
    cosmos_key: str = ""
    cosmos_database: str = ""


class Port(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "udp"


class ThingCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=60)
    template: str = Field(pattern=r"^[a-z0-9-]+$", max_length=60)
    memory_mib: int = Field(ge=64, le=1_048_576)
    cpu_percent: int = Field(ge=1, le=12_800)
    disk_mib: int = Field(ge=64)
    ports: list[Port] = Field(default_factory=list, max_length=20)
    variables: dict[str, str] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list, max_length=20)
    description: str = Field(default="", max_length=500)


class ThingView(BaseModel):
    id: str
    name: str
    memory_mib: int
    ports: list[Port]


app = FastAPI()
windows: dict[tuple[str, int], int] = {}
MEMBERS = {"permissions": {"servers.create", "servers.read"}}
state: dict[str, Any] = {}


def principal(request: Request) -> dict[str, Any]:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, "send a token")
    try:
        claims: dict[str, Any] = jwt.decode(
            token, state["key"], algorithms=["ES256"], audience=state["issuer"], issuer=state["issuer"]
        )
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, str(error)) from None
    return claims


def limited(request: Request, caller: Annotated[dict[str, Any], Depends(principal)]) -> dict[str, Any]:
    minute = int(time.time() // 60)
    assert request.client is not None
    for who in (caller["client_id"], caller["org"], caller["sub"], request.client.host):
        count = windows.get((who, minute), 0) + 1
        windows[(who, minute)] = count
        if count > 10**9:
            raise HTTPException(429, "too many", headers={"Retry-After": "60"})
    return caller


def may(permission: str) -> Any:
    def check(caller: Annotated[dict[str, Any], Depends(limited)]) -> dict[str, Any]:
        if permission not in MEMBERS["permissions"]:
            raise HTTPException(403, permission)
        return caller

    return check


def problem(request: Request, status: int, title: str, detail: str, errors: list[Any]) -> JSONResponse:
    content = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "errors": errors,
    }
    return JSONResponse(content, status, media_type="application/problem+json")


@app.exception_handler(RequestValidationError)
async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    return problem(
        request,
        400,
        "invalid",
        "the request is not valid",
        [{"field": e["loc"], "message": e["msg"]} for e in error.errors()],
    )


@app.exception_handler(HTTPException)
async def refused(request: Request, error: HTTPException) -> JSONResponse:
    return problem(request, error.status_code, "refused", str(error.detail), [])


def _headers(response: Response, etag: str, id: str) -> None:
    response.headers["ETag"] = etag
    response.headers["Location"] = f"/v1/bench/{id}"
    response.headers["X-Request-Id"] = uuid.uuid4().hex
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["RateLimit"] = '"user";r=1;t=1'


@app.post("/v1/bench/guarded", status_code=201)
async def guarded(
    body: ThingCreate, response: Response, caller: Annotated[dict[str, Any], Depends(may("servers.create"))]
) -> ThingView:
    id = f"srv_{uuid.uuid4().hex}"
    _headers(response, '"1"', id)
    return ThingView(id=id, name=body.name, memory_mib=body.memory_mib, ports=body.ports)


@app.post("/v1/bench/stored", status_code=201)
async def stored(
    body: ThingCreate, response: Response, caller: Annotated[dict[str, Any], Depends(may("servers.create"))]
) -> ThingView:
    if "container" not in state:
        from azure.cosmos.aio import CosmosClient

        settings = Settings()
        state["client"] = client = CosmosClient(settings.cosmos_endpoint, credential=settings.cosmos_key)
        await client.__aenter__()
        state["container"] = client.get_database_client(settings.cosmos_database).get_container_client("tenants")
    id = f"srv_{uuid.uuid4().hex}"
    document = {
        "id": id, "org_id": caller["org"], "type": "bench_thing", "schema_version": 1, "name": body.name, "memory_mib": body.memory_mib,
        "variables": body.variables, "description": body.description, "created_at": time.time(), "updated_at": time.time(),
    }  # fmt: skip
    made = await state["container"].create_item(document)
    _headers(response, made["_etag"], id)
    return ThingView(id=id, name=body.name, memory_mib=body.memory_mib, ports=body.ports)


def main() -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    port, pem, state["issuer"] = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    state["key"] = load_pem_public_key(pem.encode())
    uvicorn.run(
        app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="error", server_header=False
    )


if __name__ == "__main__":
    main()
