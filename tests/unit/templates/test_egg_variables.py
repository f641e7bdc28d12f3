"""Variables of eggs: their rules, defaults and names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.templates.egg_texts import imported, variable


@pytest.mark.parametrize(
    ("rules", "default", "expected"),
    [
        pytest.param("required|string|", "x", {"required": True}, id="trailing_bar"),
        pytest.param(["required", "string", ""], "x", {"required": True}, id="list_with_nothing"),
        pytest.param("", "latest", {"required": False, "default": "latest"}, id="no_rules"),
        pytest.param(None, None, {"required": False, "default": ""}, id="null"),
        pytest.param("nullable|required|string|max:64", "", {"required": False, "max_length": 64}, id="both"),
        pytest.param("nullable|string|in:,a,b", "", {"type": "choice", "choices": ("a", "b"), "required": False}, id="empty_choice"),
        pytest.param('required|in:"a b","c"', "c", {"choices": ("a b", "c"), "default": "c"}, id="quoted_choices"),
        pytest.param("required|boolean|in:true,false", "false", {"choices": ("true", "false"), "default": "false"}, id="boolean_words"),
        pytest.param("boolean", True, {"choices": ("0", "1"), "default": "1"}, id="boolean_value"),
        pytest.param("required|boolean", 0, {"default": "0"}, id="zero_as_number"),
        pytest.param("required|numeric|digits_between:1,3", "8", {"type": "integer", "maximum": 999.0, "default": 8}, id="digits_between"),
        pytest.param("required|digits:4", "0042", {"type": "text", "pattern": r"\d{4,4}", "default": "0042"}, id="digits_keep_zeros"),
        pytest.param("required|integer|gt:0|lte:10", "1", {"minimum": 1.0, "maximum": 10.0}, id="comparisons"),
        pytest.param("required|integer|in:2430930", "2430930", {"type": "choice", "default": "2430930"}, id="integer_choice"),
        pytest.param("nullable|string|size:32", "", {"min_length": 32, "max_length": 32, "default": ""}, id="size"),
        pytest.param("alpha_dash|between:1,100", "a", {"min_length": 1, "max_length": 100}, id="between_of_text"),
        pytest.param("required|url", "https://a.b", {"default": "https://a.b"}, id="url"),
        pytest.param(r"required|regex:/^(a|b)\/c$/i|max:9", "A/c", {"max_length": 9, "default": "A/c"}, id="regex_with_bars"),
        pytest.param(r"required|regex:#^[a-z|]+$#", "a|b", {"default": "a|b"}, id="regex_of_other_delimiters"),
        pytest.param("required|string|min:0|max:65535", "15", {"max_length": 8000}, id="text_bounds"),
    ],
)  # fmt: skip
def test_rules_in_every_spelling(rules: Any, default: Any, expected: dict[str, Any]) -> None:
    found = imported(variables=[variable("V", rules, default)]).template.variables[0]
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("rules", "default"),
    [
        pytest.param("required|integer|between:1,10", "11", id="out_of_bounds"),
        pytest.param("required|in:a,b", "c", id="no_choice"),
        pytest.param("required|regex:/^[0-9]+$/", "x", id="pattern"),
        pytest.param("required|string|max:3", "four", id="too_long"),
        pytest.param("required|boolean", "perhaps", id="neither"),
        pytest.param("required|date_format:Y-m-d", "x", id="unknown_rule"),
        pytest.param("required|regex:/(?<=a+)b(/", "x", id="broken_pattern"),
    ],
)
def test_defaults_that_break_their_rules_and_rules_that_cannot_be_kept_are_told(rules: str, default: str) -> None:
    assert any(note.part == "variables.V" for note in imported(variables=[variable("V", rules, default)]).notes)


@pytest.mark.parametrize(
    ("names", "kept", "part"),
    [
        pytest.param(["steam_user"], ["STEAM_USER"], "variables.steam_user", id="small_letters"),
        pytest.param(["Version", "VERSION"], ["VERSION"], "variables.VERSION", id="same_but_for_capitals"),
        pytest.param(["A", "A"], ["A"], "variables.A", id="twice"),
        pytest.param(["1ST"], [], "variables.1ST", id="begins_with_a_digit"),
        pytest.param(["MY-VAR"], [], "variables.MY-VAR", id="dash"),
        pytest.param([""], [], "variables.", id="empty"),
        pytest.param(["SERVER_PORT"], [], "variables.SERVER_PORT", id="given_by_the_panel"),
        pytest.param(["A" * 65], [], "variables." + "A" * 40, id="long"),
    ],
)
def test_names_of_variables(names: list[str], kept: list[str], part: str) -> None:
    found = imported(variables=[variable(name) for name in names])
    assert [each.name for each in found.template.variables] == kept
    assert any(note.part == part for note in found.notes)


def test_flags_as_numbers_and_texts() -> None:
    flags = imported(variables=[variable("V", user_viewable=0, user_editable="0")]).template.variables[0]
    assert (flags.visible, flags.editable) == (False, False)


@pytest.mark.parametrize(
    ("name", "rules", "default", "reserved"),
    [
        ("QUERY_PORT", "required|numeric|max:65535", "27015", True),
        ("TXADMIN_PORT", "required|string|max:20", "40120", True),
        ("FILE_TRANSFER", "required|integer|between:1025,65535", "30033", True),
        ("RCON_PORT", "nullable|integer", "", False),
        ("PORT_FORWARDING", "required|boolean", "1", False),
        ("SUPPORT", "nullable|string", "x", False),
    ],
)
def test_ports_among_the_variables(name: str, rules: str, default: str, *, reserved: bool) -> None:
    template = imported(variables=[variable(name, rules, default)]).template
    assert (len(template.ports) == 2) is reserved
    assert (not template.variables) is reserved
