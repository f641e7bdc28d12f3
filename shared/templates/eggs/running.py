"""How an egg tells that its game is up, and how the game is asked to end."""

from __future__ import annotations

import re
from typing import Any, Final

from shared.templates.eggs.files import embedded
from shared.templates.eggs.reading import words
from shared.templates.eggs.report import Report
from shared.templates.eggs.rules import clean
from shared.templates.variables import pattern_fault

MOST: Final = 500
#: What generic eggs have where a line should stand: a game that never says it would never be ready.
PLACEHOLDER_LINES: Final = re.compile(r"^\s*change this (text|part)|^\s*$", re.IGNORECASE)
SIGNALS: Final = {"C": "SIGINT", "SIGINT": "SIGINT", "SIGTERM": "SIGTERM", "SIGQUIT": "SIGQUIT", "SIGHUP": "SIGHUP"}


def ready_probe(raw: Any, report: Report) -> dict[str, Any]:
    """The line that says that the game is up, as a probe."""
    startup = embedded(raw, "config.startup", report)
    for name in ("userInteraction", "user_interaction"):
        if startup.get(name):
            report.dropped(f"config.startup.{name}", "lines at which the panel asks its user something")
    lines = [line for line in words(startup.get("done")) if not PLACEHOLDER_LINES.search(line)]
    patterns = [line.removeprefix("regex:").strip() for line in lines if line.startswith("regex:")]
    for pattern in [each for each in patterns if pattern_fault(each)]:
        report.dropped("config.startup.done", f"the pattern {pattern[:80]!r} cannot be used ({pattern_fault(pattern)})")
        patterns.remove(pattern)
    texts = [clean(line) for line in lines if not line.startswith("regex:")]
    if len(texts) == 1 and not patterns and 0 < len(texts[0]) <= MOST:
        return {"kind": "log", "pattern": texts[0]}
    kept: list[str] = []
    for pattern in [*patterns, *map(re.escape, texts)]:
        if len("|".join([*kept, pattern])) > MOST:
            report.dropped("config.startup.done", f"{pattern[:80]!r}: more than {MOST} characters to look for")
        elif pattern:
            kept.append(pattern)
    if kept:
        return {"kind": "log", "pattern": "|".join(kept), "regex": True}
    report.changed("config.startup", "names no line to wait for: the server counts as ready 10 s after its start")
    return {"kind": "started", "seconds": 10.0}


def stop_rule(raw: Any, report: Report) -> dict[str, Any]:
    """How the game is asked to end: a line, or a signal where it begins with `^`."""
    text = str(raw or "").strip() if not isinstance(raw, dict | list) else ""
    if text.startswith("^") or text in ("SIGINT", "SIGTERM", "SIGKILL"):
        name = text.removeprefix("^")
        if name.upper() in SIGNALS:
            return {"method": "signal", "value": SIGNALS[name.upper()]}
        report.changed(
            "config.stop", f"{text[:40]} kills at once, which loses what was not saved: SIGTERM, killed after 30 s"
        )
        return {"method": "signal", "value": "SIGTERM"}
    if not text:
        report.changed("config.stop", "is empty: SIGTERM is sent")
        return {"method": "signal", "value": "SIGTERM"}
    line = clean(text).splitlines()[0][:MOST] if clean(text).strip() else "stop"
    if line != text:
        report.changed("config.stop", f"is not one line of at most {MOST} characters: `{line[:60]}` is sent")
    return {"method": "command", "value": line}
