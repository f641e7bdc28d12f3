"""Ports that are taken are told before anything starts."""

from __future__ import annotations

import os
import socket

import pytest

from local.common.errors import StartError
from local.supervisor.ports import free_base, is_free, require
from tests.support.processes import free_port


def test_all_that_are_taken_are_named_with_who_has_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = {"host": one.getsockname()[1], "auth": free_port(), "cosmos": two.getsockname()[1]}
        with pytest.raises(StartError) as told:
            require(ports)
    for name in ("host", "cosmos"):
        assert f"port {ports[name]} for {name} (" in str(told.value)
    assert f"process {os.getpid()})" in str(told.value)
    assert "auth" not in str(told.value)


def test_free_ports_are_no_trouble() -> None:
    require({"host": free_port()})


def test_a_block_of_free_ports_is_found() -> None:
    base = free_base(8)
    assert all(is_free(port) for port in range(base, base + 8))
