"""The sample routes behind the real checks, and who calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.platform.ids import Ids
from tests.support.clocks import SetClock
from tests.support.doors import Doors
from tests.unit.http.sample import Gate

KIM = {"authorization": "Bearer kim"}
SERVER = Ids().new("srv")[:-1] + "0"
GOOD = {"name": "one", "memory_mib": 2048}
ORIGIN = "https://console.example"


@dataclass
class World:
    """The sample routes, their gate and clock, and what their handlers kept."""

    doors: Doors
    gate: Gate
    kept: dict[str, Any]
    clock: SetClock
