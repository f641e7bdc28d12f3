"""What the doctor says of this machine, and of one that lacks something."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from local.supervisor.doctor import examine
from local.supervisor.ports import Ports
from tests.support.processes import ROOT, free_port


def texts(ports: dict[str, int], data: Path, root: Path = ROOT) -> dict[str, bool]:
    return {finding.text: finding.good for finding in examine(root, data, ports) if finding.fatal}


def test_a_machine_that_runs_the_suite_can_run_the_house(tmp_path: Path) -> None:
    assert all(texts({"host": free_port()}, tmp_path).values())


def test_a_port_in_use_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = texts({"bus-tls": port}, tmp_path)
    told = next(
        text for text, good in found.items() if not good and text.startswith(f"port {port} for bus-tls is in use")
    )
    assert f"process {os.getpid()})" in told
    assert told.endswith("choose another with --bus-tls-port")


def test_a_package_that_is_not_as_pinned_is_named_with_both_versions(tmp_path: Path) -> None:
    (tmp_path / "requirements-local.txt").write_text("-r more.txt\npydantic==0.0.1  # why\n")
    (tmp_path / "more.txt").write_text("no-such-package-here==1.0\n")
    told = next(
        text for text, good in texts({}, tmp_path, tmp_path).items() if text.startswith("Python packages") and not good
    )
    assert "no-such-package-here is missing" in told
    assert "wanted 0.0.1" in told
    assert told.endswith("run `make setup`")


def test_ports_from_a_base_differ_from_each_other() -> None:
    ports = Ports.from_base(20_000).by_option()
    assert sorted(ports.values()) == list(range(20_000, 20_000 + len(ports)))
