"""HTTP triggers of every kind that the conformance suite asks for."""

import asyncio
import json
import logging
import threading
import time

import azure.functions as func

app = func.FunctionApp()

ANONYMOUS = func.AuthLevel.ANONYMOUS


def _told(req: func.HttpRequest, name: str) -> func.HttpResponse:
    """Everything a function sees of a request, as JSON."""
    seen = {
        "function": name,
        "method": req.method,
        "url": req.url,
        "params": dict(req.params),
        "route": dict(req.route_params),
        "headers": dict(req.headers),
        "body": req.get_body().decode("latin-1"),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.route(route="echo", auth_level=ANONYMOUS)
def echo(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "echo")


@app.route(route="items/special", methods=["GET"], auth_level=ANONYMOUS)
def literal(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "literal")


@app.route(route="items/{id:int}", methods=["GET"], auth_level=ANONYMOUS)
def by_number(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "by_number")


@app.route(route="items/{name}", methods=["GET", "DELETE"], auth_level=ANONYMOUS)
def by_name(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "by_name")


@app.route(route="items/{id:int}", methods=["PUT"], auth_level=ANONYMOUS)
async def put_number(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "put_number")


@app.route(route="optional/{first}/{second?}", methods=["GET"], auth_level=ANONYMOUS)
def optional(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "optional")


@app.route(route="files/{*rest}", methods=["GET"], auth_level=ANONYMOUS)
def catch_all(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "catch_all")


@app.route(route="text", auth_level=ANONYMOUS)
def text(req: func.HttpRequest) -> str:
    return "plain text ✓"


@app.route(route="cookies", auth_level=ANONYMOUS)
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse("ok", headers={"X-Once": "1", "Content-Length": "999"})
    response.headers.add("Set-Cookie", "first=1; Path=/; HttpOnly")
    response.headers.add("Set-Cookie", "second=a/b; SameSite=Lax")
    response.headers.add("X-Twice", "1")
    response.headers.add("X-Twice", "2")
    return response


@app.route(route="status/{code:int}", auth_level=ANONYMOUS)
def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("told", status_code=int(req.route_params["code"]))


@app.route(route="raises", auth_level=ANONYMOUS)
def raises(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("told to")


@app.route(route="nothing", auth_level=ANONYMOUS)
def nothing(req: func.HttpRequest):
    return None


@app.route(route="dictionary", auth_level=ANONYMOUS)
def dictionary(req: func.HttpRequest):
    return {"not": "an answer"}


@app.route(route="bad-header", auth_level=ANONYMOUS)
def bad_header(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse("x")
    response.headers["X-Long"] = "x"
    response.headers._list.append(("X-Broken", "a\r\nSet-Cookie: b=c"))  # past werkzeug's own check
    return response


@app.route(route="where/{kind}", auth_level=ANONYMOUS)
async def where_async(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(threading.current_thread().name)


@app.route(route="thread", auth_level=ANONYMOUS)
def where_sync(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    logging.info("a line of the app, by %s", context.function_name)
    return func.HttpResponse(f"{threading.current_thread().name} {context.trace_context.trace_parent}")


@app.route(route="slow-async", auth_level=ANONYMOUS)
async def slow_async(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(30)
    return func.HttpResponse("too late")


@app.route(route="slow-sync", auth_level=ANONYMOUS)
def slow_sync(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(20)
    return func.HttpResponse("too late")


@app.route(route="levels/anonymous", auth_level=ANONYMOUS)
def level_anonymous(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "level_anonymous")


@app.route(route="levels/function", auth_level=func.AuthLevel.FUNCTION)
def level_function(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "level_function")


@app.route(route="levels/default")
def level_default(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "level_default")


@app.route(route="levels/admin", auth_level=func.AuthLevel.ADMIN)
def level_admin(req: func.HttpRequest) -> func.HttpResponse:
    return _told(req, "level_admin")


@app.route(route="switched-off", auth_level=ANONYMOUS)
def switched_off(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never")
