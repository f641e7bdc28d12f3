"""What the host knows of one function after it was loaded and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

RawBinding = Mapping[str, Any]  # one binding as in function.json: name, type, direction and its own fields


class Parameter(NamedTuple):
    """One Python parameter of a function and the binding that fills or drains it."""

    name: str
    converter: str  # name of the converter: the binding's type, or "generic" for a plain str or bytes
    raw: RawBinding


class Function(NamedTuple):
    """A function that passed every check; what is needed to call it, and where it came from."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    trigger: Parameter
    inputs: tuple[Parameter, ...]  # the inputs beside the trigger
    outputs: tuple[Parameter, ...]
    returns: RawBinding | None  # the binding that takes the return value; an implicit one is the trigger itself
    needs_context: bool
    source: str  # file:line, relative to the app's folder
    bindings: tuple[RawBinding, ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    disabled: bool = False
    auth_level: str = "function"  # of an HTTP trigger: "anonymous", "function" or "admin"
    group: str = ""  # the functions with which it shares instances on Flex Consumption

    @property
    def kind(self) -> str:
        """The type of the trigger, such as `httpTrigger`."""
        return str(self.trigger.raw["type"])
