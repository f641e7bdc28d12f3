"""What a message costs in the Service Bus endpoint: against the bare file below it, and against a grown broker."""

from __future__ import annotations

from tests.benchmarks.harness import Aim, Bench, bench
from tests.benchmarks.servicebus_sides import BATCH, BareSqlite, Ours, RabbitMQ, Receiver, Sender

TIMES_SQLITE = 3.0


@bench("servicebus-send")
def send(run: Bench) -> None:
    """Broker CPU per message sent, one by one and in batches, against bare SQLite transactions of the same size (FULL)."""
    run.compare(
        [
            Sender("send, one by one", Ours()),
            Sender(f"send, batches of {BATCH}", Ours(), batch=BATCH),
            BareSqlite("one insert a transaction", rows=1),
            BareSqlite(f"{BATCH} inserts a transaction", rows=BATCH),
        ],
        [
            Aim("send, one by one", "one insert a transaction", "cpu", at_most=TIMES_SQLITE),
            Aim(f"send, batches of {BATCH}", f"{BATCH} inserts a transaction", "cpu", at_most=TIMES_SQLITE),
        ],
    )


@bench("servicebus-receive")
def receive(run: Bench) -> None:
    """Broker CPU per message received and completed, against bare SQLite deletes (FULL)."""
    run.compare(
        [
            Receiver("receive and complete, one by one", Ours(), confirmed=True),
            Receiver("receive and complete, 100 in flight", Ours(), confirmed=False),
            BareSqlite("one delete a transaction", rows=1, delete=True),
            BareSqlite(f"{BATCH} deletes a transaction", rows=BATCH, delete=True),
        ],
        [
            Aim("receive and complete, one by one", "one delete a transaction", "cpu", at_most=TIMES_SQLITE),
            Aim("receive and complete, 100 in flight", f"{BATCH} deletes a transaction", "cpu", at_most=TIMES_SQLITE),
        ],
    )


@bench("servicebus-rabbitmq")
def rabbitmq(run: Bench) -> None:
    """Broker CPU per message against RabbitMQ (AMQP 1.0 plugin, durable queue and messages), one neutral client on both."""
    sides = []
    for name, broker in (("ours", Ours), ("RabbitMQ", RabbitMQ)):
        sides += [
            Sender(f"{name}: send, one by one", broker()),
            Sender(f"{name}: send, 16 in flight", broker(), window=16),
            Receiver(f"{name}: receive and settle", broker(), confirmed=False),
        ]
    run.compare(
        sides,
        [
            Aim(f"ours: {what}", f"RabbitMQ: {what}", "cpu", at_most=1.0)
            for what in ("send, one by one", "send, 16 in flight", "receive and settle")
        ],
    )
