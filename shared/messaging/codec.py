"""Strict reading of JSON into frozen dataclasses, and back. Standard library alone: the agent imports it at start.

A wire contract is a tree of frozen dataclasses. What may differ in kind carries a `kind` field with a `Literal` of one
word, and the union of such classes is read by that word. Unknown fields are ignored, so that a newer control plane can
speak to an older agent; unknown kinds are refused, because a step that cannot be understood must not be skipped.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from shared.messaging.limits import MAX_DEPTH

T = TypeVar("T")

MAX_TEXT = 256 * 1024  # one text field; a whole message is bounded by its envelope
MAX_ITEMS = 2048  # elements of one list or keys of one map
MAX_INT = 2**53  # beyond it JSON's readers disagree about what a number is (RFC 8259, section 6)


class WireError(ValueError):
    """A value on the wire that the contract does not allow; the text names its path and what is wrong."""


def to_json(value: object) -> bytes:
    """The compact JSON of a dataclass tree, as UTF-8."""
    return json.dumps(to_wire(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def from_json(cls: type[T], data: bytes | str, limit: int) -> T:
    """Read a dataclass from JSON of at most `limit` bytes.

    Raises:
        WireError: too long, too deep, not JSON, or not of the form.
    """
    return from_wire(cls, load_json(data, limit))


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
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _check_depth(item, left - 1)


def to_wire(value: object) -> Any:
    """A dataclass tree as plain JSON values; absent optional values are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: to_wire(item) for name, item in pairs if item is not None}
    if isinstance(value, tuple | list):
        return [to_wire(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_wire(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.value if isinstance(value, StrEnum) else value


def from_wire(cls: type[T], value: object, path: str = "") -> T:
    """Read JSON values as `cls`.

    Raises:
        WireError: a field is missing, of the wrong type, out of bounds or of an unknown kind.
    """
    if not isinstance(value, Mapping):
        raise WireError(f"{path or cls.__name__}: expected an object, got {_name(value)}")
    found: dict[str, Any] = {}
    for name, (hint, required) in _fields(typing.cast(Any, cls)).items():
        here = f"{path}.{name}" if path else name
        if name in value:
            found[name] = _read(hint, value[name], here)
        elif required:
            raise WireError(f"{here}: missing")
    try:
        return cls(**found)
    except WireError as error:
        raise WireError(f"{path}.{error}" if path else str(error)) from None


def _read(hint: Any, value: object, path: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(hint), value, path)
    if origin is Literal:
        if not isinstance(value, str | int | bool) or value not in get_args(hint):
            raise WireError(f"{path}: {_name(value)} is not one of {', '.join(map(str, get_args(hint)))}")
        return value
    if origin is tuple:
        return _read_tuple(get_args(hint)[0], value, path)
    if origin in (dict, Mapping):
        return _read_map(get_args(hint)[1], value, path)
    if hint is Any or not isinstance(hint, type):
        return value  # the caller judges it
    if dataclasses.is_dataclass(hint):
        return from_wire(hint, value, path)
    return _read_scalar(hint, value, path)


def _read_union(options: tuple[Any, ...], value: object, path: str) -> Any:
    if value is None and type(None) in options:
        return None
    options = tuple(option for option in options if option is not type(None))
    if len(options) == 1:
        return _read(options[0], value, path)
    if any(dataclasses.is_dataclass(option) for option in options):
        kind = value.get("kind") if isinstance(value, Mapping) else None
        kinds = {option.__dataclass_fields__["kind"].default: option for option in options}
        if isinstance(kind, str) and kind in kinds:
            return from_wire(kinds[kind], value, path)
        known = ", ".join(kinds)
        raise WireError(f"{path}.kind: {_name(kind)} is not one of {known}")
    for option in options:
        try:
            return _read(option, value, path)
        except WireError:
            continue
    raise WireError(f"{path}: {_name(value)} is of no allowed type")


def _read_tuple(item: Any, value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise WireError(f"{path}: expected a list, got {_name(value)}")
    if len(value) > MAX_ITEMS:
        raise WireError(f"{path}: {len(value)} items, at most {MAX_ITEMS}")
    return tuple(_read(item, element, f"{path}[{index}]") for index, element in enumerate(value))


def _read_map(item: Any, value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise WireError(f"{path}: expected an object, got {_name(value)}")
    if len(value) > MAX_ITEMS:
        raise WireError(f"{path}: {len(value)} keys, at most {MAX_ITEMS}")
    return {str(key): _read(item, element, f"{path}.{key}") for key, element in value.items()}


def _read_scalar(hint: type, value: object, path: str) -> Any:
    if hint is object:
        return value
    if hint is datetime:
        return _read_time(value, path)
    if issubclass(hint, StrEnum):
        if not isinstance(value, str) or value not in hint.__members__.values():
            raise WireError(f"{path}: {_name(value)} is not a known {hint.__name__}")
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:  # exact: True is no number
        raise WireError(f"{path}: expected {hint.__name__}, got {_name(value)}")
    if hint is int and not -MAX_INT < typing.cast(int, value) < MAX_INT:
        raise WireError(f"{path}: a number of {typing.cast(int, value).bit_length()} bits is out of bounds")
    if hint is float and not (-1e15 < typing.cast(float, value) < 1e15):
        raise WireError(f"{path}: {value} is out of bounds")
    if hint is str and len(typing.cast(str, value)) > MAX_TEXT:
        raise WireError(f"{path}: {len(typing.cast(str, value))} characters, at most {MAX_TEXT}")
    return value


def _read_time(value: object, path: str) -> datetime:
    if not isinstance(value, str):
        raise WireError(f"{path}: expected an RFC 3339 time, got {_name(value)}")
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise WireError(f"{path}: {_name(value)} has no time zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise (
            error if isinstance(error, WireError) else WireError(f"{path}: {_name(value)} is no RFC 3339 time")
        ) from None


@functools.lru_cache(maxsize=256)
def _fields(cls: Any) -> dict[str, tuple[Any, bool]]:
    """Each field's type and whether it must be there; the hints are resolved once a class."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: (
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    }


def _name(value: object) -> str:
    """A value as an error may show it: short, and never a whole document."""
    if isinstance(value, str):
        return repr(value[:40])
    return f"{type(value).__name__}" if isinstance(value, Mapping | list | tuple) else repr(value)[:40]
