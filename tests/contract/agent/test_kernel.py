"""Where this machine's kernel has no control groups of version 2, the tests that need them run in one that has."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from agent.drivers.cgroups import is_v2
from tests.support import kernel

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(is_v2() and os.geteuid() == 0, reason="this kernel has control groups v2: the tests ran in it"),
    pytest.mark.skipif(kernel.why_not() is not None, reason=str(kernel.why_not())),
]


def passed(folder: Path, *tests: str, memory_mib: int, seconds: float) -> int:
    """Run tests in a kernel of their own: how many passed."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--color=no", "-p", "no:cacheprovider", *tests]
    done = kernel.run(command, folder, memory_mib=memory_mib, seconds=seconds)
    if not done.up:
        pytest.skip(f"no kernel comes up here: {done.output[-500:]}")
    assert done.code == 0, done.output[-6000:]
    found = re.search(r"(\d+) passed", done.output)
    assert found is not None, done.output[-2000:]
    print(done.output)
    return int(found[1])


def test_limits_under_control_groups_v2(tmp_path: Path) -> None:
    assert passed(tmp_path, "tests/contract/agent/test_cgroups_v2.py", memory_mib=700, seconds=300) >= 14


@pytest.mark.soak
def test_the_unit_under_a_systemd_that_has_control_groups_v2_alone(tmp_path: Path) -> None:
    tests = "tests/flows/test_agent_systemd.py"
    needless = f"--deselect={tests}::test_systemd_understands_the_unit_and_holds_it_for_safe"  # it writes to /tmp
    assert passed(tmp_path, tests, needless, memory_mib=3000, seconds=1200) >= 6
