"""Eggs that are broken, mutated or hostile: each is imported, or refused with its reason; nothing else happens."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.templates.documents import export, parse
from shared.templates.eggs import import_egg
from shared.templates.eggs.lexer import Word, lex
from shared.templates.errors import TemplateInvalid
from shared.templates.rendering import render, sample
from tests.unit.templates.egg_texts import IMAGE, egg, server, values, variable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("startup", "config", "variables", "scripts", "features", "docker_images", "images", "name", "file_denylist")
WHOLE: dict[str, Any] = values(
    startup='cd a && ./g {{A}} $( [ "$B" == "1" ] && printf %s \'-b\' ) ${C:-x}',
    docker_images=IMAGE,
    features=["eula"],
    config={
        "files": {"a.json": {"parser": "json", "find": {"a.*.b": "{{env.A}}"}}},
        "startup": {"done": ["up", "regex:x+"]},
        "stop": "^C",
    },
    scripts={"installation": {"script": "git clone x", "container": "a/b:c", "entrypoint": "bash"}},
    variables=[
        variable("A", "required|string|max:9", "x"),
        variable("B", "required|boolean", "1"),
        variable("C", "nullable|regex:/^(a|b)$/", ""),
        variable("Q_PORT", "required|integer|between:1,9", "9"),
    ],
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON tree."""
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += paths(item, (*at, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of the tree with something else at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def comes_through_or_is_refused(text: str, *, scripts: bool = False) -> None:
    try:
        found = import_egg(text, scripts=scripts)
    except TemplateInvalid:
        return
    assert parse(export(found.template)) == found.template
    render(found.template, sample(found.template))
    assert all(note.reason and note.part.isprintable() for note in found.notes)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
def test_fields_of_any_shape(changes: dict[str, Any]) -> None:
    comes_through_or_is_refused(egg(**changes))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(paths(WHOLE)), JSON), min_size=1, max_size=3), st.booleans(), st.booleans())
def test_a_whole_egg_with_other_things_at_its_places(
    mutations: list[tuple[tuple[Any, ...], Any]], scripts: bool, as_yaml: bool
) -> None:
    mutated: Any = WHOLE
    for path, new in mutations:
        if path in paths(mutated):
            mutated = replaced(mutated, path, new)
    text = yaml.safe_dump(mutated, allow_unicode=True) if as_yaml else json.dumps(mutated)
    comes_through_or_is_refused(text, scripts=scripts)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 40), st.text(max_size=10))
def test_a_text_with_a_piece_cut_out_and_another_put_in(at: int, length: int, instead: str) -> None:
    text = json.dumps(WHOLE)
    comes_through_or_is_refused(text[: at % len(text)] + instead + text[at % len(text) + length :])


LINES = st.text(alphabet="ab ./-\"'$(){}[]|&;<>=\\`\n#*~A:%!SERVER_PORT", max_size=80)


@settings(max_examples=200, deadline=None)
@given(LINES, st.booleans())
def test_start_lines_of_any_shape(line: str, image: bool) -> None:
    comes_through_or_is_refused(
        egg(startup=f"./game {line}", docker_images=IMAGE if image else {}, variables=[variable("A")])
    )


@settings(max_examples=150, deadline=None)
@given(LINES, st.sampled_from(["$(reboot)", "`reboot`", '"; reboot; "', "a b", "--x", "\n", "${A}", "{{server.name}}"]))
def test_no_value_of_a_member_is_ever_read_by_a_shell(line: str, value: str) -> None:
    try:
        template = import_egg(
            egg(startup=f"./game {line} {{{{A}}}}", docker_images=IMAGE, variables=[variable("A")])
        ).template
    except TemplateInvalid:
        return
    usual, evil = render(template, server(template, A="usual")), render(template, server(template, A=value))
    if template.start.argv[0] == "bash" and template.start.argv[1:2] == ("-c",):
        assert evil.launch.argv == usual.launch.argv
    assert evil.launch.argv[0] == usual.launch.argv[0]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet="abc-_./=, ", max_size=8), min_size=1, max_size=6))
def test_quoted_words_are_the_words(texts: list[str]) -> None:
    for quote in ("'", '"', '\\"'):
        line = " ".join(f"{quote}{text}{quote}" for text in texts)
        assert [token.text for token in lex(line) if isinstance(token, Word)] == texts
