"""Eggs: small ones of our own for every rule, and the real ones where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.templates.documents import export, parse
from shared.templates.eggs import import_egg
from shared.templates.errors import TemplateInvalid
from tests.unit.templates.egg_texts import egg, variable

REAL = sorted((Path(__file__).resolve().parents[4] / "shared" / "data" / "eggs").glob("egg-*.json"))


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_real_egg_comes_through_and_survives_export(path: Path) -> None:
    imported = import_egg(path.read_text())
    assert parse(export(imported.template)) == imported.template
    for note in imported.notes:
        assert note.reason
        assert note.verdict in ("changed", "dropped", "needed")


@pytest.mark.skipif(not REAL, reason="the real eggs lie beside the repository, not in it")
def test_what_the_real_eggs_become() -> None:
    found = {path.stem: import_egg(path.read_text()) for path in REAL}
    assert found["egg-paper"].template.install[0]["source"] == "papermc"
    assert found["egg-vanilla-minecraft"].template.install[0]["source"] == "mojang"
    assert found["egg-rust"].template.install[0] == {"kind": "steamcmd", "app_id": 258550}
    assert [port.name for port in found["egg-rust"].template.ports] == ["game", "query_port", "rcon_port", "app_port"]
    assert found["egg-teamspeak3-server"].template.draft == ("scripts.installation",)


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        pytest.param(
            "java -Xmx{{SERVER_MEMORY}}M -jar a.jar",
            ["java", "-Xmx{{server.memory_mib}}M", "-jar", "a.jar"],
            id="memory",
        ),
        pytest.param("./a -p ${SERVER_PORT}", ["./a", "-p", "{{ports.game}}"], id="shell_braces"),
        pytest.param("./a -n $NAME", ["./a", "-n", "{{variables.NAME}}"], id="shell_name"),
        pytest.param('./a -n "two words"', ["./a", "-n", "two words"], id="quotes"),
        pytest.param('./a \\"{{NAME}}\\"', ["./a", "{{variables.NAME}}"], id="escaped_quotes"),
        pytest.param("LD_LIBRARY_PATH=./lib ./a", ["./a"], id="environment_first"),
        pytest.param("./a | tee log", ["./a"], id="pipe_dropped"),
        pytest.param("cd bin && ./a", ["./a"], id="chain_keeps_the_game"),
        pytest.param("./a > /dev/null 2>&1", ["./a"], id="redirection_dropped"),
        pytest.param("exec ./a", ["./a"], id="exec"),
        pytest.param("./a 'unclosed", ["./a", "unclosed"], id="quotes_that_do_not_match"),
    ],
)
def test_start_lines_become_tokens(line: str, argv: list[str]) -> None:
    template = import_egg(egg(startup=line, variables=[variable("NAME", "required|string", "x")])).template
    assert list(template.start.argv) == argv


@pytest.mark.parametrize(
    ("shell", "on", "off"),
    [
        ('$( [ "$FLAG" == "1" ] && printf %s \'-a\' )', ["-a"], []),
        ('$( [ "$FLAG" == "1" ] || printf %s \'-a\' )', [], ["-a"]),
        ('$( [[ "${FLAG}" != "1" ]] && printf %s "-a b" || printf %s "-c" )', ["-c"], ["-a", "b"]),
        ('$( [ -z ${FLAG} ] && printf %s "-empty" )', ["-empty"], []),
    ],
)
def test_the_usual_shell_conditions_become_conditions(shell: str, on: list[str], off: list[str]) -> None:
    imported = import_egg(egg(startup=f"./a {shell}", variables=[variable("FLAG", "nullable|string", "")]))
    condition = imported.template.start.argv[1]
    assert not isinstance(condition, str)
    assert (list(condition.then), list(condition.otherwise)) == (on, off)


def test_what_a_shell_would_compute_is_reported_as_needed() -> None:
    imported = import_egg(egg(startup="./a --seed $(date +%s)"))
    assert imported.template.draft == ("startup",)
    assert any("computed by a shell" in note.reason for note in imported.notes)


@pytest.mark.parametrize(
    ("rules", "default", "expected"),
    [
        ("required|string|max:20", "a", {"required": True, "max_length": 20}),
        ("nullable|string", "", {"required": False, "default": ""}),
        ("required|integer|between:1,10", "5", {"type": "integer", "minimum": 1.0, "maximum": 10.0, "default": 5}),
        ("required|boolean", "1", {"type": "choice", "choices": ("0", "1"), "default": "1"}),
        ("required|in:a,b", "a", {"type": "choice", "choices": ("a", "b")}),
        (r"required|regex:/^(a|b)\/c$/", "a/c", {"pattern": "(?s:.*?)(?:^(a|b)/c$)(?s:.*)"}),
        ("required|numeric|min:0.5", "1.5", {"type": "number", "minimum": 0.5, "default": 1.5}),
    ],
)
def test_rules_become_bounds(rules: str, default: str, expected: dict[str, Any]) -> None:
    found = import_egg(egg(variables=[variable("V", rules, default)])).template.variables[0]
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_default_that_breaks_its_rules_must_be_given() -> None:
    imported = import_egg(egg(variables=[variable("V", "required|integer", "many")]))
    assert imported.template.variables[0].default is None


def test_ports_and_secrets_are_seen_by_their_names() -> None:
    imported = import_egg(
        egg(
            variables=[
                variable("RCON_PORT", "required|integer", "27015"),
                variable("ADMIN_PASSWORD", "required|string", "x"),
            ]
        )
    )
    assert [port.name for port in imported.template.ports] == ["game", "rcon_port"]
    assert [(v.name, v.secret) for v in imported.template.variables] == [("ADMIN_PASSWORD", True)]


def test_configuration_files_keep_what_has_a_counterpart() -> None:
    files = {
        "server.properties": {
            "parser": "properties",
            "find": {"port": "{{server.build.default.port}}", "x": "{{config.docker.interface}}"},
        },
        "list.json": {"parser": "json", "find": {"servers[*].a": "1", "servers.*.b": 2, "deep.key": True}},
        "../etc/passwd": {"parser": "file", "find": {"root": "x"}},
        "odd.toml": {"parser": "toml", "find": {"a": "b"}},
    }
    imported = import_egg(egg(config={"files": json.dumps(files), "startup": "{}", "stop": "^C"}))
    kept = {file.path: file.values for file in imported.template.files}
    assert kept == {
        "server.properties": {"port": "{{ports.game}}", "x": "127.0.0.1"},
        "list.json": {"servers.*.a": 1, "servers.*.b": 2, "deep.key": True},
    }
    assert imported.template.stop.value == "SIGINT"
    assert {note.part for note in imported.notes if note.verdict == "dropped"} >= {
        "config.files.../etc/passwd",
        "config.files.odd.toml",
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[]", "not_an_egg"),
        ("{", "not_json"),
        ('{"meta": {"version": "PTDL_v9"}, "startup": "x"}', "unknown_format"),
        ('{"meta": {"version": "PTDL_v1"}}', "missing"),
        ("[" * 100_000, "not_json"),
        ('"' + "x" * 300_000 + '"', "too_large"),
        ('{"meta": {"version": "PLCN_v1"}, "startup_commands": {}}', "missing"),
        ("meta:\n  version: PLCN_v9\nstartup: x\n", "unknown_format"),
        ("a: [", "not_yaml"),
        ("a: &a [1]\nb: *a\n", "alias"),
        ("", "not_an_egg"),
    ],
)
def test_what_is_no_egg_is_refused_with_its_reason(text: str, code: str) -> None:
    with pytest.raises(TemplateInvalid) as refused:
        import_egg(text)
    assert refused.value.errors[0].code == code
