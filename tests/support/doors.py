"""Calling declared routes as the platform does: through the functions that their blueprints register."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import azure.functions as func

from shared.http import Routes
from shared.http.principal import Auth
from shared.http.route import Route
from shared.platform.clock import Clock, SystemClock
from shared.platform.ids import Ids
from shared.platform.settings import Settings, load_settings

Trigger = Callable[..., Awaitable[func.HttpResponse]]


def settings_for_tests(**values: Any) -> Settings:
    """Settings that name no real place."""
    return load_settings({"cosmos_endpoint": "http://127.0.0.1:1", "cosmos_key": "a2V5", **values})


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Doors:
    """The triggers of some routes, called without a host."""

    def __init__(self, *registries: Routes) -> None:
        app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
        for registry in registries:
            app.register_functions(registry.blueprint)
        self.functions = {each.get_function_name(): each for each in app.get_functions()}
        self.routes = [route for registry in registries for route in registry.declared]

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        for route in self.routes:
            found = route.matcher.match(path)
            if found and route.method == method:
                return route, found.groupdict()
        raise LookupError(f"no route {method} {path}")

    async def call(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Answer:
        """Call a route; a body that is not bytes is sent as JSON."""
        path, _, tail = url.partition("?")
        params = {**dict(parse_qsl(tail)), **{k: str(v) for k, v in (query or {}).items()}}
        sent = dict(headers or {})
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if raw and not any(each.lower() == "content-type" for each in sent):
            sent["content-type"] = "application/json"
        sent.setdefault("x-forwarded-for", "203.0.113.7:50000")
        values: dict[str, str] = {}
        if name is None:
            route, values = self._find(method, path)
            name = route.name
        full = f"http://localhost:7071{path}" + (f"?{urlencode(params)}" if params else "")
        request = func.HttpRequest(method, full, headers=sent, params=params, route_params=values, body=raw)
        response = await self.functions[name].get_user_function()(req=request)
        return Answer(response.status_code, response.headers, response.get_body())


class Backing:
    """What the pipeline needs, with the real parts; who calls and who may is the test's to say."""

    def __init__(
        self,
        *,
        authenticators: Mapping[Auth, Any] | None = None,
        authorizer: Any = None,
        rate_limiter: Any = None,
        idempotency: Any = None,
        clock: Clock | None = None,
        settings: Settings | None = None,
    ) -> None:
        from shared.http.ratelimit import RateLimiter

        self.settings = settings or settings_for_tests()
        self.clock: Clock = clock or SystemClock()
        self.ids = Ids(self.clock)
        self.authorizer = authorizer
        self.rate_limiter = rate_limiter or RateLimiter(self.clock, None)
        self.idempotency = idempotency
        self._authenticators = authenticators or {}

    def authenticator(self, auth: Auth) -> Any:
        return self._authenticators[auth]
