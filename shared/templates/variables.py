"""Checking the values that members give to a template's variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from shared.templates.errors import VariablesInvalid, fault
from shared.templates.models import Scalar, Template, Variable

PATTERN_SECONDS = 0.2  # a tenant's pattern may be built to run for ever
TRUE, FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off", ""}


def resolve(
    template: Template,
    given: Mapping[str, Any],
    *,
    generate: Callable[[str], str],
    locked: frozenset[str] = frozenset(),
) -> dict[str, Scalar]:
    """The value of every variable: the member's, else a generated one, else the default.

    Args:
        template: whose variables they are.
        given: what the member set; a name outside the template is a fault.
        generate: makes a password or token (its kind is the argument).
        locked: names that this member may not set.

    Raises:
        VariablesInvalid: with everything that is wrong, not only the first.
    """
    faults = [
        fault(f"variables.{name}", "unknown_variable", f"the template has no variable {name[:80]}")
        for name in given
        if template.variable(name) is None
    ]
    values: dict[str, Scalar] = {}
    for variable in template.variables:
        field = f"variables.{variable.name}"
        if variable.name in given and variable.name in locked:
            faults.append(fault(field, "not_editable", f"{variable.name} is fixed by the template"))
            continue
        raw = given.get(variable.name)
        if raw is None and variable.generate:
            raw = generate(variable.generate)
        if raw is None:
            raw = variable.default
        try:
            value = check(variable, raw)
        except ValueError as error:
            faults.append(fault(field, "invalid_value", str(error)))
            continue
        if value is not None:
            values[variable.name] = value
    if faults:
        raise VariablesInvalid(faults)
    return values


def check(variable: Variable, raw: Any) -> Scalar | None:
    """The value in the variable's type; None where an optional one has none.

    Raises:
        ValueError: with the reason.
    """
    if raw is None or (raw == "" and variable.type != "boolean"):
        if variable.required and raw is None:
            raise ValueError("a value is required")
        if (
            variable.required
            and variable.min_length == 0
            and variable.type in ("text", "arguments")
            and not variable.pattern
        ):
            return ""
        if variable.required:
            raise ValueError("a value is required, not an empty one")
        return "" if variable.type in ("text", "arguments") else None
    if not isinstance(raw, str | int | float | bool):
        raise ValueError(  # noqa: TRY004  # one kind of refusal for all values
            f"expected {variable.type}, got {type(raw).__name__}"
        )
    return _CHECKS[variable.type](variable, raw)


def _text(variable: Variable, raw: Scalar) -> str:
    value = raw if isinstance(raw, str) else str(raw).lower() if isinstance(raw, bool) else str(raw)
    if any((ord(char) < 32 and char not in "\t\n") or ord(char) == 127 for char in value):
        raise ValueError("holds a control character")
    if not variable.min_length <= len(value) <= variable.max_length:
        bounds = f"{variable.min_length} to {variable.max_length}"
        raise ValueError(f"has {len(value)} characters, allowed are {bounds}")
    if variable.pattern and not matches(variable.pattern, value):
        raise ValueError(f"does not match {variable.pattern}")
    return value


def _number(variable: Variable, raw: Scalar) -> int | float:
    whole = variable.type == "integer"
    try:
        value = (int(raw) if whole else float(raw)) if not isinstance(raw, bool) else None
    except (ValueError, OverflowError):
        value = None
    if value is None or (whole and isinstance(raw, float) and raw != value) or value != value:
        raise ValueError(f"{str(raw)[:40]!r} is not {'a whole number' if whole else 'a number'}")
    low, high = variable.minimum, variable.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{value} is outside {_bound(low)} to {_bound(high)}")
    if abs(value) > 2**53:
        raise ValueError(f"{value} is outside what JSON carries exactly")
    return value


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _boolean(_: Variable, raw: Scalar) -> bool:
    if isinstance(raw, bool):
        return raw
    word = str(raw).lower()
    if word not in TRUE | FALSE:
        raise ValueError(f"{word[:40]!r} is neither true nor false")
    return word in TRUE


def _choice(variable: Variable, raw: Scalar) -> str:
    value = str(raw).lower() if isinstance(raw, bool) else str(raw)
    if value not in variable.choices:
        raise ValueError(f"{value[:40]!r} is not one of {', '.join(variable.choices)}")
    return value


def _arguments(variable: Variable, raw: Scalar) -> str:
    value = _text(variable, raw)
    try:
        shlex.split(value)
    except ValueError as error:
        raise ValueError(f"cannot be split into arguments: {error}") from None
    return value


_CHECKS: dict[str, Callable[[Variable, Scalar], Scalar]] = {
    "text": _text,
    "integer": _number,
    "number": _number,
    "boolean": _boolean,
    "choice": _choice,
    "arguments": _arguments,
}


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value matches; a pattern that takes too long does not."""
    import regex

    try:
        return regex.fullmatch(pattern, value, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        return False


def pattern_fault(pattern: str) -> str | None:
    """Why a pattern cannot be used, if so."""
    import regex

    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        return f"not a regular expression: {error}"
    return None if re.search(r"\(\?(R|&|P>)", pattern) is None else "recursive patterns are not allowed"
