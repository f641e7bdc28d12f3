"""The command line against the whole house."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from cli.errors import NOT_SIGNED_IN, NOT_THERE
from tests.support.command_line import CommandLine
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import PASSWORD, Person
from tests.support.processes import PATIENCE_SECONDS, ROOT
from tests.support.waiting import until


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
    assert refused.returncode == NOT_SIGNED_IN
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
    assert done.returncode == NOT_THERE
    assert "'Theirs' names 0 of your organizations; you belong to: Mine" in done.stderr


def test_help_needs_no_sign_in(meridian: CommandLine) -> None:
    done = meridian.run("--help")
    assert done.returncode == 0
    assert "login" in done.stdout


def test_a_node_joins_and_a_server_lives_its_life(meridian: CommandLine, tmp_path: Path) -> None:
    signed_in(meridian).ask("orgs", "create", "Games")
    asked = meridian.ask("nodes", "enrol", "--note", "attic", "--label", "room=attic")
    agent = AgentProcess(meridian.house, tmp_path / "agent")
    assert agent.run("enroll", "--token", asked["token"], "--name", "attic").returncode == 0
    with agent:
        until(lambda: meridian.ask("nodes", "list")[0]["presence"] == "online", "the node is online")
        assert meridian.ask("nodes", "list", "--label", "room=attic")[0]["name"] == "attic"
        assert meridian.ask("nodes", "ping", "attic")["state"] == "succeeded"

        made = meridian.run(
            "servers", "create", "one", "--template", "echo", "--var", "GREETING=good day", "--label", "kind=test"
        )
        assert made.returncode == 0, made.stderr
        assert "✓ install" in made.stderr
        assert "one is running, join at" in made.stdout
        assert [row["name"] for row in meridian.ask("servers", "list", "--label", "kind=test")] == ["one"]
        assert "good day" in meridian.run("console", "one").stdout
        lines = [
            json.loads(line) for line in meridian.run("console", "one", "--json", "--tail", "1").stdout.splitlines()
        ]
        assert [line["text"].split()[0] for line in lines] == ["listening"]
        meridian.ask("console", "one", "--send", "tea")
        until(lambda: "you said tea" in meridian.run("console", "one").stdout, "the game has answered")

        assert meridian.ask("servers", "stop", "one")["status"] == "stopped"
        assert (
            meridian.ask("servers", "edit", "one", "--var", "GREETING=good night", "-l", "kind=late")["needs"]
            == "restart"
        )
        again = meridian.run("servers", "stop", "one")
        assert again.returncode == 1
        assert "it is stopped, and stop is not possible then" in again.stderr
        done = meridian.run("servers", "start", "--label", "kind=late")
        assert (done.returncode, done.stdout.split()[-3:-1]) == (0, ["succeeded", "-"]), done.stderr
        with subprocess.Popen(
            meridian.command("console", "one", "--interactive"),
            cwd=ROOT,
            env=meridian.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as typed:
            out, _ = typed.communicate("coffee\n", timeout=PATIENCE_SECONDS)
        assert typed.returncode == 0
        assert "good night" in out
        assert "you said coffee" in out
        with subprocess.Popen(
            meridian.command("console", "one", "--follow"),
            cwd=ROOT,
            env=meridian.env,
            stdout=subprocess.PIPE,
            text=True,
        ) as followed:
            assert followed.stdout is not None
            followed.stdout.readline()
            followed.send_signal(signal.SIGINT)
            followed.wait(PATIENCE_SECONDS)
        assert followed.returncode == -signal.SIGINT, "the shell is told that it was Ctrl-C"
        changed = meridian.ask("servers", "edit", "one", "--var", "GREETING=hello", "--apply")
        assert (changed["status"], changed["variables"]["GREETING"]) == ("running", "hello")
        assert meridian.ask("servers", "upgrade", "one")["template"]["version"] == 1
        kinds = [row["kind"] for row in meridian.ask("servers", "tasks", "one")]
        assert kinds == ["server.restart", "server.start", "server.stop", "server.provision"]
        assert [row["id"] for row in meridian.ask("tasks", "list", "--server", "one", "--kind", "server.stop")]
        plan = meridian.ask("servers", "plan", "--template", "echo", "--memory", "1000000")
        assert plan["node_id"] is None
        assert "short of memory by" in plan["nodes"][0]["reasons"][0]["reason"]
        stats = meridian.ask("servers", "stats", "one")
        assert (stats["grain"], stats["points"]) == ("minute", []), "no minute is over yet"

        assert meridian.run("servers", "delete", "one", "--yes").returncode == 0
        assert meridian.ask("servers", "list") == []


def test_a_server_that_fits_nowhere_is_refused_with_the_reasons(meridian: CommandLine) -> None:
    signed_in(meridian).ask("orgs", "create", "Empty")
    refused = meridian.run("servers", "create", "one", "--template", "echo")
    assert refused.returncode == 1
    assert "no_room" in refused.stderr


def test_templates_are_listed_shown_and_imported(meridian: CommandLine, tmp_path: Path) -> None:
    signed_in(meridian).ask("orgs", "create", "Recipes")
    assert "flying-squid" in [row["key"] for row in meridian.ask("templates", "list")]
    shown = meridian.run("templates", "show", "echo")
    assert yaml.safe_load(shown.stdout)["key"] == "echo"
    (tmp_path / "own.yaml").write_text(shown.stdout.replace("key: echo", "key: own-echo"))
    assert meridian.ask("templates", "create", str(tmp_path / "own.yaml"))["key"] == "own-echo"
    assert [row["key"] for row in meridian.ask("templates", "list", "--scope", "organization")] == ["own-echo"]
    (tmp_path / "own.yaml").write_text(
        shown.stdout.replace("key: echo", "key: own-echo").replace("memory_mib: 64", "memory_mib: 65")
    )
    assert meridian.ask("templates", "edit", "own-echo", str(tmp_path / "own.yaml"))["version"] == 2
    changes = [row["path"] for row in meridian.ask("templates", "compare", "own-echo", "1", "2")]
    assert "resources.memory_mib" in changes, changes
    meridian.ask("templates", "delete", "own-echo", "--yes")
    assert meridian.ask("templates", "list", "--scope", "organization") == []
    nothing = meridian.run("servers", "create", "one", "--template", "own-eko")
    assert (nothing.returncode, "no template is named 'own-eko'" in nothing.stderr) == (NOT_THERE, True)
    missing = meridian.run("templates", "create", str(tmp_path / "none.yaml"))
    assert missing.returncode == 1
    assert "none.yaml cannot be read" in missing.stderr


def test_people_are_invited_join_get_rights_and_leave(meridian: CommandLine, tmp_path: Path) -> None:
    signed_in(meridian).ask("orgs", "create", "Club")
    bob = CommandLine(meridian.house, tmp_path / "bob")
    invited = meridian.ask("members", "invite", "bob@example.com", "eve@example.com", "--role", "viewer")
    assert [row["email"] for row in meridian.ask("invitations", "list")] == ["eve@example.com", "bob@example.com"]
    twice = meridian.run("members", "invite", "bob@example.com")
    assert (twice.returncode, "invitation_exists" in twice.stderr) == (1, True)
    meridian.ask("invitations", "withdraw", "eve@example.com")
    assert [row["email"] for row in meridian.ask("invitations", "list")] == ["bob@example.com"]

    signed_in(bob, "bob").ask("invitations", "accept", invited[0]["token"])
    member = next(row for row in meridian.ask("members", "list") if row["role"] == "viewer")
    refused = bob.run("roles", "create", "mine", "-p", "servers.read")
    assert (refused.returncode, "permission_missing" in refused.stderr) == (1, True)

    role = meridian.ask("roles", "create", "starter", "-p", "servers.read", "-p", "roles.read")
    assert meridian.ask("members", "role", member["id"], "starter")["role"] == role["id"]
    assert [row["id"] for row in bob.ask("roles", "permissions", "--mine")] == ["roles.read", "servers.read"]
    granted = meridian.ask("members", "grant", member["id"], "servers.kill")
    assert meridian.ask("members", "show", member["id"])["grants"][0]["permission"] == "servers.kill"
    meridian.ask("members", "ungrant", member["id"], granted["id"])
    assert meridian.ask("members", "show", member["id"])["grants"] == []

    bob.ask("orgs", "leave", "--yes")
    assert len(meridian.ask("members", "list")) == 1
    trail = [row["action"] for row in meridian.ask("audit", "--limit", "100")]
    assert {"invitation.created", "invitation.withdrawn", "role.created", "member.left"} <= set(trail), trail


def test_a_program_acts_with_a_key_within_its_scopes_until_it_is_revoked(meridian: CommandLine) -> None:
    signed_in(meridian).ask("orgs", "create", "Robots")
    made = meridian.ask("keys", "create", "bot", "--scope", "servers.read", "--days", "1")
    bot = CommandLine(meridian.house, meridian.home / "nobody", {"MERIDIAN_API_KEY": made["key"]})
    assert bot.ask("servers", "list") == []
    assert bot.ask("api", "/v1/servers", "--paginate") == []
    assert bot.run("nodes", "list").returncode == 1
    assert meridian.ask("keys", "list")[0]["prefix"] in made["key"]
    meridian.ask("keys", "revoke", "bot", "--yes")
    until(lambda: bot.run("servers", "list").returncode == NOT_SIGNED_IN, "the key has ended")
