"""What is remembered, and how."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli.errors import CliError
from cli.profile import Profile


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MERIDIAN_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config"


def test_a_profile_comes_back_as_it_was_and_only_its_owner_reads_it() -> None:
    profile = Profile(name="home", api="http://x", access_token="t", org_id="org_1")
    profile.save()
    assert Profile.load("home") == profile
    assert stat.S_IMODE(profile.path.stat().st_mode) == 0o600


def test_signing_out_forgets_tokens_and_keeps_addresses() -> None:
    profile = Profile(name="home", api="http://x", access_token="t", refresh_token="r", org_id="org_1", email="a@b")
    profile.forget_tokens()
    assert Profile.load("home") == Profile(name="home", api="http://x")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a" * 41])
def test_a_name_that_is_no_plain_word_is_refused(name: str) -> None:
    with pytest.raises(CliError, match="is no name for a profile"):
        Profile.load(name)


def test_a_damaged_file_is_named(config: Path) -> None:
    config.mkdir()
    (config / "home.json").write_text("{")
    with pytest.raises(CliError, match=r"home\.json cannot be read"):
        Profile.load("home")
