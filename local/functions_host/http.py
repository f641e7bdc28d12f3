"""HTTP triggers: a raw ASGI app with the rules of the real Functions host."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from azure.functions.http import HttpRequest

from local.functions_host.answers import Answer, home_page, send_answer, to_answer
from local.functions_host.hostjson import DEFAULT_BODY_LIMIT
from local.functions_host.invoker import InvocationFailed, Invoker
from local.functions_host.keys import Keys
from local.functions_host.log import LiveLog
from local.functions_host.model import Function
from local.functions_host.outputs import Outputs
from local.functions_host.router import Router
from local.functions_host.server import CLIENT_CERTIFICATE, Receive, Scope, Send

Mount = Callable[["Request"], Awaitable["Answer"]]

# Headers that the front of App Service sets or the host itself: never taken from the outside.
_DROPPED = frozenset(
    ("x-arr-clientcert", "x-ms-client-principal", "x-ms-client-principal-id", "x-ms-client-principal-name")
)


class Refused(Exception):
    """A request that never reaches a function; `status` is the answer."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True)
class Request:
    """A request, read whole."""

    method: str
    path: str  # percent-encoded
    query: str
    headers: dict[str, str]  # lower-case names; repeated ones joined by ","
    params: dict[str, str]  # the query; empty values dropped, repeated ones joined by ","
    body: bytes
    scheme: str
    client: tuple[str, int] | None

    @property
    def base_url(self) -> str:
        """Scheme and authority as the caller wrote them."""
        return f"{self.scheme}://{self.headers.get('host', 'localhost')}"

    def query_values(self) -> dict[str, str]:
        """The query with the last of repeated values, empty ones kept."""
        return dict(parse_qsl(self.query, keep_blank_values=True, encoding="utf-8", errors="replace"))

    @property
    def key(self) -> str | None:
        """The access key: the header goes before the query."""
        return self.headers.get("x-functions-key") or self.params.get("code")


class HttpFront:
    """The ASGI app: reserved paths first, then the app's routes."""

    def __init__(
        self,
        functions: Iterable[Function],
        *,
        prefix: str,
        invoker: Invoker,
        outputs: Outputs,
        keys: Keys,
        log: LiveLog,
        strict: bool,
        body_limit: int = DEFAULT_BODY_LIMIT,
    ) -> None:
        """Args: `strict` answers 411 to chunked bodies, which the real host hands to Python functions empty."""
        self._invoker, self._outputs, self._keys, self._log = invoker, outputs, keys, log
        self._strict, self._body_limit = strict, body_limit
        self._router: Router[Function] = Router()
        self._mounts: dict[str, tuple[str, Mount]] = {}
        self._initials: set[str] = set()
        for function in functions:
            if function.kind == "httpTrigger" and not function.disabled:
                self._router.add(route_of(function, prefix), methods_of(function), function)

    def mount(self, path: str, handler: Mount) -> None:
        """Give a path and all below it to `handler`, before any function; at most one for each first segment."""
        first = path.split("/")[1].lower()
        self._mounts[first] = (path.lower().rstrip("/"), handler)
        self._initials |= {first[0], first[0].upper()}

    def _mounted(self, path: str) -> Mount | None:
        if path[1:2] not in self._initials:  # most requests: spared the rest
            return None
        found = self._mounts.get(path[1:].split("/", 1)[0].lower())
        if found is None:
            return None
        prefix, handler = found
        lower = path.lower()
        return handler if lower == prefix or lower.startswith(f"{prefix}/") else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        start = time.perf_counter()
        path = scope["raw_path"].decode("latin-1")
        method = scope["method"]
        try:
            mount = self._mounted(path)
            if mount is not None:
                await send_answer(send, method, await mount(await self._read(scope, receive, path)))
                return
            found = self._router.match(method, path)
            if found is None:
                await send_answer(send, method, home_page() if path == "/" else Answer(404))
                return
            request = await self._read(scope, receive, path)
            await self._call(found[0], found[1], request, send, start)
        except Refused as refused:
            await send_answer(send, method, Answer(refused.status))
            self._log.invocation(
                "http", f"{method} {path}", "-", time.perf_counter() - start, str(refused), str(refused.status)
            )

    async def _call(
        self, function: Function, values: dict[str, str], request: Request, send: Send, start: float
    ) -> None:
        level = function.auth_level
        if level != "anonymous" and not self._keys.allows(level, function.name, request.key):
            raise Refused(401, "no access key, or one that does not open this function")
        error: str | None = None
        try:
            result, outputs = await self._invoker.call(
                function, _as_sdk(request, values), traceparent=request.headers.get("traceparent")
            )
            answer = to_answer(result)
            if outputs:
                await self._outputs.send(outputs)
        except InvocationFailed as failure:
            error, answer = failure.told, Answer(500)
        except TypeError as failure:  # no answer could be made of what it returned
            error, answer = str(failure), Answer(500)
        await send_answer(send, request.method, answer)
        self._log.invocation(
            "http",
            f"{request.method} {request.path}",
            function.name,
            time.perf_counter() - start,
            error,
            str(answer.status),
        )

    async def _read(self, scope: Scope, receive: Receive, path: str) -> Request:
        headers = _headers(scope)
        body = b""
        if "content-length" in headers or "transfer-encoding" in headers:
            body = await self._body(headers, receive)
        query = scope["query_string"].decode("latin-1")
        params = _params(query) if query else {}
        return Request(scope["method"], path, query, headers, params, body, scope["scheme"], scope["client"])

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """The real host forwards a body only if Content-Length is above zero (azure-functions-host #4926, #7930)."""
        if "transfer-encoding" in headers:
            if self._strict:
                raise Refused(411, "a chunked body would reach a Python function empty in Azure; send Content-Length")
            return b""
        length = headers.get("content-length", "0")
        if length == "0":
            return b""
        if not length.isdigit():
            raise Refused(400, f"Content-Length is {length!r}")
        if int(length) > self._body_limit:
            raise Refused(413, f"the body has {length} bytes, the limit is {self._body_limit}")
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body
        pieces = [body]
        while message.get("more_body"):
            message = await receive()
            pieces.append(message.get("body", b""))
        return b"".join(pieces)


def _headers(scope: Scope) -> dict[str, str]:
    """A request's headers as the app sees them: one value a name, and none that only the front of Azure may set."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1")
        if name in headers:
            headers[name] = f"{headers[name]},{raw_value.decode('latin-1')}"
        elif name not in _DROPPED:
            headers[name] = raw_value.decode("latin-1")
    certificate = scope["state"].get(CLIENT_CERTIFICATE)
    if certificate is not None:
        headers["x-arr-clientcert"] = certificate
    client = scope["client"]
    if client is not None:  # App Service's front appends the caller it saw; the last entry is the true one
        before = headers.get("x-forwarded-for")
        seen = f"{client[0]}:{client[1]}" if ":" not in client[0] else f"[{client[0]}]:{client[1]}"
        headers["x-forwarded-for"] = f"{before}, {seen}" if before else seen
    return headers


def route_of(function: Function, prefix: str) -> str:
    """The function's route template with the app's prefix."""
    route = str(function.trigger.raw.get("route") or function.name).strip("/")
    if function.trigger.raw.get("route") == "":
        route = ""
    return f"{prefix}/{route}".strip("/")


def methods_of(function: Function) -> frozenset[str] | None:
    """Upper-case methods, or None for all."""
    methods = function.trigger.raw.get("methods")
    return frozenset(str(method).upper() for method in methods) if methods else None


def _params(query: str) -> dict[str, str]:
    params: dict[str, str] = {}
    for name, value in parse_qsl(
        query, encoding="utf-8", errors="replace"
    ):  # leaves empty values out, as the worker's host does
        params[name] = f"{params[name]},{value}" if name in params else value
    return params


def _as_sdk(request: Request, values: Mapping[str, str]) -> HttpRequest:
    url = f"{request.base_url}{request.path}"
    return HttpRequest(
        method=request.method,
        url=f"{url}?{request.query}" if request.query else url,
        headers=request.headers,
        params=request.params,
        route_params=values,
        body_type="bytes",
        body=request.body,
    )
