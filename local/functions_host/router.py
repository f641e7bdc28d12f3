"""ASP.NET route templates: matching, constraints and precedence.

https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-template-reference

Routes form a tree by segment. The search takes, at each segment, literals before mixed and constrained parameters, these
before plain parameters, and catch-alls last; that is the order of ASP.NET's precedence digits, read from the left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote

from local.functions_host.constraints import Constraint, make_constraint

T = TypeVar("T")


class TemplateError(ValueError):
    """A route template that ASP.NET would refuse; the text is the reason."""


class _Name(NamedTuple):
    """A parameter `{name:constraint=default}`, `{name?}` or `{*name}`."""

    name: str
    constraints: tuple[Constraint, ...] = ()
    optional: bool = False
    default: str | None = None
    catch_all: bool = False

    def accepts(self, value: str) -> bool:
        return all(constraint(value) for constraint in self.constraints)


@dataclass(slots=True)
class _Segment:
    """One segment of a template: literal text, one parameter, or a mixture such as `{name}.{extension}`."""

    literal: str | None = None
    names: tuple[_Name, ...] = ()
    pattern: re.Pattern[str] | None = None

    @property
    def rank(self) -> int:
        if self.literal is not None:
            return 1
        first = self.names[0]
        if first.catch_all:
            return 4 if first.constraints else 5
        return 2 if self.pattern is not None or first.constraints else 3

    def match(self, text: str) -> dict[str, str] | None:
        """The parameters' values, or None."""
        if self.pattern is None:
            name = self.names[0]
            return {name.name: text} if text and name.accepts(text) else None
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = {name.name: found[index + 1] for index, name in enumerate(self.names)}
        return values if all(name.accepts(values[name.name]) for name in self.names) else None


@dataclass(slots=True)
class _Endpoint(Generic[T]):
    methods: frozenset[str] | None  # None answers every method
    target: T
    order: tuple[tuple[int, ...], int]
    defaults: Mapping[str, str]


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[str, _Node[T]] = field(default_factory=dict)
    parameters: list[tuple[_Segment, _Node[T]]] = field(default_factory=list)
    catch_alls: list[tuple[_Segment, _Endpoint[T]]] = field(default_factory=list)
    endpoints: list[_Endpoint[T]] = field(default_factory=list)


class Router(Generic[T]):
    """Finds the target of a method and path."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._literal: dict[str, _Node[T]] = {}  # nodes of routes without parameters, by their whole path
        self._count = 0

    def add(self, template: str, methods: frozenset[str] | None, target: T) -> None:
        """Add a route.

        Args:
            template: the ASP.NET template, with its prefix, without a leading slash.
            methods: upper-case methods, or None for all.
            target: what `match` returns.

        Raises:
            TemplateError: the template is malformed.
        """
        segments = parse_template(template)
        order = (tuple(segment.rank for segment in segments), self._count)
        self._count += 1
        defaults = {
            name.name: name.default for segment in segments for name in segment.names if name.default is not None
        }
        endpoint = _Endpoint(methods, target, order, defaults)
        node = self._root
        for index, segment in enumerate(segments):
            if _can_end_before(segments[index:]):
                _insert(node.endpoints, endpoint)
            if segment.literal is None and segment.names[0].catch_all:
                node.catch_alls.append((segment, endpoint))
                node.catch_alls.sort(key=lambda pair: pair[1].order)
                return
            node = _child(node, segment)
        _insert(node.endpoints, endpoint)
        if all(segment.literal is not None for segment in segments):
            self._literal["/" + template.strip("/").lower()] = node

    def match(self, method: str, path: str) -> tuple[T, dict[str, str]] | None:
        """The target of the best route that takes both path and method, with its parameters; None is a 404.

        Args:
            method: upper-case HTTP method.
            path: the request's path, still percent-encoded, with or without its leading slash.
        """
        node = self._literal.get(path)  # nothing goes before literals: most requests end here
        if node is not None:
            for endpoint in node.endpoints:
                if endpoint.methods is None or method in endpoint.methods:
                    return endpoint.target, {}
        parts = path.strip("/").split("/") if path.strip("/") else []
        if "%" in path:
            parts = [_decode(part) for part in parts]
        return _search(self._root, method, parts, 0, {})


def _search(
    node: _Node[T], method: str, parts: list[str], index: int, values: dict[str, str]
) -> tuple[T, dict[str, str]] | None:
    if index == len(parts):
        for endpoint in node.endpoints:
            if endpoint.methods is None or method in endpoint.methods:
                return endpoint.target, {**endpoint.defaults, **values} if endpoint.defaults else values
        return None
    text = parts[index]
    literal = node.literals.get(text.lower())
    if literal is not None and (found := _search(literal, method, parts, index + 1, values)) is not None:
        return found
    for segment, child in node.parameters:
        taken = segment.match(text)
        if taken is not None and (found := _search(child, method, parts, index + 1, {**values, **taken})) is not None:
            return found
    rest = "/".join(parts[index:])
    for segment, endpoint in node.catch_alls:
        name = segment.names[0]
        if (endpoint.methods is None or method in endpoint.methods) and name.accepts(rest):
            return endpoint.target, {**endpoint.defaults, **values, name.name: rest}
    return None


def _decode(part: str) -> str:
    """Percent-decode a segment; an encoded slash stays encoded, as in Kestrel."""
    return "%2F".join(unquote(piece) for piece in re.split("%2[fF]", part))


def _insert(endpoints: list[_Endpoint[T]], endpoint: _Endpoint[T]) -> None:
    endpoints.append(endpoint)
    endpoints.sort(key=lambda each: each.order)


def _child(node: _Node[T], segment: _Segment) -> _Node[T]:
    if segment.literal is not None:
        return node.literals.setdefault(segment.literal.lower(), _Node())
    child: _Node[T] = _Node()
    node.parameters.append((segment, child))
    node.parameters.sort(key=lambda pair: pair[0].rank)
    return child


def _can_end_before(rest: list[_Segment]) -> bool:
    """Whether a path may stop here: everything that follows may be absent."""
    return all(
        segment.literal is None
        and segment.pattern is None
        and (segment.names[0].optional or segment.names[0].default is not None or segment.names[0].catch_all)
        for segment in rest
    )


def parse_template(template: str) -> list[_Segment]:
    """The segments of a template.

    Raises:
        TemplateError: it is malformed.
    """
    text = template.strip("/")
    if not text:
        return []
    segments = [_parse_segment(part, template) for part in _split(text, template)]
    seen: set[str] = set()
    for index, segment in enumerate(segments):
        for name in segment.names:
            if name.name.lower() in seen:
                raise TemplateError(f'route "{template}" uses the parameter {name.name} twice')
            seen.add(name.name.lower())
            if name.catch_all and index != len(segments) - 1:
                raise TemplateError(f'route "{template}": the catch-all {{*{name.name}}} must come last')
            if name.optional and not _can_end_before(segments[index:]):
                raise TemplateError(f'route "{template}": the optional {{{name.name}?}} must come last')
    return segments


def _split(text: str, template: str) -> list[str]:
    """Cut at slashes that stand outside of braces (a regex constraint may hold slashes)."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "/" and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    parts.append(current)
    if depth != 0:
        raise TemplateError(f'route "{template}" has an unmatched brace')
    if any(not part for part in parts):
        raise TemplateError(f'route "{template}" has an empty segment')
    return parts


_PIECE = re.compile(r"\{((?:[^{}]|\{\{|\}\}|\{[^{}]*\})*)\}")


def _parse_segment(part: str, template: str) -> _Segment:
    pieces = list(_PIECE.finditer(part))
    if not pieces:
        return _Segment(literal=unquote(part))
    names = tuple(_parse_name(piece[1], template) for piece in pieces)
    if len(pieces) == 1 and pieces[0][0] == part:
        return _Segment(names=names)
    if any(name.catch_all or name.optional for name in names):
        raise TemplateError(f'route "{template}": a segment that mixes text and parameters cannot have optional parts')
    pattern, end = "", 0
    for piece in pieces:
        pattern += re.escape(part[end : piece.start()]) + "(.+)"
        end = piece.end()
    return _Segment(names=names, pattern=re.compile(pattern + re.escape(part[end:]), re.IGNORECASE))


_NAME = re.compile(r"(?P<stars>\*{0,2})(?P<name>[^:=?*{}/]+)(?P<rest>.*)", re.DOTALL)


def _parse_name(text: str, template: str) -> _Name:
    match = _NAME.fullmatch(text)
    if match is None:
        raise TemplateError(f'route "{template}" has the malformed parameter {{{text}}}')
    rest = match["rest"]
    optional = rest.endswith("?")
    rest = rest.removesuffix("?")
    default: str | None = None
    position = _outside_parentheses(rest, "=")
    if position >= 0:
        rest, default = rest[:position], rest[position + 1 :]
    constraints: list[Constraint] = []
    while rest.startswith(":"):
        end = _outside_parentheses(rest[1:], ":")
        one, rest = (rest[1:], "") if end < 0 else (rest[1 : end + 1], rest[end + 1 :])
        try:
            constraints.append(make_constraint(one))
        except ValueError as error:
            raise TemplateError(f'route "{template}": {error}') from error
    if rest:
        raise TemplateError(f'route "{template}" has the malformed parameter {{{text}}}')
    return _Name(match["name"], tuple(constraints), optional, default, bool(match["stars"]))


def _outside_parentheses(text: str, wanted: str) -> int:
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == wanted and depth == 0:
            return index
    return -1
