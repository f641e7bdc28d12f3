"""Faults that a test can switch on. Nothing of this is reachable unless the broker was started with `--faults`."""

from __future__ import annotations

from local.servicebus.amqp.performatives import AmqpError


class Faults:
    """What goes wrong on purpose."""

    def __init__(self) -> None:
        self.busy_every = 0
        self.disposition_delay_seconds = 0.0
        self.connection_quota = 0
        self.drop_every = 0
        self._sends = 0
        self._frames = 0

    def before_send(self) -> None:
        """Raises AmqpError: every n-th send finds the server busy."""
        if self.busy_every:
            self._sends += 1
            if self._sends % self.busy_every == 0:
                raise AmqpError(
                    "com.microsoft:server-busy", "the request was terminated because the entity is busy (50009)"
                )

    def drops_frame(self) -> bool:
        """Whether this outgoing frame is to get lost."""
        if not self.drop_every:
            return False
        self._frames += 1
        return self._frames % self.drop_every == 0
