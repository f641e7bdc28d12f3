"""Claims-based security: shared access signatures put on a connection, over the links to and from `$cbs`."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final

from agent.amqp.codec import AmqpError
from agent.amqp.links import Link
from agent.amqp.messages import Message

if TYPE_CHECKING:
    from agent.amqp.connection import Connection

_CREDIT: Final = 50


class Claims:
    """The conversation of one connection with `$cbs`; its links are attached when first needed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._links: tuple[Link, Link] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def put(self, audience: str, token: str) -> None:
        """Put a signature for an entity.

        Raises:
            AmqpError: `amqp:unauthorized-access`: the broker does not accept it.
        """
        claim = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": audience}
        request = Message(id=uuid.uuid4(), reply_to="meridian", application=claim, value=token)
        async with self._one_at_a_time:
            sender, receiver = await self._attached()
            await self._connection.send(sender, request)
            while True:
                reply = (await self._connection.receive(receiver)).message
                self._connection.grant(receiver, _CREDIT)
                if reply.correlation_id == request.id:
                    break
        status = reply.application.get("status-code")
        if status not in (200, 202):
            description = str(reply.application.get("status-description", ""))
            raise AmqpError("amqp:unauthorized-access", f"{status} {description}")

    async def _attached(self) -> tuple[Link, Link]:
        if self._links is None:
            sender = await self._connection.attach("$cbs", receiver=False)
            receiver = await self._connection.attach("$cbs", receiver=True)
            self._connection.grant(receiver, _CREDIT)
            self._links = sender, receiver
        return self._links
