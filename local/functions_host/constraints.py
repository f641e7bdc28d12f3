"""ASP.NET route constraints. https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-constraints"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import datetime

Constraint = Callable[[str], bool]

_WHOLE = re.compile(r"[+-]?\d+")
_REAL = re.compile(r"[+-]?(\d+(,\d{3})*(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def _within(bits: int) -> Constraint:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return lambda text: _WHOLE.fullmatch(text) is not None and low <= int(text) <= high


def _is_guid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _is_datetime(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


_PLAIN: dict[str, Constraint] = {
    "int": _within(32),
    "long": _within(64),
    "bool": lambda text: text.lower() in ("true", "false"),
    "guid": _is_guid,
    "datetime": _is_datetime,
    "decimal": lambda text: _REAL.fullmatch(text) is not None,
    "double": lambda text: _REAL.fullmatch(text) is not None,
    "float": lambda text: _REAL.fullmatch(text) is not None,
    "alpha": lambda text: re.fullmatch("[A-Za-z]*", text) is not None,
    "required": lambda text: text != "",
}


def _length(low: int, high: int | None = None) -> Constraint:
    top = low if high is None else high
    return lambda text: low <= len(text) <= top


def _number(check: Callable[[int], bool]) -> Constraint:
    return lambda text: _WHOLE.fullmatch(text) is not None and check(int(text))


_WITH_ARGUMENTS: dict[str, Callable[..., Constraint]] = {
    "length": _length,
    "minlength": lambda low: lambda text: len(text) >= low,
    "maxlength": lambda high: lambda text: len(text) <= high,
    "min": lambda low: _number(lambda value: value >= low),
    "max": lambda high: _number(lambda value: value <= high),
    "range": lambda low, high: _number(lambda value: low <= value <= high),
}
_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)


def make_constraint(text: str) -> Constraint:
    """The check behind a constraint's text, such as `int`, `length(3,9)` or `regex(^a+$)`.

    Raises:
        ValueError: there is no such constraint, or its arguments are wrong.
    """
    name = text.lower()
    if name in _PLAIN:
        return _PLAIN[name]
    call = _CALL.fullmatch(text)
    if call is None:
        raise ValueError(f"there is no route constraint {text}")
    name, argument = call[1].lower(), call[2]
    if name == "regex":
        # ASP.NET searches (it does not anchor), without regard to case; braces are doubled in templates.
        pattern = re.compile(argument.replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
        return lambda value: pattern.search(value) is not None
    if name not in _WITH_ARGUMENTS:
        raise ValueError(f"there is no route constraint {text}")
    try:
        return _WITH_ARGUMENTS[name](*(int(each) for each in argument.split(",")))
    except (TypeError, ValueError):
        raise ValueError(f"the route constraint {text} has wrong arguments") from None
