"""Frozen dataclasses to JSON and back, strictly: a wrong type is refused with its place, an unknown field is passed by.

Unknown fields are passed by because the two sides are never upgraded at one moment.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar, cast

from shared.messaging.limits import MAX_DEPTH

T = TypeVar("T")


class WireError(ValueError):
    """What came over the wire does not have the agreed form. The message names the place and the figure."""


def to_json(value: Any) -> bytes:
    """The compact JSON of a dataclass (or plain JSON value), as UTF-8."""
    return json.dumps(encode(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def from_json(cls: type[T], data: bytes | str, limit: int) -> T:
    """Read a dataclass from JSON.

    Raises:
        WireError: too long, too deep, not JSON, or not of the form.
    """
    return decode(cls, load_json(data, limit))


def load_json(data: bytes | str, limit: int) -> Any:
    """Read bounded JSON: at most `limit` bytes and `MAX_DEPTH` levels, finite numbers.

    Raises:
        WireError: it is not that.
    """
    if len(data) > limit:
        raise WireError(f"{len(data)} bytes are more than the {limit} allowed")
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise WireError(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise WireError(f"not JSON: {error}") from None
    _check_depth(value, MAX_DEPTH)
    return value


def _refuse_constant(name: str) -> Any:
    raise WireError(f"{name} is not a JSON number")


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise WireError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for item in value.values():
            _check_depth(item, left - 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, left - 1)


def encode(value: Any) -> Any:
    """A plain JSON value of a dataclass; fields that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: encode(item) for name, item in pairs if item is not None}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return [encode(item) for item in value]
    return value


def decode(cls: type[T], value: Any, place: str = "") -> T:
    """Read a dataclass (or any type this module knows) from a plain JSON value.

    Raises:
        WireError: a field is missing, or of another type; or the class's own `__post_init__` refused it.
    """
    return cast(T, _decode(cls, value, place or getattr(cls, "__name__", "value").lower()))


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(kind: Any, value: Any, place: str) -> Any:
    if kind is Any:
        return value
    origin = typing.get_origin(kind)
    if origin is None:
        return _decode_class(kind, value, place)
    if origin in (types.UnionType, typing.Union):
        return _decode_union(typing.get_args(kind), value, place)
    if origin is typing.Literal:
        if value not in typing.get_args(kind) or isinstance(value, bool):
            raise WireError(f"{place}: {_short(value)} is none of {', '.join(map(str, typing.get_args(kind)))}")
        return value
    if origin in (tuple, list):
        _expect(value, list, place)
        inner = typing.get_args(kind)[0]
        return origin(_decode(inner, item, f"{place}[{at}]") for at, item in enumerate(value))
    _expect(value, dict, place)
    inner = typing.get_args(kind)[1]
    return {key: _decode(inner, item, f"{place}.{key}") for key, item in value.items()}


def _decode_union(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    real = [kind for kind in kinds if kind is not types.NoneType]
    if len(real) == 1:
        return _decode(real[0], value, place)
    for kind in real:
        try:
            return _decode(kind, value, place)
        except WireError:
            continue
    raise WireError(f"{place}: {_short(value)} fits none of the forms")


def _decode_class(kind: Any, value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, place)
    if kind is datetime:
        return _decode_time(value, place)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        _expect(value, str, place)
        try:
            return kind(value)
        except ValueError:
            raise WireError(f"{place}: {_short(value)} is not a known {kind.__name__}") from None
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise WireError(f"{place}: expected a number, found {_short(value)}")
        return float(value)
    _expect(value, kind, place)
    return value


def _decode_dataclass(kind: Any, value: Any, place: str) -> Any:
    _expect(value, dict, place)
    hints, arguments = _hints(kind), {}
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        if field.name in value:
            arguments[field.name] = _decode(hints[field.name], value[field.name], f"{place}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise WireError(f"{place}.{field.name}: missing")
    try:
        return kind(**arguments)
    except WireError:
        raise
    except ValueError as error:
        raise WireError(f"{place}: {error}") from None


def _decode_time(value: Any, place: str) -> datetime:
    _expect(value, str, place)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise WireError(f"{place}: {_short(value)} is not an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise WireError(f"{place}: {_short(value)} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise WireError(f"{place}: {_short(value)} is out of range") from None


_NAMES = {str: "text", int: "an integer", bool: "true or false", dict: "an object", list: "a list"}


def _expect(value: Any, kind: type[Any], place: str) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise WireError(f"{place}: expected {_NAMES.get(kind, kind.__name__)}, found {_short(value)}")


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
