"""Mathematical functions."""

from __future__ import annotations

import math
from collections.abc import Callable

from local.cosmos.jsonvalue import UNDEFINED, Value, number
from local.cosmos.query.functions.registry import Function, on_numbers
from local.cosmos.query.operators import BINARY, complement


def _real(compute: Callable[..., float], least: int = 1, most: int = 1) -> Function:
    def run(*values: float) -> Value:
        try:
            return number(compute(*values))
        except (ValueError, OverflowError, ZeroDivisionError):
            return UNDEFINED

    return on_numbers(least, most, run)


def _round(value: float, digits: float = 0) -> float:
    # Halves go away from zero, as in the service; Python's round() goes to the even neighbour.
    scale = 10.0 ** int(digits)
    return math.copysign(math.floor(abs(value) * scale + 0.5) / scale, value)


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


def _logarithm(value: float, base: float | None = None) -> float:
    return math.log(value) if base is None else math.log(value, base)


FUNCTIONS: dict[str, Function] = {
    "ABS": _real(abs),
    "ACOS": _real(math.acos),
    "ASIN": _real(math.asin),
    "ATAN": _real(math.atan),
    "ATN2": _real(math.atan2, 2, 2),
    "CEILING": _real(math.ceil),
    "COS": _real(math.cos),
    "COT": _real(lambda value: 1 / math.tan(value)),
    "DEGREES": _real(math.degrees),
    "EXP": _real(math.exp),
    "FLOOR": _real(math.floor),
    "LOG": _real(_logarithm, 1, 2),
    "LOG10": _real(math.log10),
    "PI": Function(0, 0, lambda: math.pi),
    "POWER": _real(_power, 2, 2),
    "RADIANS": _real(math.radians),
    "ROUND": _real(_round, 1, 2),
    "SIGN": _real(lambda value: (value > 0) - (value < 0)),
    "SIN": _real(math.sin),
    "SQRT": _real(math.sqrt),
    "SQUARE": _real(lambda value: value * value),
    "TAN": _real(math.tan),
    "TRUNC": _real(math.trunc),
    "NUMBERBIN": _real(lambda value, size=1: math.floor(value / size) * size, 1, 2),
    "INTADD": Function(2, 2, BINARY["+"]),
    "INTSUB": Function(2, 2, BINARY["-"]),
    "INTMUL": Function(2, 2, BINARY["*"]),
    "INTDIV": _real(lambda a, b: math.trunc(a / b), 2, 2),
    "INTMOD": Function(2, 2, BINARY["%"]),
    "INTBITAND": Function(2, 2, BINARY["&"]),
    "INTBITOR": Function(2, 2, BINARY["|"]),
    "INTBITXOR": Function(2, 2, BINARY["^"]),
    "INTBITNOT": Function(1, 1, complement),
    "INTBITLEFTSHIFT": Function(2, 2, BINARY["<<"]),
    "INTBITRIGHTSHIFT": Function(2, 2, BINARY[">>"]),
}
