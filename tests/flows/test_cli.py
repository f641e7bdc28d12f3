"""The command line against the whole house."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.house import HouseForTests
from tests.support.people import PASSWORD, Person


@pytest.fixture
def meridian(house: HouseForTests, tmp_path: Path) -> CommandLine:
    return CommandLine(house, tmp_path)


def signed_in(meridian: CommandLine, name: str = "cara") -> CommandLine:
    person = Person.sign_up(meridian.house, name)
    done = meridian.run(
        "login", "--email", person.email, "--password-stdin", "--auth", meridian.house.auth, stdin=PASSWORD
    )
    assert done.returncode == 0, done.stderr
    return meridian


def test_sign_in_found_an_organization_change_between_two_and_leave(meridian: CommandLine) -> None:
    signed_in(meridian)
    first = meridian.ask("orgs", "create", "First")
    second = meridian.ask("orgs", "create", "Second")
    assert meridian.ask("whoami")["organization"] == second["id"]
    meridian.ask("orgs", "use", "First")
    assert meridian.ask("whoami")["organization"] == first["id"]
    assert [row["name"] for row in meridian.ask("orgs", "list") if row["in_use"]] == ["First"]
    assert stat.S_IMODE((meridian.home / "default.json").stat().st_mode) == 0o600
    assert meridian.run("logout").returncode == 0
    refused = meridian.run("whoami")
    assert refused.returncode == 1
    assert "nobody is signed in" in refused.stderr


def test_a_wrong_password_is_told_and_nothing_is_kept(meridian: CommandLine) -> None:
    person = Person.sign_up(meridian.house, "dora")
    done = meridian.run(
        "login", "--email", person.email, "--password-stdin", "--auth", meridian.house.auth, stdin="wrong password"
    )
    assert done.returncode == 1
    assert "sign-in refused: Invalid email or password" in done.stderr
    assert not (meridian.home / "default.json").exists()


def test_an_organization_that_is_not_ones_own_is_named_with_those_that_are(meridian: CommandLine) -> None:
    signed_in(meridian).ask("orgs", "create", "Mine")
    done = meridian.run("orgs", "use", "Theirs")
    assert done.returncode == 1
    assert "'Theirs' names 0 of your organizations; you belong to: Mine" in done.stderr


def test_help_needs_no_sign_in(meridian: CommandLine) -> None:
    done = meridian.run("--help")
    assert done.returncode == 0
    assert "login" in done.stdout
