"""Dead letters: what could not be delivered, shown, sent again or thrown away.

`python -m shared.nodes.dead_letters list reports`, see docs/guides/dead-letters.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from shared.messaging import codec, jws
from shared.messaging.limits import MAX_ENVELOPE_BYTES
from shared.nodes.models import DEFAULT_NAMESPACE, queue_of

if TYPE_CHECKING:
    from shared.nodes.namespaces import Namespaces

BATCH: Final = 50
WAIT_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody took. `claims` is what it says of itself; its signature is not checked here."""

    sequence: int
    id: str
    reason: str
    description: str
    at: datetime | None
    size: int
    claims: dict[str, Any]

    @property
    def expired(self) -> bool:
        """Whether its time ran out: a command that is sent again after its end is refused by the agent anyway."""
        return self.reason == "TTLExpiredException"

    def __str__(self) -> str:
        about = " ".join(
            f"{name}={self.claims[name]}" for name in ("type", "id", "node_id", "task_id") if name in self.claims
        )
        return f"{self.sequence:>8}  {self.at or '':%Y-%m-%d %H:%M:%S}  {self.reason or 'no reason'}  {about or self.id}  {self.size} B"


class DeadLetters:
    """The dead letters of one queue."""

    def __init__(self, namespaces: Namespaces, queue: str, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._namespaces, self._queue, self._namespace = namespaces, queue, namespace

    def _receiver(self) -> Any:
        from azure.servicebus import ServiceBusSubQueue

        client = self._namespaces.client(self._namespace)
        return client.get_queue_receiver(self._queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER)

    async def list(self, limit: int = 100) -> list[DeadLetter]:
        """Look without taking anything."""
        async with self._receiver() as receiver:
            return [_read(message) for message in await receiver.peek_messages(max_message_count=limit)]

    async def settle(self, sequences: frozenset[int] | None, *, again: bool) -> tuple[int, int]:
        """Send again (`again`) or drop; all of them, or those of these numbers. How many were settled, how many left.

        A message is sent before it is removed here: a crash in between makes it come twice, and whoever takes it knows it
        by its id.
        """
        done, kept = 0, []
        async with self._receiver() as receiver:
            while messages := await receiver.receive_messages(max_message_count=BATCH, max_wait_time=WAIT_SECONDS):
                for message in messages:
                    letter = _read(message)
                    if (sequences is not None and letter.sequence not in sequences) or (again and letter.expired):
                        kept.append(message)  # locked until we are through, so it does not come again in this loop
                        continue
                    if again:
                        body = b"".join(message.body).decode("latin-1")
                        await self._namespaces.resend(self._namespace, self._queue, body, message)
                    await receiver.complete_message(message)
                    done += 1
            for message in kept:
                await receiver.abandon_message(message)
        return done, len(kept)


def _read(message: Any) -> DeadLetter:
    body = b"".join(message.body)
    try:
        _, content = jws.peek(body.decode("latin-1"), MAX_ENVELOPE_BYTES)
        claims = codec.load_json(content, MAX_ENVELOPE_BYTES)
    except (jws.SignatureError, codec.WireError):
        claims = {}
    return DeadLetter(
        sequence=int(message.sequence_number),
        id=str(message.message_id),
        reason=str(message.dead_letter_reason or ""),
        description=str(message.dead_letter_error_description or ""),
        at=message.enqueued_time_utc,
        size=len(body),
        claims=claims if isinstance(claims, dict) else {},
    )


async def _run(options: argparse.Namespace) -> int:
    from shared.nodes.namespaces import Namespaces
    from shared.platform.clock import SystemClock
    from shared.platform.secrets import open_secrets
    from shared.platform.settings import load_settings

    settings, clock = load_settings(), SystemClock()
    namespaces = Namespaces(settings, open_secrets(settings, clock), clock)
    queue = queue_of(options.queue) if options.queue.startswith("nod_") else options.queue
    letters = DeadLetters(namespaces, queue)
    try:
        if options.action == "list":
            found = await letters.list()
            sys.stdout.writelines(f"{letter}\n" for letter in found)
            sys.stdout.write(f"{len(found)} dead letters in {queue}\n")
            return 0
        chosen = frozenset(options.sequence) if options.sequence else None
        done, kept = await letters.settle(chosen, again=options.action == "retry")
        verb = "sent again" if options.action == "retry" else "dropped"
        sys.stdout.write(f"{done} {verb}, {kept} left in {queue}\n")
        return 0
    finally:
        await namespaces.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.nodes.dead_letters", description="Dead letters of nodes' queues."
    )
    parser.add_argument("action", choices=("list", "retry", "drop"))
    parser.add_argument(
        "queue", help="`reports`, a node's id, or a queue's name: a node whose certificate was revoked has a later one"
    )
    parser.add_argument("sequence", nargs="*", type=int, help="numbers from `list`; none means all")
    return asyncio.run(_run(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
