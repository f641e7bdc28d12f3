"""How the program reads its words, and what its page says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.commands.stats import curve
from cli.reference import page
from tests.support.processes import ROOT
from tests.unit.cli.test_api import Script, script  # noqa: F401  # a fixture

REFERENCE = ROOT / "docs" / "reference" / "command-line.md"


def meridian(tmp_path: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MERIDIAN_")}
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=ROOT,
        env={**kept, "MERIDIAN_CONFIG_DIR": str(tmp_path), "MERIDIAN_API": "http://127.0.0.1:1", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_page_is_what_the_program_is() -> None:
    assert REFERENCE.read_text() == page(), "python -m cli.reference > docs/reference/command-line.md"


@pytest.mark.parametrize("words", [("--json", "servers", "list"), ("servers", "list", "--json")])
def test_json_is_asked_for_anywhere_and_a_refusal_is_json_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = meridian(tmp_path, *words)
    assert (done.returncode, done.stdout) == (3, "")
    assert json.loads(done.stderr)["code"] == "not_signed_in"


def test_an_api_that_does_not_answer_has_its_own_code(tmp_path: Path) -> None:
    done = meridian(tmp_path, "servers", "list", MERIDIAN_API_KEY="mk_x")
    assert done.returncode == 5
    assert "http://127.0.0.1:1 cannot be reached (Connection refused); `make run` starts it here" in done.stderr


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("logs",), "Here it is `console`"),
        (("servers", "rm"), "Here it is `delete`"),
        (("servers", "lst"), "Did you mean 'list'?"),
    ],
)
def test_a_word_of_another_tool_or_a_slip_is_answered(tmp_path: Path, words: tuple[str, ...], answer: str) -> None:
    done = meridian(tmp_path, *words)
    assert done.returncode == 2
    assert answer in done.stderr


def test_completion_of_names_is_silent_without_an_api(tmp_path: Path) -> None:
    done = meridian(tmp_path, _MERIDIAN_COMPLETE="complete_bash", COMP_WORDS="meridian servers show fi", COMP_CWORD="3")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_reader_who_has_read_enough_is_no_failure(tmp_path: Path, script: Script) -> None:  # noqa: F811
    script.answers = [(200, {}, {"items": [{"id": "key_1", "name": "bot"}]})]
    reading, writing = os.pipe()
    os.close(reading)
    env = {**os.environ, "MERIDIAN_CONFIG_DIR": str(tmp_path), "MERIDIAN_API_KEY": "mk_x"}
    words = [sys.executable, "-m", "cli", "--api", f"http://127.0.0.1:{script.server_address[1]}", "keys", "list"]
    done = subprocess.run(words, cwd=ROOT, env=env, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def asked_for_an_update(tmp_path: Path, server: Script, *more: str) -> subprocess.CompletedProcess[str]:
    node = {"id": "nod_1", "name": "attic", "presence": "online", "agent_version": "1.0.0"}
    server.answers = [(200, {}, {"items": [node]}), *server.answers]
    api = f"http://127.0.0.1:{server.server_address[1]}"
    words = ("nodes", "update", "attic", "https://releases.example/2.pyz", *more)
    return meridian(tmp_path, *words, MERIDIAN_API_KEY="mk_x", MERIDIAN_API=api)


def test_an_update_that_the_machine_refuses_is_a_failure_with_its_reason(tmp_path: Path, script: Script) -> None:  # noqa: F811
    (file := tmp_path / "2.pyz.manifest").write_text("signed\n")
    refused = {"code": "bad_manifest", "detail": "signed by another key"}
    script.answers = [
        (202, {}, {"id": "tsk_1", "state": "sent"}),
        (200, {}, {"id": "tsk_1", "state": "sent"}),
        (200, {}, {"id": "tsk_1", "state": "failed", "outcome": refused}),
    ]
    done = asked_for_an_update(tmp_path, script, "--manifest", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert "attic did not do it: failed (signed by another key)" in done.stderr
    release = {"url": "https://releases.example/2.pyz", "manifest": "signed"}
    assert json.loads(script.asked[1][3]) == {"type": "node.update", "release": release}
    assert [path for _, path, _, _ in script.asked[1:3]] == [
        "/v1/nodes/nod_1/commands",
        "/v1/nodes/nod_1/commands/tsk_1",
    ]


def test_an_update_need_not_be_waited_for(tmp_path: Path, script: Script) -> None:  # noqa: F811
    (file := tmp_path / "2.pyz.manifest").write_text("signed\n")
    script.answers = [(202, {}, {"id": "tsk_1", "state": "sent"})]
    done = asked_for_an_update(tmp_path, script, "--manifest", str(file), "--no-wait")
    assert (done.returncode, len(script.asked)) == (0, 2), done.stderr


def test_an_update_without_a_manifest_asks_nothing_of_the_machine(tmp_path: Path, script: Script) -> None:  # noqa: F811
    done = asked_for_an_update(tmp_path, script, "--manifest", str(tmp_path / "absent"))
    assert done.returncode == 1
    assert "no manifest at" in done.stderr
    assert len(script.asked) == 1


def test_completion_of_commands_needs_no_api(tmp_path: Path) -> None:
    done = meridian(tmp_path, _MERIDIAN_COMPLETE="complete_bash", COMP_WORDS="meridian servers upg", COMP_CWORD="2")
    assert done.stdout.split() == ["upgrade"]


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [([], 8, ""), ([0, 0], 8, "▁▁"), ([0, 50, 100], 8, "▁▅█"), ([0, 0, 9, 0], 2, "▁█"), ([1] * 100, 3, "███")],
)
def test_a_curve_keeps_its_peaks_where_it_is_narrow(values: list[float], width: int, bars: str) -> None:
    assert curve(values, width) == bars
