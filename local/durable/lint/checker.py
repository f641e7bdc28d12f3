"""Going through a file."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from local.durable.lint.names import decorators, imported, qualified
from local.durable.lint.rules import LINKS, NON_DETERMINISTIC, OUTSIDE, RULES, SENDERS, STRICT_TYPING

Function = ast.FunctionDef | ast.AsyncFunctionDef
_ALLOW = re.compile(r"#\s*durable:\s*allow\s+(DUR\d+)\s+\S")
_TRIGGERS = {"orchestration_trigger", "activity_trigger", "entity_trigger", "durable_client_input", "route"}


class Finding(NamedTuple):
    """Something wrong in a file."""

    path: str
    line: int
    code: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.code} {self.detail}{RULES[self.code]}"


def check_source(source: str, path: str) -> list[Finding]:
    """All findings of one file, in the order of its lines.

    A line is let off with a comment that names the rule and the reason: `# durable: allow DUR103 read once at import`.
    """
    try:
        tree = ast.parse(source, path)
    except SyntaxError as error:
        return [Finding(path, error.lineno or 1, "DUR299", f"{error.msg}: ")]
    found = _File(tree, path).findings()
    lines = source.splitlines()
    return sorted({finding for finding in found if not _allowed(finding, lines)}, key=lambda f: (f.line, f.code))


def _allowed(finding: Finding, lines: list[str]) -> bool:
    match = _ALLOW.search(lines[finding.line - 1]) if finding.line <= len(lines) else None
    return match is not None and match[1] == finding.code


class _File:
    def __init__(self, tree: ast.Module, path: str) -> None:
        self._tree, self._path = tree, path
        self._names = imported(tree)
        self._functions = [node for node in ast.walk(tree) if isinstance(node, Function)]

    def findings(self) -> Iterator[Finding]:
        orchestrating = self._orchestrating()
        for function in orchestrating:
            yield from self._check_orchestrator(function)
        inside = {id(node) for function in orchestrating for node in ast.walk(function)}
        for function in self._functions:
            marks = decorators(function)
            if "durable_client_input" in marks and isinstance(function, ast.FunctionDef):
                yield self._at(function, "DUR207", f"{function.name}: ")
            yield from self._check_inputs(function)
        for node in ast.walk(self._tree):
            yield from self._check_anywhere(node, id(node) in inside)

    def _orchestrating(self) -> list[Function]:
        """Orchestrators, and the functions of this file that run inside them."""
        by_name = {function.name: function for function in self._functions}
        found = [function for function in self._functions if self._is_orchestrator(function)]
        for function in found:  # grows while it is walked
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                callee = by_name.get(call.func.id) if isinstance(call.func, ast.Name) else None
                if callee is not None and callee not in found and not decorators(callee) & _TRIGGERS:
                    found.append(callee)
        return found

    def _is_orchestrator(self, function: Function) -> bool:
        if "orchestration_trigger" in decorators(function):
            return True
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        annotations = (ast.unparse(argument.annotation) for argument in arguments if argument.annotation)
        return any("DurableOrchestrationContext" in text for text in annotations)

    def _check_orchestrator(self, function: Function) -> Iterator[Finding]:
        if isinstance(function, ast.AsyncFunctionDef):
            yield self._at(function, "DUR107", f"{function.name}: ")
        for statement in function.body:
            for node in ast.walk(statement):
                yield from self._check_node(node)

    def _check_node(self, node: ast.AST) -> Iterator[Finding]:
        if isinstance(node, ast.Call):
            yield from self._check_call(node)
        elif isinstance(node, ast.Subscript) and qualified(node.value, self._names) == "os.environ":
            yield self._at(node, "DUR103", "os.environ: ")
        elif isinstance(node, ast.Global):
            yield self._at(node, "DUR105", f"global {', '.join(node.names)}: ")
        elif isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield self._at(node, "DUR107", "")
        elif isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter):
            yield self._at(node.iter, "DUR106", "")

    def _check_call(self, call: ast.Call) -> Iterator[Finding]:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "call_http":
            yield self._at(call, "DUR205", "")
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"read_text", "write_text", "read_bytes"}:
            yield self._at(call, "DUR103", f".{call.func.attr}(): ")
        name = qualified(call.func, self._names)
        if name is None:
            return
        for code, patterns in NON_DETERMINISTIC.items():
            if any(name == pattern or (pattern.endswith(".") and name.startswith(pattern)) for pattern in patterns):
                yield self._at(call, code, f"{name}(): ")

    def _check_anywhere(self, node: ast.AST, in_orchestrator: bool) -> Iterator[Finding]:
        if isinstance(node, ast.Constant) and node.value == "retryTimeoutInMilliseconds":
            yield self._at(node, "DUR204", "retryTimeoutInMilliseconds: ")
        elif isinstance(node, ast.Attribute) and node.attr in LINKS:
            yield self._at(node, "DUR206", f"{node.attr}: ")
        elif isinstance(node, ast.Call) and not in_orchestrator:
            target = node.func
            if isinstance(target, ast.Attribute) and target.attr == "signal_entity":
                value = _argument(node, *SENDERS["signal_entity"])
                if value is not None and _falsy(value):
                    yield self._at(node, "DUR203", f"{ast.unparse(value)}: ")

    def _check_inputs(self, function: Function) -> Iterator[Finding]:
        outside = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _from_outside(node.value, set())
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SENDERS:
                value = _argument(node, *SENDERS[node.func.attr])
                if value is not None and _from_outside(value, outside):
                    yield self._at(node, "DUR201", f"{node.func.attr}(... {ast.unparse(value)}): ")

    def _at(self, node: ast.AST, code: str, detail: str) -> Finding:
        return Finding(self._path, getattr(node, "lineno", 1), code, detail)


def _argument(call: ast.Call, position: int, names: tuple[str, ...]) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg in names:
            return keyword.value
    return call.args[position] if len(call.args) > position else None


def _from_outside(value: ast.expr, outside: set[str]) -> bool:
    if isinstance(value, ast.Await):
        value = value.value
    if isinstance(value, ast.Name):
        return value.id in outside
    if isinstance(value, ast.IfExp):
        return _from_outside(value.body, outside) or _from_outside(value.orelse, outside)
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute | ast.Name)
        and (value.func.attr if isinstance(value.func, ast.Attribute) else value.func.id) in OUTSIDE
    )


def _falsy(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return not value.value
    return (isinstance(value, ast.Dict) and not value.keys) or (
        isinstance(value, ast.List | ast.Tuple) and not value.elts
    )


def _is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}


def check_settings(app_folder: Path) -> list[Finding]:
    """Whether the app whose host.json lies here has strict typing on, if its settings are in the repository."""
    found = []
    for name in ("local.settings.example.json", "local.settings.json"):
        path = app_folder / name
        if path.exists():
            values = json.loads(path.read_text(encoding="utf-8")).get("Values", {})
            if values.get(STRICT_TYPING) != "1":
                found.append(Finding(str(path), 1, "DUR202", ""))
    return found


def python_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files at and below the paths."""
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]
