"""The rules by which Microsoft's Python worker accepts or refuses a function, applied at start with the worker's reasons.

The rules were taken from the behaviour of the public worker (https://github.com/Azure/azure-functions-python-worker);
one is added: a plain `def` with a durable client, which the worker accepts and which then fails at every call.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from local.functions_host.model import Function, Parameter, RawBinding

SUPPORTED_TRIGGERS = (
    "httpTrigger",
    "timerTrigger",
    "serviceBusTrigger",
    "orchestrationTrigger",
    "activityTrigger",
    "entityTrigger",
)
SUPPORTED_OTHERS = ("http", "serviceBus", "durableClient")
_OUT, _INOUT = 1, 2


class FunctionRefused(Exception):
    """A function that Microsoft's worker would refuse; the text is the reason."""


def validate(
    name: str,
    call: Callable[..., Any],
    bindings: tuple[RawBinding, ...],
    *,
    source: str = "",
    settings: Mapping[str, Any] | None = None,
    disabled: bool = False,
) -> Function:
    """Check one function against its bindings and work out how it is called.

    Args:
        name: the function's name.
        call: what the SDK says is to be called.
        bindings: the raw bindings, the trigger among them.
        source: where the function stands, for messages.
        settings: its `retry_policy`, if it has one.
        disabled: whether an app setting switches it off.

    Raises:
        FunctionRefused: with the worker's reason.
    """
    bound, returns = _sort_bindings(bindings)
    parameters = dict(inspect.signature(call).parameters)
    annotations = _annotations(call)
    needs_context = _take_context(parameters, annotations, bound)
    _same_names(parameters, bound)
    checked = {each: _parameter(each, bound[each], annotations) for each in parameters}
    _check_return(annotations, bindings)
    _refuse_sync_client(call, bindings)
    trigger = next(raw for raw in bindings if str(raw["type"]).endswith("Trigger"))
    inputs = [each for each in checked.values() if each.raw["direction"] != _OUT and each.raw is not trigger]
    return Function(
        name=name,
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        trigger=checked[str(trigger["name"])],
        inputs=tuple(inputs),
        outputs=tuple(each for each in checked.values() if each.raw["direction"] == _OUT),
        returns=returns,
        needs_context=needs_context,
        source=source,
        bindings=bindings,
        settings=settings or {},
        disabled=disabled,
        auth_level=str(trigger.get("authLevel") or "function").lower(),
        group=_group(str(trigger["type"]), name),
    )


def _group(kind: str, name: str) -> str:
    """All HTTP functions share instances, all Durable ones do, each other function has its own.

    https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#per-function-scaling
    """
    if kind == "httpTrigger":
        return "http"
    return "durable" if kind in ("orchestrationTrigger", "activityTrigger", "entityTrigger") else name


def _sort_bindings(bindings: tuple[RawBinding, ...]) -> tuple[dict[str, RawBinding], RawBinding | None]:
    bound: dict[str, RawBinding] = {}
    returns: RawBinding | None = None
    for raw in bindings:
        kind, direction = str(raw["type"]), raw["direction"]
        if kind.endswith("Trigger") and kind not in SUPPORTED_TRIGGERS:
            raise FunctionRefused(f"this host has no {kind}; it has {', '.join(SUPPORTED_TRIGGERS)}")
        if not kind.endswith("Trigger") and kind not in SUPPORTED_OTHERS:
            raise FunctionRefused(f"this host has no binding {kind}; it has {', '.join(SUPPORTED_OTHERS)}")
        if direction == _INOUT:
            raise FunctionRefused('"inout" bindings are not supported')
        if raw["name"] == "$return":
            if direction != _OUT:
                raise FunctionRefused('"$return" binding must have direction set to "out"')
            returns = raw
            continue
        if _converter(kind).has_implicit_output() if hasattr(_converter(kind), "has_implicit_output") else False:
            returns = raw
        bound[str(raw["name"])] = raw
    return bound, returns


def _annotations(call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(call)
    except (NameError, TypeError, AttributeError) as error:
        raise FunctionRefused(f"its annotations cannot be read: {error}") from error


def _take_context(
    parameters: dict[str, inspect.Parameter], annotations: dict[str, Any], bound: dict[str, RawBinding]
) -> bool:
    if "context" not in parameters or "context" in bound:
        return False
    del parameters["context"]
    annotation = annotations.get("context")
    if "context" in annotations and (not isinstance(annotation, type) or annotation.__name__ != "Context"):
        raise FunctionRefused(
            f'the "context" parameter is expected to be of type azure.functions.Context, got {annotation!r}'
        )
    return True


def _same_names(parameters: dict[str, inspect.Parameter], bound: dict[str, RawBinding]) -> None:
    only_python = sorted(set(parameters) - set(bound))
    if only_python:
        raise FunctionRefused(
            f"these parameters are declared in Python but have no binding: {', '.join(only_python)} (bindings: {', '.join(bound)})"
        )
    only_bound = sorted(set(bound) - set(parameters))
    if only_bound:
        raise FunctionRefused(f"these bindings have no parameter in Python: {', '.join(only_bound)}")


def _parameter(name: str, raw: RawBinding, annotations: dict[str, Any]) -> Parameter:
    kind = str(raw["type"])
    if name not in annotations:
        return Parameter(name, kind, raw)
    annotation = annotations[name]
    is_out = _is_out(annotation)
    pytype = annotation
    if is_out:
        arguments = typing.get_args(annotation)
        if len(arguments) != 1:
            raise FunctionRefused(f"binding {name} has invalid Out annotation {annotation!r}")
        pytype = arguments[0]
    if not _is_class(pytype) and not _is_typing_generic(pytype):
        raise FunctionRefused(f"binding {name} has invalid non-type annotation {annotation!r}")
    if raw["direction"] == _OUT and not is_out:
        raise FunctionRefused(
            f'binding {name} is declared to have the "out" direction, but its annotation in Python is not a subclass of azure.functions.Out'
        )
    if raw["direction"] != _OUT and is_out:
        raise FunctionRefused(
            f'binding {name} has the "in" direction, but its annotation is azure.functions.Out in Python'
        )
    implicit = getattr(_converter(kind), "has_implicit_output", lambda: False)()
    converter = "generic" if pytype in (str, bytes) and not implicit else kind
    if converter != "generic" and not _fits(converter, pytype, is_out):
        raise FunctionRefused(
            f'type of {name} binding "{kind}" does not match its Python annotation "{_type_name(pytype)}"'
        )
    return Parameter(name, converter, raw)


def _check_return(annotations: dict[str, Any], bindings: tuple[RawBinding, ...]) -> None:
    explicit = next((raw for raw in bindings if raw["name"] == "$return"), None)
    if explicit is None or "return" not in annotations:
        return
    annotation = annotations["return"]
    if _is_out(annotation):
        raise FunctionRefused("return annotation should not be azure.functions.Out")
    if not _is_class(annotation):
        raise FunctionRefused(f"has invalid non-type return annotation {annotation!r}")
    if not _fits(str(explicit["type"]), annotation, out=True):
        raise FunctionRefused(
            f'Python return annotation "{annotation.__name__}" does not match binding type "{explicit["type"]}"'
        )


def _refuse_sync_client(call: Callable[..., Any], bindings: tuple[RawBinding, ...]) -> None:
    if not any(raw["type"] == "durableClient" for raw in bindings):
        return
    written = getattr(call, "client_function", call)  # the SDK wraps the function and keeps the original here
    if not inspect.iscoroutinefunction(written):
        raise FunctionRefused(
            "a function with a durable client must be an `async def`: the SDK awaits it, so a plain `def` loads and then fails at every call"
        )


def _converter(kind: str) -> Any:
    from azure.functions.meta import get_binding_registry

    registry: Any = get_binding_registry()  # type: ignore[no-untyped-call]
    return registry.get(kind)


def _fits(kind: str, pytype: Any, out: bool) -> bool:
    converter = _converter(kind)
    try:
        check = converter.check_output_type_annotation if out else converter.check_input_type_annotation
        return bool(check(pytype))
    except (AttributeError, TypeError):  # no converter for that direction, or issubclass() of a generic
        return False


def _is_class(annotation: Any) -> bool:
    return isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)


def _is_typing_generic(annotation: Any) -> bool:
    """`typing.List[X]` passes the worker's check; `list[X]` and unions do not."""
    origin = typing.get_origin(annotation)
    return (
        origin is not None
        and not isinstance(annotation, types.GenericAlias | types.UnionType)
        and origin not in (typing.Union, typing.ClassVar, tuple)
        and _is_class(origin)
    )


def _is_out(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and origin.__name__ == "Out"


def _type_name(pytype: Any) -> str:
    return getattr(pytype, "__name__", str(pytype))
