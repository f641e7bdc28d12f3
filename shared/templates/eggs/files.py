"""An egg's configuration files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from shared.messaging.codec import WireError
from shared.messaging.server_install import check_path
from shared.templates.eggs.conditions import PREFIX
from shared.templates.eggs.report import Report
from shared.templates.eggs.startup import PLACES, ROOT

PARSERS: Final = {
    "properties": "properties",
    "json": "json",
    "yaml": "yaml",
    "yml": "yaml",
    "ini": "ini",
    "xml": "xml",
    "file": "text",
}
#: The address under which a game in a container of the panels' reaches its host. Here games have the host's own network.
INTERFACES: Final = ("config.docker.interface", "config.docker.network.interface")
MOST_FILES, MOST_VALUES = 45, 500

Place = Callable[[str], str | None]


def embedded(value: Any, part: str, report: Report) -> dict[str, Any]:
    """JSON that an egg keeps as text (Pelican: as an object)."""
    if isinstance(value, dict):
        return value
    if value in (None, "", []):
        return {}
    try:
        found = json.loads(value, strict=False) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        report.dropped(part, f"is not JSON: {error}")
        return {}
    if not isinstance(found, dict) and found not in (None, [], ""):
        report.dropped(part, f"is no object of named fields: {str(found)[:60]}")
    return found if isinstance(found, dict) else {}


class ConfigFiles:
    """Reads the files of an egg into those of a template."""

    def __init__(self, place: Place, report: Report) -> None:
        self._place, self._report = place, report

    def read(self, raw: Any) -> list[dict[str, Any]]:
        """The `files` of a template."""
        found: dict[str, dict[str, Any]] = {}
        for name, rule in embedded(raw, "config.files", self._report).items():
            part = f"config.files.{name}"
            parser = rule.get("parser") if isinstance(rule, dict) else rule
            path = re.sub(r"^(\./)+", "", re.sub(r"^/(home/container|mnt/server)?/*", "", str(name)))
            if not isinstance(rule, dict) or str(parser).lower() not in PARSERS:
                self._report.dropped(part, f"the parser {str(parser)[:40]!r} is not known")
            elif path in found or len(found) >= MOST_FILES:
                self._report.dropped(part, f"is there twice, or one of more than {MOST_FILES} files")
            elif self._path_is_good(path, part):
                file = self._file(path, PARSERS[str(parser).lower()], rule.get("find"), part)
                if file is not None:
                    found[path] = file
        return list(found.values())

    def _path_is_good(self, path: str, part: str) -> bool:
        try:
            check_path(path)
        except WireError as error:
            self._report.dropped(part, str(error))
            return False
        return True

    def _file(self, path: str, file_format: str, find: Any, part: str) -> dict[str, Any] | None:
        values: dict[str, Any] = {}
        for name, value in (find if isinstance(find, dict) else {}).items():
            key = self._key(str(name), file_format, part)
            if key is None:
                continue
            if len(values) >= MOST_VALUES:
                self._report.dropped(f"{part}.{name}", f"one of more than {MOST_VALUES} values")
                continue
            filled = self._value(value, file_format, f"{part}.{name}")
            if filled is not None:
                values[key] = filled
        if not values:
            return None
        found: dict[str, Any] = {"path": path, "format": file_format, "values": values}
        return (
            {**found, "add": False} if file_format == "text" else found
        )  # the panel's parser changes lines, adds none

    def _key(self, name: str, file_format: str, part: str) -> str | None:
        if file_format == "text":
            return name
        key = re.sub(r"\[(\d+|\*)\]", r".\1", name.replace("\\/", "/"))
        if "[" in key:
            self._report.dropped(f"{part}.{name}", "names an element by its attributes, which a dotted path cannot")
            return None
        if "*" in key.split(".") and file_format not in ("json", "yaml"):
            self._report.dropped(f"{part}.{name}", "sets every element (`*`): possible in JSON and YAML alone")
            return None
        return key

    def _value(self, value: Any, file_format: str, part: str) -> Any:
        """A value with its names filled in; None, reported, where it cannot be set."""
        if isinstance(value, dict):
            loopback = any(name in str(value) for name in INTERFACES)
            reason = (
                "replaces this machine's address by its container network's: games here have the host's network"
                if loopback
                else "replaces only certain old values: a rule for that does not exist here"
            )
            self._report.dropped(part, reason)
        elif isinstance(value, list) or value is None:
            self._report.dropped(part, "a list or null cannot be set")
        elif not isinstance(value, str):
            return value
        elif file_format in ("json", "yaml") and re.fullmatch(r"-?(0|[1-9]\d{0,14})", value):
            return int(value)  # as the panel's parser does
        else:
            return self.fill(value, part)
        return None

    def fill(self, text: str, part: str) -> str | None:
        """Placeholders of the panel as ours; None, reported, if one has no counterpart."""
        missing: list[str] = []

        def one(match: re.Match[str]) -> str:
            inner = match.group(1).strip()
            if inner in INTERFACES:
                self._report.changed(
                    part, "the container network's address is 127.0.0.1: games have the host's network"
                )
                return "127.0.0.1"
            found = self._place(re.sub(rf"^{PREFIX}", "", inner))
            if found is None:
                missing.append(inner)
            return found or ""

        filled = PLACES.sub(ROOT, re.sub(r"\{\{(.*?)\}\}", one, text))
        if missing:
            self._report.dropped(part, f"{{{{{missing[0]}}}}} has no counterpart here")
            return None
        return filled
