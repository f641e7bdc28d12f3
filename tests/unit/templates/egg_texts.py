"""Small eggs of our own for tests; each carries one thing that eggs of the public catalogue have."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from shared.templates.documents import export, parse
from shared.templates.eggs import Imported, import_egg
from shared.templates.models import Conditional, Template
from shared.templates.rendering import Instance, render, sample

IMAGE = {"Debian": "ghcr.io/example/yolks:debian"}


def egg(**changes: Any) -> str:
    """A small egg as JSON."""
    return json.dumps(values(**changes))


def values(**changes: Any) -> dict[str, Any]:
    """A small egg."""
    base: dict[str, Any] = {
        "meta": {"version": "PTDL_v2"},
        "name": "Small Game",
        "startup": "./game --port {{SERVER_PORT}}",
        "config": {"files": "{}", "startup": '{"done": "ready"}', "logs": "{}", "stop": "quit"},
        "scripts": {"installation": {"script": "", "container": "x", "entrypoint": "sh"}},
        "variables": [],
    }
    return {**base, **changes}


def variable(name: str, rules: Any = "nullable|string", default: Any = "", **more: Any) -> dict[str, Any]:
    """A variable of an egg."""
    return {
        "name": name,
        "env_variable": name,
        "default_value": default,
        "rules": rules,
        "user_viewable": True,
        "user_editable": True,
        **more,
    }


def imported(**changes: Any) -> Imported:
    """An imported egg that survives export, and renders."""
    found = import_egg(egg(**changes))
    assert parse(export(found.template)) == found.template
    render(found.template, sample(found.template))
    return found


def told(found: Imported, part: str, verdict: str) -> bool:
    """Whether the report speaks of a part with that verdict."""
    return any(note.part == part and note.verdict == verdict for note in found.notes)


def argv(template: Template) -> list[Any]:
    """The start command; conditions as (variable, equals, then, otherwise)."""
    return [
        (item.when, item.equals, list(item.then), list(item.otherwise)) if isinstance(item, Conditional) else item
        for item in template.start.argv
    ]


def server(template: Template, **variables: Any) -> Instance:
    """A server of the template with some of its variables set."""
    return dataclasses.replace(sample(template), variables={**sample(template).variables, **variables})
