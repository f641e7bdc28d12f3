"""Configuration files of eggs, the line that says ready, and how games are stopped."""

from __future__ import annotations

from typing import Any

import pytest

from shared.templates.eggs import Imported
from tests.unit.templates.egg_texts import imported, told, variable


def files(**rules: Any) -> Imported:
    return imported(config={"files": rules, "startup": {"done": "up"}, "stop": "stop"}, variables=[variable("NAME")])


@pytest.mark.parametrize(
    ("parser", "find", "kept"),
    [
        pytest.param("json", {"listeners[0].port": "{{server.build.default.port}}"}, {"listeners.0.port": "{{ports.game}}"}, id="element"),
        pytest.param("yaml", {"servers.*.address": "{{config.docker.interface}}"}, {"servers.*.address": "127.0.0.1"}, id="wildcard"),
        pytest.param("yml", {"a": "5", "b": "05", "c": True}, {"a": 5, "b": "05", "c": True}, id="numbers_as_texts"),
        pytest.param("properties", {"a": "5", "enable": True}, {"a": "5", "enable": True}, id="properties"),
        pytest.param("ini", {"NETWORK.port": "{{env.NAME}}"}, {"NETWORK.port": "{{variables.NAME}}"}, id="ini"),
        pytest.param("xml", {"S.property[name='x']": "1", "S.port": "2"}, {"S.port": "2"}, id="xml_attributes"),
        pytest.param("file", {"#security:": "security:\r\n  on: true"}, {"#security:": "security:\r\n  on: true"}, id="several_lines"),
        pytest.param("yaml", {"a": {"regex:^(127.0.0.1)$": "{{config.docker.interface}}"}, "b": 1}, {"b": 1}, id="replaces_old_values"),
        pytest.param("json", {"a": ["x"], "b": None, "c": 1}, {"c": 1}, id="lists_and_null"),
        pytest.param("ini", {"a.*": 1, "b": 2}, {"b": 2}, id="wildcard_elsewhere"),
        pytest.param("file", {"x": "{{server.build.unknown}}", "y": "1"}, {"y": "1"}, id="unknown_name"),
    ],
)  # fmt: skip
def test_values_of_files(parser: str, find: dict[str, Any], kept: dict[str, Any]) -> None:
    found = files(**{"data/x": {"parser": parser, "find": find}})
    assert found.template.files[0].values == kept
    if len(kept) < len(find):
        assert any(note.verdict == "dropped" and note.part.startswith("config.files.data/x.") for note in found.notes)


@pytest.mark.parametrize("path", ["/home/container/a.cfg", "./a.cfg", "//a.cfg", "/mnt/server/a.cfg"])
def test_paths_of_files_are_those_of_the_server(path: str) -> None:
    assert files(**{path: {"parser": "ini", "find": {"a": "1"}}}).template.files[0].path == "a.cfg"


@pytest.mark.parametrize(
    ("startup", "ready"),
    [
        pytest.param({"done": ")! For help, type "}, {"kind": "log", "pattern": ")! For help, type "}, id="text"),
        pytest.param({"done": ["one", "two (2)"]}, {"kind": "log", "pattern": r"one|two\ \(2\)", "regex": True}, id="list"),
        pytest.param({"done": ["regex:(?i)up", "x"]}, {"kind": "log", "pattern": "(?i)up|x", "regex": True}, id="mixed"),
        pytest.param({"done": "regex: ^Done \\d+"}, {"kind": "log", "pattern": "^Done \\d+", "regex": True}, id="regex"),
        pytest.param({"done": "regex:("}, {"kind": "started", "seconds": 10.0}, id="broken_regex"),
        pytest.param({"done": ["change this text 1", "change this text 2"]}, {"kind": "started", "seconds": 10.0}, id="never_filled_in"),
        pytest.param({"done": ""}, {"kind": "started", "seconds": 10.0}, id="empty"),
        pytest.param('{"done": "up"}', {"kind": "log", "pattern": "up"}, id="as_text"),
    ],
)  # fmt: skip
def test_the_line_that_says_ready(startup: Any, ready: dict[str, Any]) -> None:
    found = imported(config={"startup": startup, "stop": "stop"})
    assert found.template.ready == ready
    assert ready["kind"] == "log" or told(found, "config.startup", "changed")


@pytest.mark.parametrize(
    ("stop", "method", "value", "changed"),
    [
        ("^C", "signal", "SIGINT", False),
        ("^SIGTERM", "signal", "SIGTERM", False),
        ("^^C", "signal", "SIGTERM", True),
        ("SIGKILL", "signal", "SIGTERM", True),
        ("^SIGABRT", "signal", "SIGTERM", True),
        ("", "signal", "SIGTERM", True),
        (None, "signal", "SIGTERM", True),
        ("/quit", "command", "/quit", False),
        ("c_shutdown()", "command", "c_shutdown()", False),
        ("save\r\nquit", "command", "save", True),
    ],
)
def test_how_it_is_stopped(stop: Any, method: str, value: str, *, changed: bool) -> None:
    found = imported(config={"stop": stop, "startup": {"done": "x"}})
    assert (found.template.stop.method, found.template.stop.value) == (method, value)
    assert told(found, "config.stop", "changed") is changed
