"""What changes when a server goes from one version of a template to another, or gets other values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from shared.messaging.codec import to_wire
from shared.messaging.server_spec import ServerSpec
from shared.templates.documents import as_data
from shared.templates.models import Template

Effect = Literal["none", "restart", "reinstall"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: the path, what stood there, what stands there now (None: nothing)."""

    path: str
    before: Any
    after: Any


def differences(before: Any, after: Any, path: str = "") -> list[Change]:
    """The differences of two JSON trees, lists of named things compared by name."""
    if isinstance(before, dict) and isinstance(after, dict):
        changes = []
        for key in [*before, *(key for key in after if key not in before)]:
            changes += differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        return changes
    if isinstance(before, list) and isinstance(after, list):
        named_before, named_after = _named(before), _named(after)
        if named_before is not None and named_after is not None:
            return differences(named_before, named_after, path)
    return [] if before == after else [Change(path, before, after)]


def _named(items: list[Any]) -> dict[str, Any] | None:
    """A list of objects by their names, where all have one."""
    for key in ("name", "path"):
        if all(isinstance(item, dict) and key in item for item in items) and len({i[key] for i in items}) == len(items):
            return {str(item[key]): item for item in items}
    return None


def compare(before: Template, after: Template) -> list[Change]:
    """What differs between two versions of a template."""
    return differences(as_data(before), as_data(after))


def effect(before: ServerSpec, after: ServerSpec) -> Effect:
    """What a running server needs to be as `after` says."""
    if before.install.steps != after.install.steps or before.install.writable != after.install.writable:
        return "reinstall"
    old, new = to_wire(before), to_wire(after)
    for field in (
        "revision",
        "name",
        "power",
        "restarts",
        "install",
        "crash",
        "stop",
        "ready",
        "ready_seconds",
        "health",
    ):
        old.pop(field, None)
        new.pop(field, None)
    return "none" if old == new else "restart"
