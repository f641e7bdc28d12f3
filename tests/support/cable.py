"""A network cable between one agent and the house, to be pulled out.

Where this machine lets us, the agent lives in a network namespace of its own, tied to ours by a pair of virtual
interfaces, and to cut means to take our end down: packets vanish and nobody is told. Elsewhere forwarders stall.

    namespace of the agent            ours
      localhost = 10.x.y.1  ══ veth ══  10.x.y.1:line ──▶ 127.0.0.1:part
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.support.house import HouseForTests
from tests.support.lines import Line, LoopThread
from tests.support.processes import free_port


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


class Cable:
    """Made before the house starts (`settings` tell it where agents find the broker), plugged in when it is up."""

    def __init__(self) -> None:
        self.api_port, self.bus_port = free_port(), free_port()
        self._thread = LoopThread()
        self._lines: list[Line] = []
        tag = f"{random.randrange(1 << 16):04x}"
        self._name, self._ours, self._theirs = f"mrd-{tag}", f"mrdo{tag}", f"mrdi{tag}"
        self._net = f"10.{200 + int(tag[:2], 16) % 50}.{int(tag[2:], 16)}"
        self.real = self._make()

    @property
    def kind(self) -> str:
        """How it is cut."""
        return "a network namespace with its link down" if self.real else "forwarders that stall"

    def _make(self) -> bool:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            return False
        try:
            _ip("netns", "add", self._name)
            _ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs, "netns", self._name)
            _ip("addr", "add", f"{self._net}.1/24", "dev", self._ours)
            _ip("link", "set", self._ours, "up")
            _ip("-n", self._name, "addr", "add", f"{self._net}.2/24", "dev", self._theirs)
            _ip("-n", self._name, "link", "set", self._theirs, "up")
            _ip("-n", self._name, "link", "set", "lo", "up")
            hosts = Path("/etc/netns") / self._name  # what `ip netns exec` lays over /etc
            hosts.mkdir(parents=True)
            (hosts / "hosts").write_text(f"{self._net}.1 localhost\n")
        except (OSError, subprocess.CalledProcessError):
            self._remove()
            return False
        return True

    def _remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self._name], check=False, capture_output=True, timeout=30)
        subprocess.run(["ip", "link", "del", self._ours], check=False, capture_output=True, timeout=30)
        shutil.rmtree(Path("/etc/netns") / self._name, ignore_errors=True)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before the agent's command."""
        return ("ip", "netns", "exec", self._name) if self.real else ()

    def settings(self, house: HouseForTests) -> dict[str, str]:
        """The host's setting that sends agents to this cable."""
        connection = house.settings()["ServiceBusConnection"]
        space = {"connection": connection, "amqp_port": self.bus_port, "tls": False}
        return {"MERIDIAN_AGENT_NAMESPACES": json.dumps({"default": space})}

    @property
    def api(self) -> str:
        """The API as the agent reaches it."""
        return f"http://localhost:{self.api_port}"

    def plug_in(self, house: HouseForTests) -> Self:
        """Connect the agent's side with the house."""
        host = f"{self._net}.1" if self.real else "127.0.0.1"
        ports = house.house.ports
        self._lines = [Line(self.api_port, ports.host, host), Line(self.bus_port, ports.bus, host)]
        for line in self._lines:
            self._thread.do(line.start())
        return self

    def cut(self) -> None:
        """Pull it out."""
        if self.real:
            _ip("link", "set", self._ours, "down")
        else:
            for line in self._lines:
                self._thread.loop.call_soon_threadsafe(line.stall)

    def mend(self) -> None:
        """Put it back."""
        if self.real:
            _ip("link", "set", self._ours, "up")
        else:
            for line in self._lines:
                self._thread.loop.call_soon_threadsafe(line.flow)

    def close(self) -> None:
        """Take everything away."""
        for line in self._lines:
            self._thread.do(line.cut())
        self._thread.close()
        if self.real:
            self._remove()
