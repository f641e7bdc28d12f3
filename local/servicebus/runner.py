"""Putting the parts together: folder, keys, certificates, store, listeners; and taking them down again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

from local.common.errors import StartError
from local.common.folder import DataFolder
from local.common.sockets import listen
from local.servicebus import faults_http, websocket
from local.servicebus.admin.app import make_app
from local.servicebus.broker import Broker
from local.servicebus.clock import Clock
from local.servicebus.entities import InvalidEntity, QueueProperties, check_name
from local.servicebus.provision import Provisioner
from local.servicebus.sas import Rule, segments
from local.servicebus.server import Server, serve
from local.servicebus.store import Store
from local.servicebus.tls import ensure_certificates

log = logging.getLogger("servicebus")

ROOT_RULE = "RootManageSharedAccessKey"
ALL_RIGHTS = frozenset({"Listen", "Manage", "Send"})
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    data: Path
    host: str
    port: int
    admin_port: int
    admin_http_port: int | None
    tls_port: int | None
    websocket_port: int | None
    hostname: list[str]
    key: str | None
    rule: list[tuple[str, frozenset[str]]]
    queue: list[str]
    sync: Literal["FULL", "NORMAL"]
    lax: bool
    faults: bool
    verbose: bool

    def names(self) -> list[str]:
        """Every name that this endpoint answers to."""
        bound = [self.host] if self.host not in ("0.0.0.0", "::") else []  # noqa: S104 - compared, not bound
        return list(dict.fromkeys([*LOCAL_NAMES, *bound, *(name.lower() for name in self.hostname)]))


async def run(options: Options, say: Callable[[str], None]) -> int:
    """Serve until told to stop.

    Returns:
        0 after a signal, 1 when the store failed.

    Raises:
        StartError: a port, the folder or the file cannot be used.
    """
    with DataFolder(options.data, "servicebus") as folder, contextlib.ExitStack() as stack:
        loop = asyncio.get_running_loop()
        stopping: asyncio.Future[int] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, functools.partial(_stop, stopping))
        store = Store(folder.file("servicebus.sqlite"), options.sync, functools.partial(_store_failed, stopping))
        stack.callback(store.close)
        rules = _rules(options, folder)
        broker = Broker(store, Clock(), rules=rules, hosts=frozenset(options.names()), lax=options.lax)
        server = Server(broker)
        provisioner = Provisioner(broker, server)
        ca, context = ensure_certificates(folder.path, options.names())
        await _create_queues(options, provisioner)
        sites = await _listen(options, server, provisioner, context)
        broker.scheduler.arm_all()
        server.start()
        gc.collect()
        gc.freeze()
        _announce(options, sites.ports, rules, ca, say)
        idle = asyncio.create_task(provisioner.delete_idle())
        code = await stopping
        idle.cancel()
        await sites.close(server)
        return code


def _stop(stopping: asyncio.Future[int]) -> None:
    if not stopping.done():
        stopping.set_result(0)


def _store_failed(stopping: asyncio.Future[int], error: Exception) -> None:
    """Memory is ahead of the file now: stop, and recover from the file at the next start."""
    log.critical("the store failed: %s; stopping, restart to go on from what is on disk", error)
    if not stopping.done():
        stopping.set_result(1)


def _rules(options: Options, folder: DataFolder) -> list[Rule]:
    key = options.key or folder.secret("root.key")
    rules = [Rule(ROOT_RULE, ALL_RIGHTS, key, "")]
    rules.extend(Rule(name, rights, folder.secret(f"rule-{name}.key"), "") for name, rights in options.rule)
    return rules


@dataclass(slots=True)
class Sites:
    """What listens, and where."""

    ports: dict[str, int]
    servers: list[asyncio.Server]
    runners: list[web.AppRunner]

    async def close(self, server: Server) -> None:
        """Stop listening, then end the connections."""
        for one in self.servers:
            one.close()
        server.close()
        for runner in self.runners:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(runner.cleanup(), STOP_SECONDS)


async def _listen(options: Options, server: Server, provisioner: Provisioner, context: ssl.SSLContext) -> Sites:
    """All sockets are bound before the first is served: a taken port refuses the start as a whole."""
    plain = listen(options.host, options.port, what="AMQP")
    admin = listen(options.host, options.admin_port, what="the management API", option="--admin-port")
    sites = Sites({"amqp": plain.getsockname()[1], "admin": admin.getsockname()[1]}, [], [])
    wanted: list[tuple[str, int | None, str]] = [
        ("tls", options.tls_port, "--tls-port"),
        ("websocket", options.websocket_port, "--websocket-port"),
        ("admin_http", options.admin_http_port, "--admin-http-port"),
    ]
    sockets = {
        name: listen("127.0.0.1" if name == "admin_http" else options.host, port, what=name, option=option)
        for name, port, option in wanted
        if port is not None
    }
    sites.ports.update({name: sock.getsockname()[1] for name, sock in sockets.items()})
    fault_routes = functools.partial(faults_http.add_routes, server=server) if options.faults else None
    app = make_app(provisioner, fault_routes)
    sites.runners.append(await _web(app, admin, context))
    if "admin_http" in sockets:
        sites.runners.append(await _web(make_app(provisioner, fault_routes), sockets["admin_http"], None))
    if "websocket" in sockets:
        sites.runners.append(await _web(websocket.make_app(server), sockets["websocket"], context))
    if "tls" in sockets:
        sites.servers.append(await serve(server, sockets["tls"], context))
    sites.servers.append(await serve(server, plain))
    return sites


async def _web(app: web.Application, sock: object, context: ssl.SSLContext | None) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, sock, ssl_context=context).start()  # type: ignore[arg-type]  # a bound socket
    return runner


async def _create_queues(options: Options, provisioner: Provisioner) -> None:
    for name in options.queue:
        try:
            check_name(name)
        except InvalidEntity as error:
            raise StartError(f"--queue: {error}") from None
        if segments(name) not in provisioner.broker.queues:
            await provisioner.create(name, QueueProperties())


def _announce(options: Options, ports: dict[str, int], rules: list[Rule], ca: Path, say: Callable[[str], None]) -> None:
    host = "localhost" if options.host in ("127.0.0.1", "0.0.0.0") else options.host  # noqa: S104 - compared, not bound
    say(f"Service Bus on {options.host}: AMQP {ports['amqp']}, management {ports['admin']} (HTTPS)" + _more(ports))
    for rule in rules:
        tail = f"SharedAccessKeyName={rule.name};SharedAccessKey={rule.primary_key}"
        say(f"  {rule.name}: Endpoint=sb://{host}:{ports['amqp']};{tail};UseDevelopmentEmulator=true")
        if "Manage" in rule.rights:
            say(f"  management: Endpoint=sb://{host}:{ports['admin']};{tail};UseDevelopmentEmulator=true")
    say(f"  certificate authority to trust: {ca}")


def _more(ports: dict[str, int]) -> str:
    names = {"tls": "AMQP over TLS", "websocket": "AMQP over WebSocket", "admin_http": "management (HTTP)"}
    return "".join(f", {names[name]} {port}" for name, port in ports.items() if name in names)
