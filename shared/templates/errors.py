"""Why a template, or a server's variables, cannot be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where (a dotted path), a stable code, and a sentence that names the figure."""

    field: str
    code: str
    message: str


class TemplateError(Exception):
    """A template cannot be read or used; `faults` lists everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults[:5]))
        self.faults = faults


class VariablesError(TemplateError):
    """Values that a template's variables do not allow."""
