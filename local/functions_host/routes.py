"""Checks of an app's routes against each other and against the host's own addresses."""

from __future__ import annotations

from local.common.errors import StartError
from local.functions_host.http import methods_of, route_of
from local.functions_host.model import Function
from local.functions_host.router import TemplateError, parse_template

_RESERVED = ("admin", "runtime")


def check_routes(functions: list[Function], prefix: str) -> None:
    """Refuse what the real host refuses: malformed templates, reserved first segments, two functions on one route.

    Raises:
        StartError: with every reason.
    """
    problems: list[str] = []
    taken: list[tuple[str, frozenset[str] | None, Function]] = []
    for function in functions:
        if function.kind != "httpTrigger":
            continue
        template, methods = route_of(function, prefix), methods_of(function)
        try:
            parse_template(template)
        except TemplateError as error:
            problems.append(f"function {function.name} ({function.source}): {error}")
            continue
        own = route_of(function, "")
        if own.lower().split("/")[0] in _RESERVED:
            problems.append(
                f"function {function.name} ({function.source}): the route {own} conflicts with one or more built in routes"
            )
        for other_template, other_methods, other in taken:
            if template.lower() == other_template.lower() and _share(methods, other_methods):
                problems.append(
                    f"function {function.name} ({function.source}): its route {template} conflicts with the route of {other.name} ({other.source})"
                )
        taken.append((template, methods, function))
    if problems:
        raise StartError("; ".join(problems))


def _share(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return one is None or other is None or bool(one & other)
