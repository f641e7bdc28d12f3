"""The route registry: a handler is declared once, and trigger, checks and API document follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import azure.functions as func

from shared.http.fallback import Fallback
from shared.http.pipeline import Pipeline
from shared.http.principal import Auth
from shared.http.route import DeclarationError, Handler, Options, Route, declare

if TYPE_CHECKING:
    from shared.http.ports import Backing

H = TypeVar("H", bound=Handler)

#: The binding of the durable client. It is declared by its type, not by the durable SDK's decorator, so that a door
#: does not import that SDK (a fifth of a second) before an orchestration is first started.
DURABLE_BINDING: Final = "durableClient"


class Routes:
    """The routes of one resource.

    ```
    routes = Routes("servers", services)
    blueprint = routes.blueprint

    @routes.post("/v1/servers", permission=Permission.SERVERS_CREATE, idempotent=True, status=201)
    async def create_server(call: Call, body: ServerCreate) -> Reply: ...
    ```
    """

    def __init__(self, tag: str, backing: Callable[[], Backing]) -> None:
        self.tag = tag
        self.blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
        self.declared: list[Route] = []
        self._pipeline = Pipeline(backing)

    def get(self, path: str, **options: Any) -> Callable[[H], H]:
        """Declare a route that reads. Options as for `route`."""
        return self.route("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[H], H]:
        """Declare a route that creates, or starts something. Options as for `route`."""
        return self.route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[H], H]:
        """Declare a route that replaces. Options as for `route`."""
        return self.route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[H], H]:
        """Declare a route that changes. Options as for `route`."""
        return self.route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[H], H]:
        """Declare a route that removes. Options as for `route`."""
        return self.route("DELETE", path, **options)

    def route(self, method: str, path: str, **options: Any) -> Callable[[H], H]:
        """Declare a route; the options are those of `shared.http.route.Options`.

        The handler's parameters are `call`, then any of `body`, `query` and the path's placeholders, each with its type;
        its return annotation is the model of the answer; its docstring is the text in the document.
        """
        given = Options(**options)

        def decorator(handler: H) -> H:
            route = declare(handler, method, path, self.tag, given)
            if any((known.method, known.path) == (method, path) for known in self.declared):
                raise DeclarationError(f"{method} {path} is declared twice")
            self.declared.append(route)
            self._register(route)
            return handler

        return decorator

    def fallback(self, declared: Callable[[], Sequence[Route]]) -> None:
        """Answer whatever no route takes: preflights (CORS), unknown paths (404), other methods (405)."""
        trigger = self._pipeline.fallback_trigger(Fallback(declared))
        everything = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        decorated = self.blueprint.route(route="{*path}", methods=everything)(trigger)
        self.blueprint.function_name("fallback")(decorated)

    def _register(self, route: Route) -> None:
        level = func.AuthLevel.ADMIN if route.auth is Auth.ADMIN else func.AuthLevel.ANONYMOUS
        trigger = self._pipeline.trigger(route)
        decorated = self.blueprint.route(route=route.template, methods=[route.method], auth_level=level)(trigger)
        if route.durable:
            decorated = self.blueprint.generic_input_binding(arg_name="client", type=DURABLE_BINDING)(decorated)
        self.blueprint.function_name(route.name)(decorated)
