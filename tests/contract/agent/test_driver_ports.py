"""What each driver says of ports: taken ones before the start, bound ones after it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent.drivers.base import Driver, DriverError
from shared.messaging.server_spec import Port
from tests.contract.agent.games import ECHO, plan, started
from tests.support.processes import free_port


async def test_a_taken_port_is_refused_before_the_start(driver: Driver, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(DriverError, match=f"tcp port {port}") as refused:
            await driver.start(plan(tmp_path, ECHO, ports=(Port("game", "tcp", port, "127.0.0.1"),)))
    assert refused.value.code == "port_taken"
    assert f"(process {os.getpid()}) has it" in refused.value.reason
    found = refused.value.taken
    assert [(one.protocol, one.address, one.port) for one in found] == [("tcp", "127.0.0.1", port)]
    assert found[0].by.endswith(f"(process {os.getpid()})")


async def test_all_taken_ports_are_told_not_the_first(driver: Driver, tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        taken = [("tcp", tcp.getsockname()[1]), ("udp", udp.getsockname()[1])]
        ports = (
            Port("game", "tcp", taken[0][1], "127.0.0.1"),
            Port("free", "tcp", free_port(), "127.0.0.1"),
            Port("query", "udp", taken[1][1], "127.0.0.1"),
        )
        with pytest.raises(DriverError) as refused:
            await driver.start(plan(tmp_path, ECHO, ports=ports))
    assert [(one.protocol, one.port) for one in refused.value.taken] == taken
    assert all(f"{protocol} port {port} on" in refused.value.reason for protocol, port in taken)


async def test_the_ports_really_bound_are_told(driver: Driver, tmp_path: Path) -> None:
    tcp, udp = free_port(), free_port()
    script = f"""
import socket, time
a = socket.socket(); a.bind(("127.0.0.1", {tcp})); a.listen()
b = socket.socket(type=socket.SOCK_DGRAM); b.bind(("127.0.0.1", {udp}))
print("ready", flush=True); time.sleep(600)
"""
    running = await started(driver, plan(tmp_path, script))
    assert set(running.bound_ports()) == {f"tcp/{tcp}", f"udp/{udp}"}
