"""What the registry refuses when the program starts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from shared.http import Auth, Call, In, Reply, Routes
from shared.http.route import DeclarationError
from shared.platform.ids import ServerId


class Open(BaseModel):
    name: str


class Closed(In):
    name: str


async def no_call() -> None:
    """Text."""


async def plain(call: Call) -> None:
    """Text."""


async def undocumented(call: Call) -> None:
    pass


async def with_body(call: Call, body: Closed) -> None:
    """Text."""


async def open_body(call: Call, body: Open) -> None:
    """Text."""


async def stray(call: Call, colour: str) -> None:
    """Text."""


async def with_id(call: Call, server_id: ServerId) -> None:
    """Text."""


def not_async(call: Call) -> None:
    """Text."""


FREE: dict[str, Any] = {"organization": False}


@pytest.mark.parametrize(
    ("method", "path", "handler", "options", "reason"),
    [
        pytest.param("GET", "/v1/a", plain, {}, "names its permission", id="no permission"),
        pytest.param(
            "GET",
            "/v1/a",
            plain,
            {"auth": Auth.ANONYMOUS, "permission": "a:b"},
            "only callers with auth=USER",
            id="anonymous with permission",
        ),
        pytest.param("GET", "/V1/a", plain, FREE, "lower case", id="upper case"),
        pytest.param("GET", "v1/a", plain, FREE, "lower case", id="no slash"),
        pytest.param("GET", "/v1/a/", plain, FREE, "lower case", id="slash at the end"),
        pytest.param("GET", "/v1/a", not_async, FREE, "async def", id="not async"),
        pytest.param("GET", "/v1/a", no_call, FREE, "call: Call", id="no call"),
        pytest.param("GET", "/v1/a", stray, FREE, "colour", id="a parameter from nowhere"),
        pytest.param("GET", "/v1/a/{server_id}", plain, FREE, "lacks server_id", id="placeholder not taken"),
        pytest.param("POST", "/v1/a", open_body, FREE, "refuse unknown fields", id="model that takes anything"),
        pytest.param("GET", "/v1/a", undocumented, FREE, "docstring", id="no text"),
        pytest.param(
            "GET",
            "/v1/a/{server_id}",
            with_id,
            {"permission": "a:b", "resource": "node_id"},
            "no placeholder",
            id="resource from nowhere",
        ),
        pytest.param("GET", "/v1/a", plain, {**FREE, "idempotent": True}, "for POST", id="idempotent GET"),
        pytest.param("POST", "/v1/a", plain, {**FREE, "sealed": True}, "can be sealed", id="sealed and not kept"),
        pytest.param(
            "GET", "/v1/a", plain, {**FREE, "rate": "often"}, "no rate class 'often'", id="unknown rate class"
        ),
    ],
)
def test_a_contradiction_is_refused_with_its_reason(
    method: str, path: str, handler: Any, options: dict[str, Any], reason: str
) -> None:
    routes = Routes("test", lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(DeclarationError, match=reason):
        routes.route(method, path, **options)(handler)
    assert routes.declared == []


def test_a_route_is_declared_once() -> None:
    routes = Routes("test", lambda: None)  # type: ignore[arg-type,return-value]
    routes.get("/v1/a", organization=False)(plain)
    with pytest.raises(DeclarationError, match="declared twice"):
        routes.get("/v1/a", organization=False)(plain)


def test_what_follows_from_a_declaration() -> None:
    routes = Routes("test", lambda: None)  # type: ignore[arg-type,return-value]
    routes.patch("/v1/a/{server_id}", permission="a:b", resource="server_id")(with_id)
    routes.post("/v1/a", auth=Auth.AGENT)(with_body)
    patch, post = routes.declared
    assert (patch.if_match, patch.rate, patch.organization) == (True, "write", True)
    assert (post.if_match, post.rate, post.organization, post.body) == (False, "agent", False, Closed)
    assert patch.matcher.match("/V1/a/srv_1")


def test_triggers_have_exactly_their_bindings_as_parameters_with_plain_classes() -> None:
    """What Microsoft's worker demands when it loads the app."""
    import inspect

    import azure.functions as func

    routes = Routes("test", lambda: None)  # type: ignore[arg-type,return-value]

    async def starts(call: Call) -> Reply:
        """Text."""
        return Reply()

    routes.post("/v1/a", organization=False, durable=True)(starts)
    routes.get("/v1/a", organization=False)(plain)
    app = func.FunctionApp()
    app.register_functions(routes.blueprint)
    for function in app.get_functions():
        bound = {binding.name for binding in function.get_bindings()} - {"$return"}
        signature = inspect.signature(function.get_user_function(), eval_str=True, globals={"func": func})
        assert set(signature.parameters) == bound
        assert all(isinstance(p.annotation, type) for p in signature.parameters.values())
        assert signature.return_annotation is func.HttpResponse
