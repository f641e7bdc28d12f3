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
        pytest.param("xml", "<s><a k='1'>x</a></s>", {"s.a": "y", "s.a.@k": 2, "s.b.c": 3}, '<?xml version="1.0" encoding="utf-8"?>\n<s><a k="2">y</a><b><c>3</c></b></s>\n', id="xml"),
        pytest.param("xml", "", {"s.a": "y", "s.b.c": 3}, '<?xml version="1.0" encoding="utf-8"?>\n<s>\n  <a>y</a>\n  <b>\n    <c>3</c>\n  </b>\n</s>\n', id="xml_new"),
        pytest.param("properties", "", {"motd": "Grüße § 🎮", "k": " x\\y"}, "motd=Gr\\u00FC\\u00DFe \\u00A7 \\uD83C\\uDFAE\nk=\\ x\\\\y\n", id="properties_are_ascii"),
        pytest.param("json", "", {"a": "ü ☃"}, '{\n  "a": "ü ☃"\n}\n', id="json_unicode"),
        pytest.param("ini", "; é\n[ü]\nk = v\n", {"ü.k": "ñ 🎮"}, "; é\n[ü]\nk=ñ 🎮\n", id="ini_unicode"),
        pytest.param("text", "// ħ\nset name x\n", {"set name": "set name ж"}, "// ħ\nset name ж\n", id="text_unicode"),
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


COMMENTED: dict[str, tuple[str, dict[str, Any], str]] = {
    "yaml": (
        "# café\n\nworld: \"old\"    # its name\n\n# how many\nslots: 8\nlist:\n  - a   # first\n  - {x: 1, y: 'on'}\nodd: !ruby/x 1\n",
        {"world": "☃: #1", "slots": 9, "list.1.x": 2, "new.deep": True, "mode": "on"},
        "# café\n\nworld: '☃: #1'  # its name\n\n# how many\nslots: 9\nlist:\n  - a   # first\n  - {x: 2, y: 'on'}\nodd: !ruby/x 1\nnew:\n  deep: true\nmode: 'on'\n",
    ),
    "xml": (
        "<?xml version='1.0'?>\n<!-- hé -->\n<s v='1'>\n\t<!-- inner -->\n\t<k>old</k><!-- tail -->\n\t<z:q xmlns:z='u'>ß &amp; ä</z:q>\n</s>\n<!-- end -->\n",
        {"s.k": "nëu <1>", "s.@v": 2, "s.n.m": 1},
        '<?xml version="1.0" encoding="utf-8"?>\n<!-- hé -->\n<s v="2">\n\t<!-- inner -->\n\t<k>nëu &lt;1&gt;</k><!-- tail -->\n\t<z:q xmlns:z="u">ß &amp; ä</z:q>\n\t<n>\n    <m>1</m>\n  </n>\n</s>\n<!-- end -->\n',
    ),
    "json": ('{"a": 1,\n   "b":2}', {"b": 3}, '{\n  "a": 1,\n  "b": 3\n}\n'),
}  # fmt: skip


@pytest.mark.parametrize("format_", COMMENTED)
def test_what_is_not_set_stays_as_it_was_written(tmp_path: Path, format_: Any) -> None:
    before, values, after = COMMENTED[format_]
    path = tmp_path / "f"
    path.write_text(before)
    assert render(ConfigFile("f", format_, values), tmp_path)
    assert path.read_text() == after
    assert not render(ConfigFile("f", format_, values), tmp_path)


@pytest.mark.parametrize(
    ("format_", "before", "values"),
    [
        pytest.param("yaml", "a:   1   # x\nb: 'y'\nl: [1,   1]\n", {"a": 1, "b": "y", "l.*": 1}, id="yaml"),
        pytest.param("json", '{"a":1,   "b":"y"}', {"a": 1, "b": "y"}, id="json"),
        pytest.param("xml", "<a  k='1'><b>y</b></a>", {"a.@k": 1, "a.b": "y"}, id="xml"),
    ],
)
def test_a_file_that_has_it_all_is_not_touched(
    tmp_path: Path, format_: Any, before: str, values: dict[str, Any]
) -> None:
    (tmp_path / "f").write_text(before)
    assert not render(ConfigFile("f", format_, values), tmp_path)
    assert (tmp_path / "f").read_text() == before


def test_yaml_that_holds_comments_alone_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("# only words\n")
    render(ConfigFile("f", "yaml", {"a": 1}), tmp_path)
    assert (tmp_path / "f").read_text() == "# only words\na: 1\n"


@pytest.mark.parametrize(
    "word", ["on", "No", "y", "null", "~", "1", "1.5", "12:30", "0x1", "2026-01-01", "a: b", "- x", "", "é\nü\t#"]
)
def test_a_text_in_yaml_is_a_text_for_every_reader(tmp_path: Path, word: str) -> None:
    values: dict[str, Any] = {"a.b": word}
    render(ConfigFile("f", "yaml", values), tmp_path)
    assert yaml.safe_load((tmp_path / "f").read_text()) == {"a": {"b": word}}, "read as YAML 1.1"


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
