from __future__ import annotations

from pathlib import Path

import pytest

from agent.servers.installer import Installer


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    return Installer(tmp_path / "agent")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "agent" / "servers" / "one"
    place.mkdir(parents=True)
    return place
