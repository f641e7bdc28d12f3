"""The names that an egg uses: its variables, the ports among them, and what the panel gives."""

from __future__ import annotations

import re
from typing import Any, Final

from shared.templates.eggs.reading import plain
from shared.templates.eggs.report import Report
from shared.templates.eggs.rules import number_of, split_rules

BUILT_IN: Final = {
    "SERVER_PORT": "{{ports.game}}",
    "SERVER_IP": "{{server.address}}",
    "SERVER_MEMORY": "{{server.memory_mib}}",
    "P_SERVER_UUID": "{{server.id}}",
    "server.build.default.port": "{{ports.game}}",
    "server.build.default.ip": "{{server.address}}",
    "server.build.memory": "{{server.memory_mib}}",
    "server.build.memory_limit": "{{server.memory_mib}}",
    "server.build.disk_space": "{{server.disk_mib}}",
    "server.allocations.default.port": "{{ports.game}}",
    "server.allocations.default.ip": "{{server.address}}",
    "server.memory": "{{server.memory_mib}}",
    "server.uuid": "{{server.id}}",
    "server.meta.name": "{{server.name}}",
}
SHELL_NAMES: Final = {
    "HOME": "{{node.root}}",
    "PWD": "{{node.root}}",
    "HOSTNAME": "{{server.name}}",
    "USER": "game",
    "TZ": "UTC",
}
PORT_NAME: Final = re.compile(r"(^|_)PORTS?(_|$|\d)|PORT$")
NUMBER_RULES: Final = {"integer", "int", "numeric", "digits", "digits_between", "between", "string", "required"}
MOST_VARIABLES, MOST_PORTS = 190, 31


class Names:
    """Sorts an egg's variables out: what stays one, what becomes a reserved port, what cannot be either."""

    def __init__(self, raw: Any, report: Report) -> None:
        self._report = report
        self.variables: dict[str, dict[str, Any]] = {}
        self._ports: dict[str, tuple[str, int]] = {}
        for each in _in_order(raw, report):
            name = self._name(each)
            if name is None:
                continue
            number = self._port(name, each)
            if number is None:
                self.variables[name] = each
            else:
                self._ports[name] = self._port_name(name), number

    def _name(self, raw: dict[str, Any]) -> str | None:
        """The name as the environment has it: in capitals, as the panels hand it over."""
        given = plain(raw.get("env_variable")).strip()
        name, part = given.upper(), f"variables.{given[:40]}"
        if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name):
            self._report.dropped(part, "its name is empty, or not letters, digits and `_` beginning with a letter")
        elif name in self.variables or name in self._ports:
            self._report.dropped(part, "its name is there twice: the first counts")
        elif name in BUILT_IN:
            self._report.dropped(part, "is given by the console itself")
        elif len(self.variables) >= MOST_VARIABLES:
            self._report.dropped(part, f"a template has at most {MOST_VARIABLES} variables")
        else:
            if name != given:
                self._report.changed(part, f"is called {name}: names are in capitals, as the environment has them")
            return name
        return None

    def _port(self, name: str, raw: dict[str, Any]) -> int | None:
        """A variable that is a port of the game becomes a reserved port, so that no two servers get one number."""
        rules = split_rules(raw.get("rules"))
        between = any(rule == "between" and re.fullmatch(r"102[45],\s*65535", argument) for rule, argument in rules)
        if not PORT_NAME.search(name) and not between:
            return None
        text = plain(raw.get("default_value"))
        number = number_of(text, whole=True)
        fits = not rules or bool({rule for rule, _ in rules} & NUMBER_RULES)
        if (
            number is None
            or not 1 <= int(number) <= 65_535
            or not fits
            or any(rule in ("in", "boolean") for rule, _ in rules)
        ):
            if PORT_NAME.search(name):
                self._report.changed(
                    f"variables.{name}",
                    f"looks like a port, but its default is {text[:20]!r}: no port is reserved for it",
                )
            return None
        if len(self._ports) >= MOST_PORTS:
            self._report.dropped(
                f"variables.{name}", f"a template has at most {MOST_PORTS + 1} ports: it stays a variable"
            )
            return None
        self._report.changed(
            f"variables.{name}", f"became the reserved port {_port(name)}: each server gets its own number"
        )
        return int(number)

    def _port_name(self, name: str) -> str:
        taken = {port for port, _ in self._ports.values()} | {"game"}
        base = _port(name)
        return next(each for each in (base, *(f"{base[:28]}_{n}" for n in range(2, 100))) if each not in taken)

    def template_ports(self) -> list[dict[str, Any]]:
        """The game's own port, and those that variables named."""
        named = [{"name": name, "protocol": "both", "prefer": number} for name, number in self._ports.values()]
        return [{"name": "game", "protocol": "both"}, *named]

    def place(self, name: str) -> str | None:
        """Our placeholder of a name that the egg uses."""
        capital = name.upper()
        if capital in self._ports:
            return f"{{{{ports.{self._ports[capital][0]}}}}}"
        if capital in self.variables:
            return f"{{{{variables.{capital}}}}}"
        return BUILT_IN.get(name) or SHELL_NAMES.get(name)

    def environment(self) -> dict[str, str]:
        """All of the egg's variables, ports too, as placeholders by their names."""
        return {name: self.place(name) or "" for name in (*self.variables, *self._ports)}

    def defaults(self) -> dict[str, str]:
        """The variables' defaults, ports' too."""
        ports = {name: str(number) for name, (_, number) in self._ports.items()}
        return {name: plain(raw.get("default_value")) for name, raw in self.variables.items()} | ports


def _in_order(raw: Any, report: Report) -> list[dict[str, Any]]:
    """The variables in the order in which the panel shows them."""
    if isinstance(raw, dict):
        raw = list(raw.values())
    if not isinstance(raw, list):
        return []
    found = [each for each in raw if isinstance(each, dict)]
    if len(found) < len(raw):
        report.dropped("variables", f"{len(raw) - len(found)} of them are no objects")
    sorts = [each.get("sort") for each in found]
    if all(isinstance(sort, int) for sort in sorts):
        found.sort(key=lambda each: int(each["sort"]))
    return found


def _port(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", name.lower())[:32]


def slug(text: str) -> str:
    """A key: small letters, digits and dashes."""
    return re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]+", "-", text.lower())).strip("-")[:60].strip("-") or "egg"
