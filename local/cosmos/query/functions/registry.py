"""How a built-in function is described."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from local.cosmos.jsonvalue import UNDEFINED, Value, is_number

MANY = 1_000


@dataclass(frozen=True, slots=True)
class Function:
    """A function: the least and the greatest number of arguments, and its meaning."""

    least: int
    most: int
    run: Callable[..., Value]
    volatile: bool = False  # depends on the clock


def on_strings(least: int, most: int, run: Callable[..., Value]) -> Function:
    """A function of strings alone: undefined if an argument is anything else."""

    def checked(*values: Value) -> Value:
        return run(*values) if all(isinstance(value, str) for value in values) else UNDEFINED

    return Function(least, most, checked)


def on_numbers(least: int, most: int, run: Callable[..., Value]) -> Function:
    """A function of numbers alone."""

    def checked(*values: Value) -> Value:
        return run(*values) if all(is_number(value) for value in values) else UNDEFINED

    return Function(least, most, checked)
