"""HTTP triggers: a raw ASGI app with the rules of the real Functions host."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote

import azure.functions
from azure.functions.http import HttpRequest

from local.functions_host.hostjson import DEFAULT_BODY_LIMIT
from local.functions_host.invoker import InvocationFailed, Invoker
from local.functions_host.keys import Keys
from local.functions_host.log import LiveLog
from local.functions_host.model import Function
from local.functions_host.outputs import Outputs
from local.functions_host.router import Router
from local.functions_host.server import CLIENT_CERTIFICATE, Receive, Scope, Send

RawHeaders = list[tuple[bytes, bytes]]
Mount = Callable[["Request"], Awaitable["Answer"]]

# Headers that the front of App Service sets or the host itself: never taken from the outside.
_DROPPED = frozenset(
    ("x-arr-clientcert", "x-ms-client-principal", "x-ms-client-principal-id", "x-ms-client-principal-name")
)
# Headers of a function's answer that the server makes itself.
_OWN = frozenset(("content-length", "transfer-encoding", "connection", "date", "keep-alive"))
_BAD_NAME = re.compile(rb'[\x00-\x20\x7f()<>@,;:\\"/\[\]?={}]')
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BODILESS = frozenset((204, 304))


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


@dataclass(slots=True)
class Answer:
    """An answer, ready to send."""

    status: int
    body: bytes = b""
    headers: RawHeaders | None = None


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
        self._mounts: dict[str, Mount] = {}
        for function in functions:
            if function.kind == "httpTrigger" and not function.disabled:
                self._router.add(route_of(function, prefix), methods_of(function), function)

    def mount(self, first_segment: str, handler: Mount) -> None:
        """Give every path that begins with this segment to `handler`, before any function."""
        self._mounts[first_segment.lower()] = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        start = time.perf_counter()
        path = scope["raw_path"].decode("latin-1")
        method = scope["method"]
        mount = self._mounts.get(path[1:].split("/", 1)[0].lower()) if self._mounts else None
        try:
            if mount is not None:
                await _send(send, method, await mount(await self._read(scope, receive, path)))
                return
            found = self._router.match(method, path)
            if found is None:
                await _send(send, method, _home() if path == "/" else Answer(404))
                return
            function, values = found
            request = await self._read(scope, receive, path)
            self._authorise(function, request)
        except Refused as refused:
            await _send(send, method, Answer(refused.status))
            self._log.invocation(
                "http", f"{method} {path}", "-", time.perf_counter() - start, str(refused) or None, str(refused.status)
            )
            return
        await self._call(function, values, request, send, start)

    def _authorise(self, function: Function, request: Request) -> None:
        level = str(function.trigger.raw.get("authLevel") or "function").lower()
        if level != "anonymous" and not self._keys.allows(level, function.name, request.key):
            raise Refused(401, "no access key, or one that does not open this function")

    async def _call(
        self, function: Function, values: dict[str, str], request: Request, send: Send, start: float
    ) -> None:
        error: str | None = None
        try:
            traceparent = request.headers.get("traceparent")
            result, outputs = await self._invoker.call(function, _as_sdk(request, values), traceparent=traceparent)
            answer = to_answer(result)
            if outputs:
                await self._outputs.send(outputs)
        except (InvocationFailed, TypeError) as failure:
            error, answer = str(failure), Answer(500)
        await _send(send, request.method, answer)
        self._log.invocation(
            "http",
            f"{request.method} {request.path}",
            function.name,
            time.perf_counter() - start,
            error,
            str(answer.status),
        )

    async def _read(self, scope: Scope, receive: Receive, path: str) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name = raw_name.decode("latin-1")
            value = raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        for name in _DROPPED.intersection(headers):
            del headers[name]
        certificate = scope.get("state", {}).get(CLIENT_CERTIFICATE)
        if certificate is not None:
            headers["x-arr-clientcert"] = certificate
        client = scope["client"]
        if client is not None:  # App Service's front appends the caller it saw; the last entry is the true one
            seen = f"{client[0]}:{client[1]}"
            before = headers.get("x-forwarded-for")
            headers["x-forwarded-for"] = f"{before}, {seen}" if before else seen
        query = scope["query_string"].decode("latin-1")
        return Request(
            method=scope["method"],
            path=path,
            query=query,
            headers=headers,
            params=_params(query) if query else {},
            body=await self._body(headers, receive),
            scheme=scope["scheme"],
            client=client,
        )

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


def to_answer(result: Any) -> Answer:
    """What a function returned, as an answer.

    Raises:
        TypeError: it returned something else than a `str` or an `HttpResponse`, or a header that HTTP does not allow.
    """
    if isinstance(result, str):
        return Answer(200, result.encode(), [(b"content-type", b"text/plain; charset=utf-8")])
    if not isinstance(result, azure.functions.HttpResponse):
        raise TypeError(
            f"unable to encode outgoing TypedData: unsupported type for an HTTP answer: {type(result).__name__}"
        )
    named: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in result.headers.items():
        lower = name.lower()
        if lower == "set-cookie":
            cookies.append(value)
        elif lower not in _OWN:
            named[lower] = value  # one value a name, the last: the worker's protocol has no more
    if "content-type" not in named:
        mimetype = result.mimetype
        named["content-type"] = f"{mimetype}; charset={result.charset}" if mimetype.startswith("text/") else mimetype
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in named.items()]
    for cookie in cookies:
        headers.extend((b"set-cookie", text.encode("latin-1", "replace")) for text in _cookie_texts(cookie))
    for name_bytes, value_bytes in headers:
        if _BAD_NAME.search(name_bytes) or _BAD_VALUE.search(value_bytes):
            raise TypeError(f"the header {name_bytes!r} holds a character that HTTP does not allow")
    return Answer(result.status_code, result.get_body(), headers)


def _cookie_texts(text: str) -> list[str]:
    """A Set-Cookie value as it leaves the real host, which parses it and writes it anew (values percent-encoded)."""
    try:
        jar = SimpleCookie(text)
    except CookieError:
        return []
    found = []
    for morsel in jar.values():
        morsel.set(morsel.key, morsel.value, quote(morsel.value, safe="-_.~"))
        found.append(morsel.OutputString())
    return found


async def _send(send: Send, method: str, answer: Answer) -> None:
    headers = answer.headers if answer.headers is not None else []
    body = answer.body
    if answer.status in _BODILESS:
        body = b""
    else:
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _home() -> Answer:
    text = b"<!doctype html><title>Functions host</title><p>Your Functions app is up and running.\n"
    return Answer(200, text, [(b"content-type", b"text/html; charset=utf-8")])
