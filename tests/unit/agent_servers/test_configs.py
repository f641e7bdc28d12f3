"""Configuration files: given keys are set, all else stays, and no value can become a setting of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.servers.configs import render
from agent.servers.errors import StepFailed
from shared.messaging.server_spec import ConfigFile


@pytest.mark.parametrize(
    ("format_", "before", "values", "after"),
    [
        pytest.param("properties", "# hi\nport=1\nother = x\n", {"port": 2, "new": True}, "# hi\nport=2\nother = x\nnew=true\n", id="properties"),
        pytest.param("properties", "a\\:b=1\n", {"a:b": "x"}, "a\\:b=x\n", id="properties_escapes"),
        pytest.param("properties", "", {"motd": "one\ntwo=3"}, "motd=one two=3\n", id="properties_one_line"),
        pytest.param("json", '{"a": {"b": 1}, "l": [1, 2], "k": 3}', {"a.b": 2, "l.1": 5, "n.m": "x"}, '{\n  "a": {\n    "b": 2\n  },\n  "l": [\n    1,\n    5\n  ],\n  "k": 3,\n  "n": {\n    "m": "x"\n  }\n}\n', id="json"),
        pytest.param("yaml", "a:\n  b: 1\nk: v\n", {"a.b": 2, "a.c": False}, "a:\n  b: 2\n  c: false\nk: v\n", id="yaml"),
        pytest.param("ini", "; hi\n[one]\na = 1\n\n[two]\nb=2\n", {"one.a": 5, "two.c": "x", "three.d": 1}, "; hi\n[one]\na=5\n\n[two]\nb=2\nc=x\n[three]\nd=1\n", id="ini"),
        pytest.param("xml", "<s><a k='1'>x</a></s>", {"s.a": "y", "s.a.@k": 2, "s.b.c": 3}, '<?xml version="1.0" encoding="utf-8"?>\n<s>\n  <a k="2">y</a>\n  <b>\n    <c>3</c>\n  </b>\n</s>\n', id="xml"),
        pytest.param("text", "set port 1\nset name x\n", {"set port": "set port 2", "seta": "seta 1"}, "set port 2\nset name x\nseta 1\n", id="text"),
    ],
)  # fmt: skip
def test_each_format(tmp_path: Path, format_: Any, before: str, values: dict[str, Any], after: str) -> None:
    path = tmp_path / "sub" / "file"
    path.parent.mkdir()
    path.write_text(before)
    file = ConfigFile("sub/file", format_, values)
    assert render(file, tmp_path) is True
    assert path.read_text() == after
    assert render(file, tmp_path) is False, "rendered again, nothing changes"


def test_a_missing_file_is_made_with_its_folders_or_left(tmp_path: Path) -> None:
    assert not render(ConfigFile("a/b.json", "json", {"x": 1}, create=False), tmp_path)
    assert render(ConfigFile("a/b.json", "json", {"x": 1}), tmp_path)
    assert (tmp_path / "a/b.json").read_text() == '{\n  "x": 1\n}\n'


@pytest.mark.parametrize(
    ("format_", "before"),
    [
        ("json", "{"),
        ("yaml", "a: [1"),
        ("xml", "<a"),
        ("xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"),
        ("json", "[1]"),
    ],
)
def test_what_cannot_be_read_is_named_and_left(tmp_path: Path, format_: Any, before: str) -> None:
    (tmp_path / "f").write_text(before)
    with pytest.raises(StepFailed) as failed:
        render(ConfigFile("f", format_, {"a.b": 1}), tmp_path)
    assert failed.value.code == "bad_config"
    assert (tmp_path / "f").read_text() == before


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret=1\n")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "server.properties").symlink_to(outside)
    with pytest.raises(StepFailed) as failed:
        render(ConfigFile("server.properties", "properties", {"secret": 2}), folder)
    assert failed.value.code == "path_escapes"
    assert outside.read_text() == "secret=1\n"


def test_a_shared_content_is_replaced_never_written_into(tmp_path: Path) -> None:
    shared = tmp_path / "object"
    shared.write_text("a=1\n")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/f").hardlink_to(shared)
    render(ConfigFile("f", "properties", {"a": 2}), tmp_path / "files")
    assert shared.read_text() == "a=1\n"


@given(st.text(max_size=40))
def test_no_value_makes_a_second_setting(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    if any("\ud800" <= char <= "\udfff" for char in value):
        return
    folder = tmp_path_factory.mktemp("f")
    for format_ in (
        "properties",
        "ini",
    ):  # in text the lines are the template's own: placeholders are filled by one line
        render(ConfigFile(format_, format_, {"s.k" if format_ == "ini" else "k": value}), folder)  # type: ignore[arg-type]
        lines = (folder / format_).read_text().split("\n")
        assert len([line for line in lines if line and not line.startswith("[")]) <= 1


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        pytest.param({"a": [{"p": 1}, {"p": 2}]}, "a.*.p", {"a": [{"p": 9}, {"p": 9}]}, id="every_element"),
        pytest.param(
            {"a": {"x": {}, "y": {"p": 1}}}, "a.*.p", {"a": {"x": {"p": 9}, "y": {"p": 9}}}, id="every_member"
        ),
        pytest.param({}, "a.*.p", {"a": {}}, id="of_nothing"),
        pytest.param({}, "a.0.p", {"a": [{"p": 9}]}, id="first_of_a_list_that_is_not_there"),
        pytest.param({"a": [1]}, "a.1", {"a": [1, 9]}, id="one_more"),
    ],
)
@pytest.mark.parametrize("format_", ["json", "yaml"])
def test_places_in_trees(tmp_path: Path, format_: Any, before: Any, path: str, after: Any) -> None:
    (tmp_path / "f").write_text(json.dumps(before))
    render(ConfigFile("f", format_, {path: 9}), tmp_path)
    assert yaml.safe_load((tmp_path / "f").read_text()) == after


def test_text_lines_are_changed_and_added_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("#security:\nport 1\nother\n")
    values = {"#security:": "security:\r\n  on: true", "port": "port 2", "//port": "port 3"}
    render(ConfigFile("f", "text", values, add=False), tmp_path)
    assert (tmp_path / "f").read_text() == "security:\n  on: true\nport 2\nother\n"
    render(ConfigFile("f", "text", {"new": "new 1"}), tmp_path)
    assert (tmp_path / "f").read_text().endswith("other\nnew 1\n")
