"""Values in and out of functions, through azure.functions' own converters (the worker uses the same ones)."""

from __future__ import annotations

import re
import secrets
from typing import Any

import azure.functions
from azure.functions.meta import Datum, get_binding_registry

_CONVERTERS: Any = get_binding_registry()  # type: ignore[no-untyped-call]
_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})")


class OutValue(azure.functions.Out[Any]):
    """What a function sees of an output binding."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def set(self, val: Any) -> None:
        """Keep the value; the last one wins."""
        self.value = val

    def get(self) -> Any:
        """The value set so far."""
        return self.value


class _TraceContext(azure.functions._abc.TraceContext):
    def __init__(self, traceparent: str | None) -> None:
        known = _TRACEPARENT.fullmatch(traceparent or "")
        trace, flags = (known["trace"], known["flags"]) if known else (secrets.token_hex(16), "01")
        self._parent = f"00-{trace}-{secrets.token_hex(8)}-{flags}"

    @property
    def Traceparent(self) -> str:
        return self._parent

    @property
    def trace_parent(self) -> str:
        return self._parent

    @property
    def Tracestate(self) -> str:
        return ""

    @property
    def trace_state(self) -> str:
        return ""

    @property
    def attributes(self) -> dict[str, str]:
        return {}


class _RetryContext(azure.functions._abc.RetryContext):
    def __init__(self, count: int = 0, most: int = 0) -> None:
        self._count, self._most = count, most

    @property
    def retry_count(self) -> int:
        return self._count

    @property
    def max_retry_count(self) -> int:
        return self._most

    @property
    def exception(self) -> Any:
        return None


class InvocationContext(azure.functions.Context):
    """The `context` parameter of a function."""

    def __init__(
        self, invocation_id: str, name: str, directory: str, traceparent: str | None, thread_local: Any
    ) -> None:
        self._id, self._name, self._directory = invocation_id, name, directory
        self._trace = _TraceContext(traceparent)
        self._local = thread_local
        self._local.invocation_id = invocation_id

    @property
    def invocation_id(self) -> str:
        return self._id

    @property
    def function_name(self) -> str:
        return self._name

    @property
    def function_directory(self) -> str:
        return self._directory

    @property
    def trace_context(self) -> azure.functions._abc.TraceContext:
        return self._trace

    @property
    def retry_context(self) -> azure.functions._abc.RetryContext:
        return _RetryContext()

    @property
    def thread_local_storage(self) -> Any:
        return self._local


def decode_input(converter: str, value: Any, kind: str, metadata: dict[str, Datum] | None = None) -> Any:
    """The Python value of a trigger's data.

    Args:
        converter: the binding's converter, or "generic" for the raw value.
        value: the data.
        kind: the datum's type: "string", "bytes", "json" or "collection_bytes".
        metadata: the trigger's metadata.

    Raises:
        ValueError, TypeError, NotImplementedError: as azure.functions' converter raises.
    """
    if converter == "generic":
        return value
    return _CONVERTERS.get(converter).decode(Datum(value, kind), trigger_metadata=metadata or {})


def encode_output(converter: str, value: Any) -> Any:
    """The raw text or bytes of an output value.

    Raises:
        TypeError: the binding does not take such a value.
    """
    if converter == "generic":
        if isinstance(value, str | bytes | bytearray):
            return bytes(value) if isinstance(value, bytearray) else value
        raise TypeError(f'unable to encode outgoing data: a {type(value).__name__} where "str" or "bytes" is declared')
    try:
        return _CONVERTERS.get(converter).encode(value, expected_type=None).value
    except NotImplementedError:
        raise TypeError(f'binding "{converter}" does not take a {type(value).__name__}') from None
