"""Service Bus triggers and outputs, through the unmodified SDK, against the real local broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.management import ServiceBusAdministrationClient

from local.functions_host.broker.servicebus import ServiceBusBroker
from local.functions_host.settings import Connection
from tests.support.functions_host import APPS, HostProcess
from tests.support.processes import Part, free_port
from tests.support.waiting import until

KEY = "a2V5LWZvci10ZXN0cy1vbmx5LWtleS1mb3ItdGVzdHM="
QUEUES = {"SINGLE": "single", "BATCHED": "batched", "TEXT": "text"}
UNHEARD = "unheard"  # that no function listens on
PATIENCE = 60.0
# keep_alive=0: else closing waits for the end of a second's sleep of the SDK's keep-alive thread.
QUICK: dict[str, Any] = {"retry_total": 1, "retry_backoff_factor": 0.05, "keep_alive": 0}


class Bench:
    """A broker, a host with the sample app, and what the app has noted."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.connection = (
            f"Endpoint=sb://localhost:{self.port};SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey={KEY};"
            "UseDevelopmentEmulator=true"
        )
        queues = [argument for name in (*QUEUES.values(), UNHEARD) for argument in ("--queue", name)]
        self.ca, self.admin_port = folder / "bus" / "ca.pem", free_port()
        self.broker = Part.module(
            "local.servicebus",
            *("--data", str(folder / "bus"), "--port", str(self.port), "--admin-port", str(self.admin_port)),
            *("--key", KEY, "--sync", "NORMAL", "--lax", *queues),
            log=folder / "bus.log",
            port=self.port,
        )
        self.notes = folder / "notes"
        env = {"SampleBus": self.connection, "QUEUE_SAMPLE_FILE": str(self.notes), **QUEUES}
        self.host = HostProcess(APPS / "queue_sample", folder / "host", env=env)

    def noted(self, function: str, **wanted: object) -> list[dict[str, Any]]:
        """The lines of a function so far that have these values."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        found = [json.loads(line) for line in lines]
        return [
            each for each in found if each["function"] == function and all(each.get(k) == v for k, v in wanted.items())
        ]

    def send(self, queue: str, *messages: ServiceBusMessage | str) -> None:
        """Put messages on a queue."""
        made = [each if isinstance(each, ServiceBusMessage) else ServiceBusMessage(each) for each in messages]
        with (
            ServiceBusClient.from_connection_string(self.connection, **QUICK) as client,
            client.get_queue_sender(queue) as sender,
        ):
            sender.send_messages(made, timeout=30)

    def shorten_locks(self, queue: str, seconds: float) -> None:
        """Give a queue a lock that ends soon (shorter than Azure allows)."""
        connection = self.connection.replace(f":{self.port};", f":{self.admin_port};")
        with ServiceBusAdministrationClient.from_connection_string(connection, connection_verify=str(self.ca)) as admin:
            properties = admin.get_queue(queue)
            properties.lock_duration = timedelta(seconds=seconds)
            admin.update_queue(properties)

    def left(self, queue: str, *, dead: bool = False) -> list[Any]:
        """What lies on the queue, or in its dead-letter queue, without touching it."""
        which = {"sub_queue": ServiceBusSubQueue.DEAD_LETTER} if dead else {}
        with (
            ServiceBusClient.from_connection_string(self.connection, **QUICK) as client,
            client.get_queue_receiver(queue, **which) as receiver,
        ):
            return list(receiver.peek_messages(max_message_count=100, timeout=30))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("queues"))
    with made.broker, made.host:
        yield made


def test_a_message_arrives_with_all_that_it_carries_and_is_completed(bench: Bench) -> None:
    bench.send(
        "single",
        ServiceBusMessage(
            "hello ✓",
            message_id="one",
            subject="a subject",
            correlation_id="a correlation",
            application_properties={"text": "value", "number": 7},
        ),
    )
    (seen,) = until(lambda: bench.noted("single", phase="end", id="one"))
    assert (seen["body"], seen["delivery"], seen["subject"], seen["correlation"]) == (
        "hello ✓",
        1,
        "a subject",
        "a correlation",
    )
    assert seen["properties"] == {"text": "value", "number": 7}
    assert seen["enqueued"].endswith("+00:00")
    until(lambda: not bench.left("single"))


def test_a_failed_call_gives_the_message_back_until_it_is_dead(bench: Bench) -> None:
    bench.send("single", ServiceBusMessage("fail always", message_id="poison"))
    (dead,) = until(lambda: bench.left("single", dead=True))
    assert (dead.message_id, dead.dead_letter_reason) == ("poison", "MaxDeliveryCountExceeded")
    seen = bench.noted("single", phase="start", id="poison")
    assert [each["delivery"] for each in seen] == list(range(1, 11))
    assert bench.noted("single", phase="end", id="poison") == []
    assert "ValueError: told to" in bench.host.part.output()


def test_calls_run_beside_each_other_up_to_the_limit(bench: Bench) -> None:
    bench.send("single", *(ServiceBusMessage("sleep 2", message_id=f"slow-{number}") for number in range(6)))
    until(lambda: sum(len(bench.noted("single", phase="end", id=f"slow-{number}")) for number in range(6)) == 6)
    spans = []
    for number in range(6):
        (start,) = bench.noted("single", phase="start", id=f"slow-{number}")
        (end,) = bench.noted("single", phase="end", id=f"slow-{number}")
        spans.append((start["at"], end["at"]))
    most = max(sum(1 for start, end in spans if start <= moment < end) for moment, _ in spans)
    assert 2 <= most <= 4


def test_the_lock_is_renewed_while_a_call_runs(bench: Bench) -> None:
    bench.shorten_locks("single", 3)
    try:
        bench.send("single", ServiceBusMessage("sleep 8", message_id="long"))
        until(lambda: bench.noted("single", phase="end", id="long"))
        until(lambda: not bench.left("single"))
        assert [each["delivery"] for each in bench.noted("single", phase="start", id="long")] == [1]
    finally:
        bench.shorten_locks("single", 60)


def test_a_batch_is_one_call(bench: Bench) -> None:
    bench.send("batched", *(f"item {number}" for number in range(15)))
    until(lambda: sum(len(each["messages"]) for each in bench.noted("batched")) >= 15)
    calls = bench.noted("batched")
    bodies = [message["body"] for each in calls for message in each["messages"]]
    assert sorted(bodies) == sorted(f"item {number}" for number in range(15))
    assert len(calls) < 15
    assert max(len(each["messages"]) for each in calls) <= 20
    until(lambda: not bench.left("batched"))


def test_a_failed_batch_comes_again_whole(bench: Bench) -> None:
    before = len(bench.noted("batched"))
    bench.send("batched", "fail", "innocent")

    def twice() -> bool:
        seen = [message for each in bench.noted("batched")[before:] for message in each["messages"]]
        return any(message["body"] == "fail" and message["delivery"] == 2 for message in seen)

    until(twice)
    until(lambda: not bench.left("batched"))


def test_a_parameter_of_type_str_gets_the_text(bench: Bench) -> None:
    bench.send("text", "plain")
    (seen,) = until(lambda: bench.noted("as_text"))
    assert (seen["type"], seen["body"]) == ("str", "plain")


def test_an_output_is_on_the_queue_before_the_caller_is_answered(bench: Bench) -> None:
    assert bench.host.call("GET", "/send", params={"text": "from output"}).text == "done"
    until(lambda: bench.noted("single", phase="end", body="from output"))
    assert bench.host.call("POST", "/send-bytes", data=b"bytes from output").text == "done"
    until(lambda: bench.noted("single", phase="end", body="bytes from output"))


def test_an_output_that_was_not_set_sends_nothing(bench: Bench) -> None:
    assert bench.host.call("GET", "/send").text == "done"
    assert bench.host.call("GET", "/send", params={"text": "after it"}).text == "done"
    until(lambda: bench.noted("single", phase="end", body="after it"))
    assert bench.noted("single", body="") == []


def test_an_output_that_cannot_be_sent_fails_the_call(bench: Bench) -> None:
    answer = bench.host.call("GET", "/send-nowhere")
    assert (answer.status_code, answer.content) == (500, b"")
    assert "could not be sent to the queue there-is-no-such-queue" in until(
        lambda: bench.host.part.output() if "could not be sent" in bench.host.part.output() else None
    )


@pytest.mark.slow
def test_host_and_broker_survive_each_others_death(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench.broker, bench.host:
        bench.send(
            "single", ServiceBusMessage("sleep 60", message_id="interrupted"), ServiceBusMessage("x", message_id="x")
        )
        until(lambda: bench.noted("single", phase="start", id="interrupted"))
        bench.host.part.kill()
        bench.broker.kill()  # a broker that was killed holds no locks: the message is free at once
        bench.broker.start()
        bench.host.start()
        until(lambda: len(bench.noted("single", phase="start", id="interrupted")) == 2)
        bench.broker.kill()
        until(lambda: "trying again until it answers" in bench.host.part.output())
        bench.broker.start()
        bench.send("single", ServiceBusMessage("y", message_id="after"))
        until(lambda: bench.noted("single", phase="end", id="after"))
        assert "answers again" in bench.host.part.output()
        assert bench.host.part.process is not None
        assert bench.host.part.process.poll() is None


async def test_what_waited_comes_together_and_what_comes_now_is_not_kept_waiting(bench: Bench) -> None:
    broker = ServiceBusBroker(Connection("SampleBus", bench.connection))
    link = broker.receiver(UNHEARD)
    try:
        bench.send(UNHEARD, "a", "b", "c")
        # An open link that was silent: what lies there was there before it asked.
        waited = [message.body for message in await link.receive(10, 30.0)]
        while len(waited) < 3:
            waited += [message.body for message in await link.receive(10, 30.0)]
        assert waited == [b"a", b"b", b"c"]
        await broker.send(UNHEARD, "its sender is open now")
        assert len(await link.receive(10, 30.0)) == 1
        for turn in range(5):
            asked = asyncio.create_task(link.receive(10, 30.0))
            await asyncio.sleep(0.002)  # it has asked; what comes now is quick, and was not waiting
            await broker.send(UNHEARD, f"first {turn}")
            began = asyncio.get_running_loop().create_task(broker.send(UNHEARD, f"second {turn}"))
            assert [message.body for message in await asked] == [f"first {turn}".encode()]
            await began
            assert [message.body for message in await link.receive(10, 30.0)] == [f"second {turn}".encode()]
    finally:
        await link.close()
        await broker.close()
