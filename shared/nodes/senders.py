"""Senders to the queues of nodes: kept open for a while, used by one at a time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from shared.nodes.errors import BrokerUnavailable

if TYPE_CHECKING:
    from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

MAX_SENDERS: Final = 100
SENDER_IDLE_SECONDS: Final = 300.0
SEND_SECONDS: Final = 20.0


class Senders:
    """See the module. A sender is named by its namespace and its queue."""

    def __init__(self, client_of: Callable[[str], ServiceBusClient]) -> None:
        self._client_of = client_of
        self._senders: OrderedDict[tuple[str, str], tuple[ServiceBusSender, float]] = OrderedDict()
        self._sending: dict[tuple[str, str], asyncio.Lock] = {}

    async def send(
        self,
        name: str,
        queue: str,
        body: str,
        *,
        id: str,
        subject: str,
        life: timedelta,
        within: float | None = None,
    ) -> None:
        """Put a message into a queue; returns when the broker has stored it. `within`: seconds, if other than usual.

        Raises:
            BrokerUnavailable: it could not be; the same message may be sent again, its id makes it one.
        """
        from azure.servicebus import ServiceBusMessage
        from azure.servicebus.exceptions import ServiceBusError

        message = ServiceBusMessage(
            body, message_id=id, subject=subject, time_to_live=life, content_type="application/jose"
        )
        try:
            # One at a time: of two coroutines that use one sender of the SDK, one may wait for its outcome for ever.
            async with self._sending.setdefault((name, queue), asyncio.Lock()):
                sender = await self._sender(name, queue)
                await sender.send_messages(message, timeout=within or SEND_SECONDS)
        except (ServiceBusError, OSError, ValueError) as error:
            await self.forget((name, queue))
            raise BrokerUnavailable(f"{queue} does not take the message: {type(error).__name__}") from error

    async def _sender(self, name: str, queue: str) -> ServiceBusSender:
        """Senders are kept open: opening one takes half a second. Each is a connection, so only so many, for so long."""
        key = (name, queue)
        found = self._senders.pop(key, None)
        sender = found[0] if found else self._client_of(name).get_queue_sender(queue)
        self._senders[key] = (sender, time.monotonic())
        for old in [
            old
            for at, (old, (_, used)) in enumerate(self._senders.items())
            if old != key and (at < len(self._senders) - MAX_SENDERS or time.monotonic() - used > SENDER_IDLE_SECONDS)
        ]:
            if not self._sending[old].locked():  # else it is used right now
                await self.forget(old)
        return sender

    async def forget(self, key: tuple[str, str]) -> None:
        """Close the sender of a queue, if one is open: it failed, or the queue goes."""
        found = self._senders.pop(key, None)
        if found is not None:
            await found[0].close()

    async def close(self) -> None:
        """Close them all."""
        for key in list(self._senders):
            await self.forget(key)
