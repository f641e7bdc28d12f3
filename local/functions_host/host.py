"""The host: everything put together, started in order, stopped in the opposite order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import ssl
import time
from typing import TYPE_CHECKING, Any

from local.common.folder import DataFolder
from local.common.sockets import listen
from local.functions_host.durable import DurableFunctions
from local.functions_host.hostjson import HostJson, load_host_json
from local.functions_host.http import HttpFront
from local.functions_host.invoker import Invoker
from local.functions_host.keys import DURABLE_SYSTEM_KEY, load_keys
from local.functions_host.loader import load_app
from local.functions_host.log import AppLogHandler, LiveLog
from local.functions_host.management import Management
from local.functions_host.meter.counters import Meter
from local.functions_host.model import Function
from local.functions_host.options import Options
from local.functions_host.outputs import NoOutputs, Outputs
from local.functions_host.routes import check_routes
from local.functions_host.server import Server
from local.functions_host.settings import load_settings
from local.functions_host.table import start_table
from local.functions_host.timers import TimerService, TimerStore

if TYPE_CHECKING:
    import socket
    import ssl

    from local.durable.engine import DurableEngine
    from local.durable.options import Invocation
    from local.functions_host.broker.bindings import ServiceBusBindings

PART = "functions-host"
# Addresses to listen on that this machine can call itself by, as 127.0.0.1.
_LOOPBACK = ("127.0.0.1", "0.0.0.0", "localhost")  # noqa: S104 - compared, not bound


class Host:
    """One running host. Make it, `start` it in a running loop, and `stop` it."""

    def __init__(self, options: Options, log: LiveLog) -> None:
        """Load the app and open its data.

        Raises:
            StartError: anything that keeps it from running, in one line.
        """
        self.options, self.log = options, log
        self._tls = self._make_tls()
        # The port first: whoever comes second hears of it before anything is written.
        self._listener = listen(options.host, options.port, what="HTTP")
        self.port: int = self._listener.getsockname()[1]
        self._folder = DataFolder(options.data, PART)
        load_settings(options.settings, options.app)
        self.host_json: HostJson = load_host_json(options.app)
        self.meter = Meter(self.host_json.log_levels)
        self._take_app_log()
        self.functions: list[Function] = load_app(options.app)
        check_routes(self.functions, self.host_json.route_prefix)
        for function in self.functions:
            self.meter.register(function.name, function.group)
        self.keys = load_keys(self._folder.path, [function.name for function in self.functions])
        self._invoker = Invoker(options.app, options.threads, self.host_json.timeout, self.meter)
        self._bus = self._open_bus()
        self._outputs: Outputs = self._bus if self._bus is not None else NoOutputs()
        self._store = TimerStore(self._folder.path, options.synchronous)
        self._timers = TimerService(
            self.functions, invoker=self._invoker, outputs=self._outputs, store=self._store, log=log
        )
        self.engine: DurableEngine | None = self._open_engine()
        self._server = Server(self._front())
        self._by_hand: set[asyncio.Task[None]] = set()
        self._since = time.time()

    @property
    def address(self) -> str:
        """Where a person on this machine reaches the host."""
        scheme = "https" if self.options.tls_cert else "http"
        name = "localhost" if self.options.host in _LOOPBACK else self.options.host
        return f"{scheme}://{name}:{self.port}"

    async def start(self) -> None:
        """Begin to answer, to keep time and to work on orchestrations."""
        self._invoker.start()
        inner = self._open_inner()
        if self.engine is not None:
            # The engine first: callers, its own functions among them, wait in the listening socket until it is ready.
            own = f"http://127.0.0.1:{inner.getsockname()[1] if inner is not None else self.port}"
            binding = self.engine.client_binding(own, self.keys.system[DURABLE_SYSTEM_KEY])
            self._invoker.client_binding = lambda: binding
            await self.engine.start()
        await self._server.start(self._listener, self._tls)
        if inner is not None:
            await self._server.start(inner)
        gc.freeze()  # a full collection would walk the modules of every SDK that the app imports
        self._timers.start()
        if self._bus is not None:
            self._bus.start()
        for line in start_table(self):
            self.log.host(line)

    async def stop(self) -> int:
        """Take no more work, let requests in flight finish, and close the data; how many threads still run."""
        from local.functions_host.meter.report import one_line

        self.log.host(one_line(await self.cost_report()))
        await self._timers.stop()
        if self._bus is not None:
            await self._bus.stop()
        await self._server.stop()
        if self.engine is not None:
            await self.engine.stop()
        for task in list(self._by_hand):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        threads = self._invoker.close()
        self._store.close()
        self._folder.close()
        self.log.flush()
        return threads

    def health(self) -> dict[str, float]:
        """Seconds since each loop last finished a turn: the engine's, and each queue's."""
        engine = self.engine.health() if self.engine is not None else {}
        return {**engine, **(self._bus.health() if self._bus is not None else {})}

    def run_by_hand(self, name: str) -> bool:
        """Start a timer function outside of its schedule; False if there is no such function."""
        if not self._timers.has(name):
            return False
        task = asyncio.get_running_loop().create_task(self._timers.run_now(name))
        self._by_hand.add(task)
        task.add_done_callback(self._by_hand.discard)
        return True

    async def cost_report(self) -> dict[str, Any]:
        """What Azure would have billed since the start, other parts included."""
        from local.functions_host.meter.report import make_report
        from local.functions_host.meter.sources import fetch_sources

        sources = await fetch_sources(self.options.meter_sources)
        return make_report(self.meter, sources, since=self._since)

    def _make_tls(self) -> ssl.SSLContext | None:
        options = self.options
        if options.tls_cert is None or options.tls_key is None:
            return None
        from local.functions_host.tls import server_context

        return server_context(options.tls_cert, options.tls_key, options.client_ca)

    def _open_inner(self) -> socket.socket | None:
        """A plain listener on the loopback for the durable client, where the main one is TLS or elsewhere."""
        if self.engine is None or (self.options.host in _LOOPBACK and self.options.tls_cert is None):
            return None
        return listen("127.0.0.1", 0, what="the durable client")

    def _front(self) -> HttpFront:
        front = HttpFront(
            self.functions,
            prefix=self.host_json.route_prefix,
            invoker=self._invoker,
            outputs=self._outputs,
            keys=self.keys,
            log=self.log,
            strict=self.options.strict,
        )
        management = Management(self)
        front.mount("/admin", management.admin)
        front.mount("/diagnostics/cost", management.cost)
        if self.engine is not None:
            front.mount("/runtime", management.runtime)
            front.mount(self.engine.loopback_path, management.loopback)
        return front

    def _open_bus(self) -> ServiceBusBindings | None:
        """Queue triggers and outputs, if the app has any; the SDK's import is spared otherwise."""
        if not {"serviceBusTrigger", "serviceBus"}.intersection(self._binding_types()):
            return None
        from local.functions_host.broker.bindings import ServiceBusBindings
        from local.functions_host.broker.servicebus import ServiceBusBroker

        return ServiceBusBindings(
            self.functions,
            self.host_json.service_bus,
            invoker=self._invoker,
            log=self.log,
            open_broker=ServiceBusBroker,
        )

    def _open_engine(self) -> DurableEngine | None:
        """The durable engine, if the app has any use for it; its import is spared otherwise."""
        durable = DurableFunctions(self.functions, self._invoker)
        if not len(durable) and "durableClient" not in self._binding_types():
            return None
        from local.durable.engine import DurableEngine
        from local.durable.options import DurableOptions, options_for

        options = DurableOptions(
            task_hub=self.host_json.hub_name,
            synchronous=self.options.synchronous,
            on_invocation=self._engine_called,
            log=self.log.host,
        )
        options = options_for(self.host_json.durable, os.environ, options)
        engine = DurableEngine(self._folder.path, durable, options)
        self.meter.durable = engine.counters
        return engine

    def _binding_types(self) -> set[str]:
        return {str(raw["type"]) for function in self.functions for raw in function.bindings}

    def _engine_called(self, call: Invocation) -> None:
        """The engine ran a function: tell the log, and the meter (activities were metered where they ran)."""
        self.log.invocation(call.kind, call.instance_id, call.name, call.seconds, call.error)
        if call.kind != "activity":
            now = time.monotonic()
            self.meter.began("durable", now - call.seconds)
            self.meter.ended(call.name, "durable", now - call.seconds, now, call.error is not None)

    def _take_app_log(self) -> None:
        root = logging.getLogger()
        root.addHandler(AppLogHandler(self.log, self.meter.logged))
        root.setLevel(logging.INFO)  # as in Microsoft's worker
