"""Installs as a node is told of them."""

from __future__ import annotations

from typing import Any

from shared.messaging.codec import from_wire
from shared.messaging.server_install import Install


def install(*steps: dict[str, Any], **more: Any) -> Install:
    """An install of these steps."""
    return from_wire(Install, {"steps": list(steps), **more})


def quiet(_percent: int, _detail: str) -> None:
    """Nobody watches."""
