"""Templates as text: YAML or JSON in, YAML out. Bounded before it is parsed."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from shared.platform.errors import FieldError
from shared.templates.errors import TemplateInvalid, fault
from shared.templates.models import MAX_DOCUMENT_BYTES, Template
from shared.templates.rendering import check_template

MAX_DEPTH = 32


def parse(text: str) -> Template:
    """Read a template from YAML (or JSON, which is YAML).

    Raises:
        TemplateInvalid: with everything that is wrong.
    """
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise TemplateInvalid([fault("", "too_large", f"{len(text.encode())} bytes, at most {MAX_DOCUMENT_BYTES}")])
    from shared.templates.yaml_text import load

    return validate(load(text))


def validate(data: Any) -> Template:
    """A template from plain values, its shape and its meaning checked.

    Raises:
        TemplateInvalid: with everything that is wrong.
    """
    if not isinstance(data, dict):
        raise TemplateInvalid([fault("", "not_an_object", "a template is an object of named fields")])
    if depth(data) > MAX_DEPTH:
        raise TemplateInvalid([fault("", "too_deep", f"nested deeper than {MAX_DEPTH}")])
    data = dict(data)
    start = data.get("start")
    if isinstance(start, dict) and isinstance(start.get("argv"), str):
        data["start"] = {**start, "argv": split_command(start["argv"])}
    try:
        template = Template.model_validate(data)
    except ValidationError as error:
        raise TemplateInvalid(
            [_fault(each) for each in error.errors(include_url=False, include_context=False)]
        ) from None
    faults = check_template(template)
    if faults:
        raise TemplateInvalid(faults)
    return template


def _fault(error: Any) -> FieldError:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return fault(path, "invalid", str(error["msg"]))


def split_command(line: str) -> list[str]:
    """A command line as tokens, quotes obeyed, nothing expanded.

    Raises:
        TemplateInvalid: a quote is not closed.
    """
    import shlex

    try:
        return shlex.split(line)
    except ValueError as error:
        raise TemplateInvalid([fault("start.argv", "invalid", str(error))]) from None


def depth(value: Any) -> int:
    """How deep lists and objects lie in one another; iterative, so that depth itself cannot hurt."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH + 1:
            break
        if isinstance(item, dict):
            waiting += [(each, level + 1) for each in item.values()]
        elif isinstance(item, list | tuple):
            waiting += [(each, level + 1) for each in item]
    return deepest


def as_data(template: Template) -> dict[str, Any]:
    """Plain values of a template, defaults left out: what is stored and exported."""
    data: dict[str, Any] = template.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {"schema": template.schema_version, **data}


def export(template: Template) -> str:
    """YAML that `parse` reads back to the same template."""
    from shared.templates.yaml_text import dump

    return dump(json.loads(json.dumps(as_data(template))))
