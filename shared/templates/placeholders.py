"""Placeholders: `{{variables.NAME}}`, `{{ports.name}}`, `{{server.field}}`, `{{node.root}}`. Replaced once, never evaluated."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from shared.platform.errors import FieldError
from shared.templates.errors import fault
from shared.templates.models import PLACEHOLDER, Conditional, Scalar, Template

SERVER_FIELDS = ("id", "name", "memory_mib", "cpu_millicores", "disk_mib", "address")
NODE_FIELDS = ("root",)  # left as they are: the agent fills them in


class Values:
    """What placeholders stand for."""

    def __init__(self, variables: Mapping[str, Scalar], ports: Mapping[str, int], server: Mapping[str, Scalar]) -> None:
        self._found: dict[str, Scalar] = {f"variables.{name}": value for name, value in variables.items()}
        self._found |= {f"ports.{name}": port for name, port in ports.items()}
        self._found |= {f"server.{name}": value for name, value in server.items()}
        self._found |= {f"node.{name}": "{{node." + name + "}}" for name in NODE_FIELDS}

    def get(self, name: str) -> Scalar:
        """The value; a placeholder of an optional variable without value is empty."""
        return self._found.get(name, "")

    def text(self, template: str) -> str:
        """`template` with each placeholder replaced. What a value holds is never looked at again."""
        return PLACEHOLDER.sub(lambda match: as_text(self.get(match.group(1))), template)

    def typed(self, template: Scalar) -> Scalar:
        """As `text`, but a lone placeholder keeps the type of its value."""
        if not isinstance(template, str):
            return template
        match = PLACEHOLDER.fullmatch(template.strip())
        return self.get(match.group(1)) if match else self.text(template)

    def setting(self, template: Scalar) -> Scalar:
        """As `typed`, for a value of a configuration file: what a placeholder stands for is one line, so that a member's
        text does not become a setting of its own. Line ends that the template's author wrote stay."""
        if not isinstance(template, str) or PLACEHOLDER.fullmatch(template.strip()):
            found = self.typed(template)
            return _one_line(found) if isinstance(found, str) else found
        return PLACEHOLDER.sub(lambda match: _one_line(as_text(self.get(match.group(1)))), template)

    def tree(self, value: Any) -> Any:
        """A JSON tree with its texts rendered; numbers stay numbers where a text is a lone placeholder."""
        if isinstance(value, str):
            return self.typed(value)
        if isinstance(value, Mapping):
            return {key: self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        return value

    def argv(self, template: Template) -> list[str]:
        """The command's tokens: conditional ones decided, `arguments` variables split into theirs."""
        arguments = {f"variables.{each.name}" for each in template.variables if each.type == "arguments"}
        tokens: list[str] = []
        for item in template.start.argv:
            for token in self._chosen(item):
                match = PLACEHOLDER.fullmatch(token)
                if match and match.group(1) in arguments:
                    tokens += shlex.split(as_text(self.get(match.group(1))))
                else:
                    tokens.append(self.text(token))
        return tokens

    def _chosen(self, item: str | Conditional) -> tuple[str, ...]:
        if isinstance(item, str):
            return (item,)
        value = self.get(f"variables.{item.when}")
        held = bool(value) and value != "0" if item.equals is None else as_text(value) == as_text(item.equals)
        return item.then if held else item.otherwise


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n]+", " ", text)


def as_text(value: Scalar) -> str:
    """A value as a game's file or command line has it: `true` and `false` in small letters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON tree, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from texts(item, f"{path}[{index}]")


def check_placeholders(template: Template) -> list[FieldError]:
    """Placeholders that name nothing, and braces that look like one but are none."""
    known = {f"variables.{each.name}" for each in template.variables} | {
        f"ports.{each.name}" for each in template.ports
    }
    known |= {f"server.{name}" for name in SERVER_FIELDS} | {f"node.{name}" for name in NODE_FIELDS}
    parts = template.model_dump(mode="json", include={"install", "files", "start", "ready", "health", "stop", "image"})
    for step in parts["install"]:
        step.pop("script", None)  # never filled in
    faults = [
        fault(path, "unknown_placeholder", f"{{{{{match.group(1)}}}}} names nothing that exists")
        for path, text in texts(parts)
        for match in PLACEHOLDER.finditer(text)
        if match.group(1) not in known
    ]
    names = {each.name for each in template.variables}
    faults += [
        fault(f"start.argv[{index}].when", "unknown_variable", f"there is no variable {item.when}")
        for index, item in enumerate(template.start.argv)
        if isinstance(item, Conditional) and item.when not in names
    ]
    return faults
