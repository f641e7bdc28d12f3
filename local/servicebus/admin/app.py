"""HTTP side of the management API: SAS, then create, get, list, update and delete queues; the meter; faults."""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from aiohttp import web

from local.servicebus.admin.atom import entry, feed, namespace_entry, read_description
from local.servicebus.broker import Broker
from local.servicebus.entities import InvalidEntity, QueueProperties, check_name, check_properties, check_update
from local.servicebus.provision import Conflict, Provisioner
from local.servicebus.queue import Queue
from local.servicebus.sas import Rule, TokenRefused, segments, verify

log = logging.getLogger("servicebus.admin")

BODY_LIMIT = 256 * 1024
PAGE = 100
NAMESPACE = "meridian-local"


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def make_app(provisioner: Provisioner, fault_routes: Callable[[web.Application], None] | None) -> web.Application:
    """The web application of the management port."""

    async def entities(request: web.Request) -> web.StreamResponse:
        return await _entities(provisioner, request)

    async def meter(request: web.Request) -> web.StreamResponse:
        _local_only(request)
        return web.json_response(provisioner.broker.meter.to_json())

    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_errors])
    app.router.add_get("/_local/meter", meter)
    if fault_routes is not None:
        fault_routes(app)
    app.router.add_route("*", "/{tail:.*}", entities)
    return app


async def _entities(provisioner: Provisioner, request: web.Request) -> web.StreamResponse:
    path = unquote(request.rel_url.raw_path.lstrip("/"))
    _authorise(provisioner.broker, request, path)
    base, low = f"https://{request.host}", path.lower()
    if low == "$namespaceinfo" and request.method == "GET":
        return _xml(namespace_entry(NAMESPACE, base, provisioner.started_at))
    if low.startswith("$resources/") and request.method == "GET":
        return _xml(_list(provisioner, path, request, base))
    if "/subscriptions/" in f"/{low}/":
        raise Refused(501, "topics and subscriptions are not supported by this endpoint")
    action = {"GET": _get, "PUT": _put, "DELETE": _delete}.get(request.method)
    if action is None:
        raise Refused(405, f"{request.method} is not used here")
    return await action(provisioner, path, request, base)


def _authorise(broker: Broker, request: web.Request, path: str) -> None:
    token, audience = request.headers.get("Authorization", ""), f"https://{request.host}/{path}"
    try:
        grant = verify(token, audience, now=broker.clock.seconds(), hosts=broker.hosts, rules=broker.rules)
    except TokenRefused as error:
        raise Refused(401, f"MalformedToken: {error}") from None
    if "Manage" not in grant.rights:
        raise Refused(401, "InvalidSignature: 'Manage' is required for this operation")


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as error:
        status, detail = error.status, error.detail
    except InvalidEntity as error:
        status, detail = 400, str(error)
    except Conflict as error:
        status, detail = 409, str(error)
    log.info("%s %s: %s %s", request.method, request.path, status, detail)
    root = ET.Element("Error")
    ET.SubElement(root, "Code").text = str(status)
    ET.SubElement(root, "Detail").text = detail
    return _xml(root, status)


def _local_only(request: web.Request) -> None:
    try:
        local = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        local = False
    if not local:
        raise Refused(403, "this is told to the machine itself only")


def _xml(root: ET.Element, status: int = 200) -> web.Response:
    body = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return web.Response(status=status, body=body, content_type="application/atom+xml", charset="utf-8")


def _list(provisioner: Provisioner, path: str, request: web.Request, base: str) -> ET.Element:
    kind = path.split("/", 1)[1].lower()
    if kind in ("topics", "subscriptions"):
        return feed([], base, kind, None)
    if kind != "queues":
        raise Refused(404, f"'{kind}' cannot be listed")
    skip, top = _bound(request, "$skip", 0, 1 << 31), _bound(request, "$top", PAGE, PAGE)
    queues = sorted(provisioner.broker.queues.values(), key=lambda queue: queue.name.lower())
    page = queues[skip : skip + top]
    more = f"{base}/$Resources/queues?$skip={skip + top}&$top={top}" if skip + top < len(queues) else None
    return feed([entry(queue, base, NAMESPACE) for queue in page], base, "queues", more)


def _bound(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal() or len(text) > 10:
        raise Refused(400, f"{name} must be a number")
    return min(int(text), most)


def _existing(provisioner: Provisioner, path: str) -> Queue:
    queue = provisioner.broker.queues.get(segments(path))
    if queue is None:
        raise Refused(404, f"the messaging entity '{path[:260]}' could not be found")
    return queue


async def _get(provisioner: Provisioner, path: str, _request: web.Request, base: str) -> web.Response:
    return _xml(entry(_existing(provisioner, path), base, NAMESPACE))


async def _put(provisioner: Provisioner, path: str, request: web.Request, base: str) -> web.Response:
    check_name(path)
    body = await request.read()
    lax = provisioner.broker.lax
    if "If-Match" in request.headers:
        queue = _existing(provisioner, path)
        properties = read_description(body, queue.properties)
        check_update(queue.properties, properties)
        check_properties(properties, lax=lax)
        await provisioner.update(queue, _with_keys(properties))
        return _xml(entry(queue, base, NAMESPACE))
    properties = read_description(body, QueueProperties())
    check_properties(properties, lax=lax)
    queue = await provisioner.create(path, _with_keys(properties))
    return _xml(entry(queue, base, NAMESPACE), 201)


def _with_keys(properties: QueueProperties) -> QueueProperties:
    """Rules without keys get fresh ones."""

    def filled(rule: Rule) -> Rule:
        primary, secondary = (key or secrets.token_urlsafe(32) for key in rule.both())
        return replace(rule, primary_key=primary, secondary_key=secondary)

    return replace(properties, rules=tuple(filled(rule) for rule in properties.rules))


async def _delete(provisioner: Provisioner, path: str, _request: web.Request, _base: str) -> web.Response:
    await provisioner.delete(_existing(provisioner, path))
    return web.Response(status=200)
