"""Dead letters: found, sent again, dropped, by the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from tests.support.house import HouseForTests
from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    with HouseForTests(tmp_path_factory.mktemp("house"), "bus") as house:
        yield house


def command(house: HouseForTests, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "shared.nodes.dead_letters", *arguments],
        cwd=ROOT, env={**os.environ, **house.settings()}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_they_are_listed_sent_again_and_dropped(house: HouseForTests) -> None:
    with ServiceBusClient.from_connection_string(house.settings()["ServiceBusConnection"]) as client:
        with client.get_queue_sender("reports") as sender:
            sender.send_messages([ServiceBusMessage(f"report {n}", message_id=f"m{n}") for n in range(3)], timeout=20)
        with client.get_queue_receiver("reports", max_wait_time=5) as receiver:
            for message in receiver.receive_messages(3, max_wait_time=5):
                receiver.dead_letter_message(message, reason="poison", error_description="did not fit")
        listed = command(house, "list", "reports")
        assert "3 dead letters in reports" in listed
        assert listed.count("poison") == 3
        number = listed.split()[0]
        assert "1 sent again, 2 left" in command(house, "retry", "reports", number)
        with client.get_queue_receiver("reports", max_wait_time=5) as receiver:
            again = receiver.receive_messages(5, max_wait_time=5)
            assert [str(message) for message in again] == ["report 0"]
            receiver.complete_message(again[0])
        assert "2 dropped, 0 left" in command(house, "drop", "reports")
        assert "0 dead letters" in command(house, "list", "reports")
