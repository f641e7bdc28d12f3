"""Why a template, or a server's variables, cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

from shared.platform.errors import Fault, FieldError, Kind


def fault(field: str, code: str, message: str) -> FieldError:
    """One thing that is wrong: where (a dotted path), a stable code, and a sentence that names the figure."""
    return FieldError(field, message, code)


def told(errors: Sequence[FieldError]) -> str:
    """The first five in a sentence; what is wrong with the whole has no field."""
    return "; ".join(f"{each.field}: {each.message}" if each.field else each.message for each in errors[:5])


class TemplateInvalid(Fault):
    """A template cannot be read or used; `errors` lists everything that is wrong with it."""

    kind, code, title = Kind.INVALID, "template_invalid", "The template cannot be used"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(told(errors), errors=errors)


class VariablesInvalid(Fault):
    """Values that a template's variables do not allow."""

    kind, code, title = Kind.INVALID, "variables_invalid", "The template does not allow these values"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__(told(errors), errors=errors)


class TemplateNotFound(Fault):
    """There is no such template for this organization."""

    kind, code, title = Kind.NOT_FOUND, "template_not_found", "There is no such template"


class TemplateReadOnly(Fault):
    """One of ours, or another organization's."""

    kind, code, title = Kind.FORBIDDEN, "template_read_only", "This template cannot be changed here"
