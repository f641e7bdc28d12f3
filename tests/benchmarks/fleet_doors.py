"""A beat through the real host, by either door: executions, seconds, operations, log, as the host's meter counts them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.api import Api
from agent.config import load_config
from agent.enrol import enrol
from agent.identity import Identity
from shared.messaging.agent_api import Beat, BeatAnswer
from shared.messaging.reports import Report, ReportType, seal_report
from tests.benchmarks.machine import children_of, cpu_seconds
from tests.benchmarks.servers_bill import report
from tests.support.house import HouseForTests
from tests.support.people import Person

CALLS = 600
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Door:
    """What one beat costs there.

    `operations` are exact where messages come one by one: one to send, one to deliver, one to settle. In batches the host
    of this machine gives messages back that it did not wait for, and the broker delivers and counts them again.
    """

    executions: float
    operations: float
    billed_alone: float  # GB-s, were each execution alone on its instance
    cpu: float  # seconds of the host
    log_bytes: float


class Doors:
    """A house with one enrolled node, whose beats are sent again and again."""

    def __init__(self, house: HouseForTests, folder: Path) -> None:
        api = Person.sign_up(house, "ann").found_organization("Bench")
        token = api.post("/v1/enrolment-tokens", {}).json()["token"]
        config = load_config(None, {}, {"folder": str(folder), "api_url": house.api})
        asyncio.run(enrol(config, token, "bench"))
        self._house, self._identity = house, Identity(config.path)

    def https(self) -> Door:
        """`POST /v1/agent/beat`, as an agent calls it."""

        async def one(lane: int) -> None:
            caller = Api(self._house.api)
            for _ in range(CALLS // AT_ONCE):
                now = datetime.now(UTC)
                beat = Beat(time.time_ns() // 1000 + lane, now, "0.1.0", "boot")
                await caller.post("/v1/agent/beat", beat, BeatAnswer, self._identity)

        async def all_of_them() -> None:
            await asyncio.gather(*(one(lane) for lane in range(AT_ONCE)))

        return self._counted("beat", "", CALLS, lambda: asyncio.run(all_of_them()))

    def queue(self, rate: float, count: int) -> Door:
        """A report of a beat's size through the queue, so many a second (0: as fast as they go)."""
        from azure.servicebus import ServiceBusClient, ServiceBusMessage

        papers = self._identity.papers

        def message(number: int) -> Any:
            made = Report(
                f"rep_bench{time.time_ns()}", ReportType.COMMAND_RESULT, papers.org_id, papers.node_id, number,
                datetime.now(UTC), payload={"status": "succeeded", "detail": "x" * 400},
            )  # fmt: skip
            body = seal_report(made, self._identity.key, papers.certificate.thumbprint)
            return ServiceBusMessage(body, message_id=made.id, application_properties={"node": papers.node_id})

        def send() -> None:
            began = time.monotonic()
            text = self._house.settings()["ServiceBusConnection"]
            with ServiceBusClient.from_connection_string(text) as client, client.get_queue_sender("reports") as sender:
                for number in range(count):
                    if rate:
                        time.sleep(max(0.0, began + number / rate - time.monotonic()))
                    sender.send_messages(message(number), timeout=30)
            time.sleep(3.0)

        return self._counted("node_reports", "reports", count, send)

    def _counted(self, function: str, queue: str, count: int, act: Any) -> Door:
        process = self._house.parts["host"].process
        assert process is not None
        pids = children_of(process.pid)
        before, cpu = report(self._house), cpu_seconds(pids)
        act()
        after, cpu = report(self._house), cpu_seconds(pids) - cpu

        def of(found: dict[str, Any], name: str) -> float:
            return float(next((each[name] for each in found["functions"] if each["name"] == function), 0.0))

        def operations(found: dict[str, Any]) -> float:
            queues = found["sources"]["bus"]["queues"]
            return float(queues.get(queue, {}).get("operations", 0.0))

        return Door(
            executions=(of(after, "executions") - of(before, "executions")) / count,
            operations=(operations(after) - operations(before)) / count,
            billed_alone=(of(after, "gb_seconds_alone") - of(before, "gb_seconds_alone")) / count,
            cpu=cpu / count,
            log_bytes=(of(after, "log_bytes") - of(before, "log_bytes")) / count,
        )


@contextmanager
def doors() -> Iterator[Doors]:
    """A house for the samples."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "house").mkdir()
        settings = {"MERIDIAN_RATE_LIMITS": "false"}
        with HouseForTests(folder / "house", "cosmos", "bus", "auth", "host", settings=settings) as house:
            yield Doors(house, folder / "node")
