"""Templates: what they may say, what values they allow, what is rendered, what a change needs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.messaging.server_spec import LogProbe
from shared.templates.documents import export, parse, validate
from shared.templates.errors import TemplateInvalid, VariablesInvalid
from shared.templates.models import Resources, Variable
from shared.templates.rendering import Instance, render, resource_faults, sample
from shared.templates.service import shipped
from shared.templates.variables import check, resolve
from shared.templates.versions import compare, effect

BASE: dict[str, Any] = {
    "schema": 1,
    "key": "small",
    "name": "Small",
    "game": "small",
    "start": {"argv": "./game --port {{ports.game}}"},
    "ports": [{"name": "game", "protocol": "udp", "prefer": 7777}],
}


def build(**changes: Any) -> Any:
    return validate({**BASE, **changes})


@pytest.mark.parametrize("key", sorted(shipped()))
def test_a_shipped_template_renders_and_survives_export(key: str) -> None:
    template = shipped()[key]
    assert parse(export(template)) == template
    assert render(template, sample(template)).launch.argv
    assert not template.draft


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("teeworlds", "SERVER_NAME"),
        ("teeworlds", "MOTD"),
        ("teeworlds", "PASSWORD"),
        ("counter-strike-2", "SERVER_NAME"),
    ],
)
def test_a_value_that_stands_in_quotes_cannot_end_them(key: str, name: str) -> None:
    variable = shipped()[key].variable(name)
    assert variable is not None
    assert check(variable, "Ann's & Bob's: ünï") == "Ann's & Bob's: ünï"
    for value in ('x"; sv_rcon_password "mine', "x\\"):
        with pytest.raises(ValueError, match="does not match"):
            check(variable, value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"key": "Not A Slug"}, "key", id="key"),
        pytest.param({"start": {"argv": []}}, "start.argv", id="no_command"),
        pytest.param({"start": {"argv": "./a 'open"}}, "start.argv", id="open_quote"),
        pytest.param({"start": {"argv": ["./a", "{{variables.NOPE}}"]}}, "start.argv[1]", id="unknown_placeholder"),
        pytest.param({"start": {"argv": ["./a", {"when": "NOPE"}]}}, "start.argv[1].when", id="unknown_condition"),
        pytest.param({"misspelt": 1}, "misspelt", id="unknown_field"),
        pytest.param({"variables": [{"name": "A", "default": 1}, {"name": "A"}]}, "variables", id="twice"),
        pytest.param({"variables": [{"name": "A", "pattern": "("}]}, "variables[0].pattern", id="bad_pattern"),
        pytest.param(
            {"variables": [{"name": "A", "type": "integer", "default": "x"}]}, "variables[0].default", id="bad_default"
        ),
        pytest.param({"install": [{"kind": "sh", "script": "rm -rf /"}]}, "install.steps[0].kind", id="unknown_step"),
        pytest.param(
            {"install": [{"kind": "write", "path": "../x", "content": ""}]}, "install.steps[0].path", id="escape"
        ),
        pytest.param(
            {"install": [{"kind": "download", "url": "https://x", "path": "a", "digest": "md5:0"}]},
            "install.steps[0].digest",
            id="weak_digest",
        ),
        pytest.param(
            {"install": [{"kind": "npm", "packages": ["left-pad"]}]}, "install.steps[0].packages", id="unpinned"
        ),
        pytest.param({"ready": {"kind": "port", "port": "nope"}}, "ready.port", id="probe_of_no_port"),
        pytest.param(
            {"ports": [{"name": "game"}, {"name": "b", "offset_of": "c"}]}, "ports[1].offset_of", id="offset_of_nothing"
        ),
        pytest.param({"minimum": {"memory_mib": 4096}}, "resources.memory_mib", id="below_its_own_minimum"),
    ],
)
def test_a_wrong_template_is_refused_at_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(TemplateInvalid) as refused:
        build(**change)
    assert field in [error.field for error in refused.value.errors]


def test_yaml_bombs_and_giants_are_refused() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n"
    for text in (bomb, "x: " + "y" * 300_000, "{" * 5000, "- " * 3000, "!!python/object/apply:os.system ['true']"):
        with pytest.raises(TemplateInvalid):
            parse(text)


@pytest.mark.parametrize(
    ("variable", "raw", "value"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 5}, "3", 3),
        ({"type": "integer"}, True, None),
        ({"type": "integer"}, 1.5, None),
        ({"type": "integer", "maximum": 5}, 6, None),
        ({"type": "number"}, "nan", None),
        ({"type": "boolean"}, "yes", True),
        ({"type": "boolean"}, "perhaps", None),
        ({"type": "choice", "choices": ["a"]}, "a", "a"),
        ({"type": "choice", "choices": ["a"]}, "b", None),
        ({"max_length": 3}, "four", None),
        ({"pattern": "[a-z]+"}, "abc", "abc"),
        ({"pattern": "[a-z]+"}, "abc\nx", None),
        ({}, "nul\x00", None),
        ({"type": "arguments"}, "'open", None),
    ],
)
def test_values_are_held_to_their_variable(variable: dict[str, Any], raw: Any, value: Any) -> None:
    made = Variable.model_validate({"name": "V", **variable})
    if value is None:
        with pytest.raises(ValueError, match=r".+"):
            check(made, raw)
    else:
        assert check(made, raw) == value


def test_a_pattern_built_to_run_for_ever_is_cut_off() -> None:
    evil = Variable.model_validate({"name": "V", "pattern": "(a|aa)+$"})
    began = time.monotonic()
    with pytest.raises(ValueError, match="does not match"):
        check(evil, "a" * 900 + "b")
    assert time.monotonic() - began < 5


def test_unknown_and_locked_values_are_named_all_at_once() -> None:
    template = build(variables=[{"name": "A", "default": "x", "editable": False}, {"name": "B"}])
    with pytest.raises(VariablesInvalid) as refused:
        resolve(template, {"A": "y", "C": 1}, generate=lambda kind: kind, locked=frozenset({"A"}))
    assert {(error.field, error.code) for error in refused.value.errors} == {
        ("variables.A", "not_editable"),
        ("variables.B", "invalid_value"),
        ("variables.C", "unknown_variable"),
    }


def test_rendering_splits_arguments_obeys_conditions_and_keeps_types() -> None:
    template = build(
        variables=[
            {"name": "EXTRA", "type": "arguments", "required": False, "default": ""},
            {"name": "FLAG", "type": "boolean", "default": False},
            {"name": "SLOTS", "type": "integer", "default": 8},
        ],
        start={
            "argv": ["./a", "{{variables.EXTRA}}", {"when": "FLAG", "then": ["-f"], "otherwise": ["-g"]}],
            "env": {"R": "{{node.root}}"},
        },
        files=[
            {
                "path": "a.json",
                "format": "json",
                "values": {"slots": "{{variables.SLOTS}}", "text": "n={{variables.SLOTS}}"},
            }
        ],
        ready={"kind": "log", "pattern": "on {{ports.game}}"},
    )
    values = {"EXTRA": "-x 'two words' ; rm", "FLAG": True, "SLOTS": 4}
    spec = render(template, Instance("srv_1", "n", 3, "on", values, {"game": 7777}, template.resources))
    assert spec.launch.argv == ("./a", "-x", "two words", ";", "rm", "-f")
    assert spec.launch.env == {"R": "{{node.root}}"}
    assert spec.files[0].values == {"slots": 4, "text": "n=4"}
    assert spec.ready == LogProbe("on 7777")


def test_a_value_that_looks_like_a_placeholder_stays_text() -> None:
    template = build(
        variables=[{"name": "A"}, {"name": "B", "secret": True}], start={"argv": ["./a", "{{variables.A}}"]}
    )
    values = {"A": "{{variables.B}}", "B": "hidden"}
    spec = render(template, Instance("srv_1", "n", 1, "on", values, {"game": 1}, template.resources))
    assert spec.launch.argv == ("./a", "{{variables.B}}")


def test_what_a_change_needs() -> None:
    old = build(variables=[{"name": "A", "default": "x"}], start={"argv": ["./a", "{{variables.A}}"]})
    new = build(
        variables=[{"name": "A", "default": "y"}],
        start={"argv": ["./b", "{{variables.A}}"]},
        install=[{"kind": "npm", "packages": ["a@1.0.0"]}],
    )
    one = render(old, sample(old))
    assert effect(one, one) == "none"
    assert effect(one, render(build(start={"argv": "./c"}), sample(old))) == "restart"
    assert effect(one, render(new, sample(new))) == "reinstall"
    assert {change.path for change in compare(old, new)} == {"variables.A.default", "start.argv", "install"}


def test_resources_below_the_minimum_name_both_figures() -> None:
    template = build(minimum={"memory_mib": 512})
    assert "512 MiB, 100 were given" in resource_faults(template, Resources(memory_mib=100))[0].message


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [*BASE, "variables", "install", "files", "ready", "health", "stop", "crash", "minimum", "writable"]
        ),
        ANY,
        max_size=4,
    )
)
def test_fuzzed_templates_are_read_or_refused_and_nothing_else(changes: dict[str, Any]) -> None:
    try:
        template = validate({**BASE, **changes})
    except TemplateInvalid:
        return
    assert parse(export(template)) == template
