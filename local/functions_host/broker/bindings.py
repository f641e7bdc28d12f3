"""All Service Bus bindings of an app: pumps for its triggers, senders for its outputs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local.common.errors import StartError
from local.functions_host.broker.ports import Broker, BrokerError
from local.functions_host.broker.pump import QueuePump
from local.functions_host.hostjson import ServiceBusOptions
from local.functions_host.invoker import InvocationFailed, Invoker
from local.functions_host.log import LiveLog
from local.functions_host.model import Function, RawBinding
from local.functions_host.settings import Connection, resolve, resolve_connection

OpenBroker = Callable[[Connection], Broker]


class ServiceBusBindings:
    """Resolves connections and queue names at start, then pumps and sends. Implements `Outputs`."""

    def __init__(
        self,
        functions: Sequence[Function],
        options: ServiceBusOptions,
        *,
        invoker: Invoker,
        log: LiveLog,
        open_broker: OpenBroker,
    ) -> None:
        """Raises: StartError for a missing app setting, a malformed connection or a topic."""
        self._open_broker = open_broker
        self._brokers: dict[str, Broker] = {}
        self._targets: dict[int, tuple[Broker, str]] = {}
        self._pumps: list[QueuePump] = []
        for function in functions:
            if function.disabled:
                continue
            for raw in function.bindings:
                if raw["type"] in ("serviceBusTrigger", "serviceBus"):
                    self._targets[id(raw)] = self._resolve(function, raw)
            if function.kind == "serviceBusTrigger":
                broker, queue = self._targets[id(function.trigger.raw)]
                self._pumps.append(QueuePump(function, queue, broker, options, invoker=invoker, outputs=self, log=log))

    def start(self) -> None:
        """Begin to receive."""
        for pump in self._pumps:
            pump.start()

    async def stop(self) -> None:
        """Stop receiving and close every link."""
        await asyncio.gather(*(pump.stop() for pump in self._pumps))
        await asyncio.gather(*(broker.close() for broker in self._brokers.values()))

    async def send(self, values: list[tuple[Mapping[str, Any], Any]]) -> None:
        """Deliver what a function put into its outputs."""
        for raw, value in values:
            broker, queue = self._targets[id(raw)]
            try:
                await broker.send(queue, value)
            except BrokerError as error:
                raise InvocationFailed(
                    f"the output {raw['name']} could not be sent to the queue {queue}: {error}"
                ) from error

    def health(self) -> dict[str, float]:
        """Seconds since each pump last heard from its queue."""
        now = time.monotonic()
        return {f"queue {pump.queue}": round(now - pump.last_turn, 3) for pump in self._pumps}

    def _resolve(self, function: Function, raw: RawBinding) -> tuple[Broker, str]:
        where = f"function {function.name} ({raw['type']} {raw['name']})"
        if not raw.get("queueName"):
            raise StartError(f"{where}: topics are not supported by this host; use a queue")
        if raw.get("isSessionsEnabled"):
            raise StartError(f"{where}: sessions are not supported by this host")
        connection = resolve_connection(raw.get("connection"), where)
        queue = resolve(str(raw["queueName"]), where)
        broker = self._brokers.get(connection.name)
        if broker is None:
            try:
                broker = self._brokers[connection.name] = self._open_broker(connection)
            except BrokerError as error:
                raise StartError(f"{where}: {error}") from error
        return broker, queue
