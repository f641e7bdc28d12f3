"""An egg's configuration files, its ready line and its stop command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from shared.messaging.codec import WireError
from shared.messaging.server_install import check_path
from shared.templates.eggs.report import Report
from shared.templates.eggs.rules import clean

PARSERS = {
    "properties": "properties",
    "json": "json",
    "yaml": "yaml",
    "yml": "yaml",
    "ini": "ini",
    "xml": "xml",
    "file": "text",
}


def embedded(value: Any, part: str, report: Report) -> dict[str, Any]:
    """JSON that an egg keeps as text (or as an object, in hand-written ones)."""
    if isinstance(value, dict):
        return value
    if value in (None, "", []):
        return {}
    try:
        found = json.loads(str(value))
    except (ValueError, RecursionError) as error:
        report.dropped(part, f"is not JSON: {error}")
        return {}
    return found if isinstance(found, dict) else {}


def config_files(raw: Any, place: Callable[[str], str | None], report: Report) -> list[dict[str, Any]]:
    """The `files` of a template."""
    found = []
    for path, rule in embedded(raw, "config.files", report).items():
        part = f"config.files.{path}"
        if not isinstance(rule, dict) or rule.get("parser") not in PARSERS:
            parser = rule.get("parser") if isinstance(rule, dict) else rule
            report.dropped(part, f"the parser {str(parser)[:40]!r} is not known")
            continue
        try:
            check_path(str(path).lstrip("/").removeprefix("./"))
        except WireError as error:
            report.dropped(part, str(error))
            continue
        values = _values(rule.get("find"), place, part, report)
        if values:
            file_format = PARSERS[rule["parser"]]
            found.append({"path": str(path).lstrip("/").removeprefix("./"), "format": file_format, "values": values})
    return found


def _values(find: Any, place: Callable[[str], str | None], part: str, report: Report) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in (find if isinstance(find, dict) else {}).items():
        if isinstance(value, dict):
            report.dropped(f"{part}.{key}", "replaces only certain old values: a rule for that does not exist here")
        elif "*" in str(key):
            report.dropped(f"{part}.{key}", "sets the same key in every element (`*`): name the elements one by one")
        elif isinstance(value, list) or value is None:
            report.dropped(f"{part}.{key}", "a list or null cannot be set")
        else:
            filled = fill(value, place, f"{part}.{key}", report)
            if filled is not None:
                values[str(key).replace("\\/", "/")] = filled
    return values


def fill(value: Any, place: Callable[[str], str | None], part: str, report: Report) -> Any:
    """Placeholders of the panel (`{{server.build.default.port}}`) as ours; None if one has no counterpart."""
    if not isinstance(value, str):
        return value
    missing: list[str] = []

    def one(match: re.Match[str]) -> str:
        inner = match.group(1).strip()
        name = re.sub(r"^(server\.build\.env|server\.build\.environment|server\.environment|env)\.", "", inner)
        found = place(name)
        if found is None:
            missing.append(inner)
        return found or ""

    filled = re.sub(r"\{\{(.*?)\}\}", one, value)
    if missing:
        report.dropped(part, f"{{{{{missing[0]}}}}} has no counterpart here")
        return None
    return filled


def ready_probe(raw: Any, report: Report) -> dict[str, Any]:
    """The line that says that the game is up, as a probe."""
    done = embedded(raw, "config.startup", report).get("done")
    if isinstance(done, str) and done.startswith("regex:"):
        return {"kind": "log", "pattern": done.removeprefix("regex:").strip()[:500], "regex": True}
    if isinstance(done, str) and done.strip():
        return {"kind": "log", "pattern": clean(done)[:500]}
    if isinstance(done, list) and done:
        words = [re.escape(str(each).removeprefix("regex:")) for each in done if str(each).strip()]
        if len(words) == 1:
            return {"kind": "log", "pattern": str(done[0])[:500]}
        if words and len(pattern := f".*({'|'.join(words)}).*") <= 500:
            return {"kind": "log", "pattern": pattern, "regex": True}
    report.changed("config.startup", "names no line to wait for: the server counts as ready 10 s after its start")
    return {"kind": "started", "seconds": 10.0}


SIGNALS = {
    "^C": "SIGINT",
    "^^C": "SIGTERM",
    "SIGINT": "SIGINT",
    "SIGTERM": "SIGTERM",
    "^SIGINT": "SIGINT",
    "^SIGTERM": "SIGTERM",
}


def stop_rule(raw: Any, report: Report) -> dict[str, Any]:
    """How the game is asked to end."""
    text = str(raw or "").strip()
    if text.upper() in SIGNALS:
        return {"method": "signal", "value": SIGNALS[text.upper()]}
    if text in ("^^C", "SIGKILL", "^SIGKILL"):
        report.changed("config.stop", "killing at once loses what was not saved: SIGTERM first, killed after 30 s")
        return {"method": "signal", "value": "SIGTERM"}
    if not text:
        report.changed("config.stop", "is empty: SIGTERM is sent")
        return {"method": "signal", "value": "SIGTERM"}
    line = text.splitlines()[0][:500]
    if line != text:
        report.changed("config.stop", "has several lines: the first is sent")
    return {"method": "command", "value": line}
