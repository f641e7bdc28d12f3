"""Settings: file, then environment, then flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import ConfigError, load_config


def test_later_ones_win(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('api_url = "https://file.example"\nlog_level = "debug"\nmax_reports = 500\n')
    environment = {"MERIDIAN_AGENT_API_URL": "https://environment.example", "MERIDIAN_AGENT_MAX_REPORTS": "600"}
    found = load_config(file, environment, {"api_url": "https://flag.example/", "log_level": None, "command": "run"})
    assert (found.api_url, found.max_reports, found.log_level) == ("https://flag.example", 600, "debug")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('api_url = "http://console.example"', "must be https://"),
        ('api_url = "ftp://x"', "must be https://"),
        ('driver = "kubernetes"', "not one of process, container"),
        ("max_reports = 1", "from 100 to 1000000"),
        ('max_reports = "many"', "from 100 to 1000000"),
        ("journal_days = 6", "from 7 to 90"),
        ('colour = "red"', "unknown setting 'colour'"),
        ("log_level = 3", "is not text"),
        ("this is no toml", "agent.toml"),
    ],
)
def test_a_wrong_one_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_config(file, {}, {})


def test_all_wrong_ones_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)driver.*broker|broker.*driver"):
        load_config(None, {"MERIDIAN_AGENT_DRIVER": "x", "MERIDIAN_AGENT_BROKER": "y"}, {})


def test_plain_http_is_for_this_machine_alone() -> None:
    assert load_config(None, {}, {"api_url": "http://localhost:7071"}).api_url == "http://localhost:7071"
