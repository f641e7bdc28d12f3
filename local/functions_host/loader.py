"""Importing an app's `function_app.py` and listing its functions, as the Functions worker does."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from local.common.errors import StartError
from local.functions_host.model import Function
from local.functions_host.places import place_of, relative_to
from local.functions_host.settings import is_disabled
from local.functions_host.validator import FunctionRefused, validate

SCRIPT = "function_app"


def load_app(folder: Path) -> list[Function]:
    """Import the app in `folder` (which becomes the current folder and leads `sys.path`) and check every function.

    Raises:
        StartError: there is no app, its import raises, it has not exactly one app object, or functions are refused.
    """
    script = folder / f"{SCRIPT}.py"
    if not script.is_file():
        raise StartError(f"{folder} holds no {SCRIPT}.py; give the folder of a functions app (Python, v2 model)")
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    module = _import(folder)
    _same_file(module, script)
    app = _the_app(module, script)
    return index_app(app, folder)


def index_app(app: Any, folder: Path) -> list[Function]:
    """Check every function of an app object; the SDK lets this be asked only once of an app.

    Raises:
        StartError: with the reason of each function that is refused.
    """
    try:
        loaded = app.get_functions()
    except Exception as error:  # the SDK raises bare Exception and ValueError for what it refuses
        raise StartError(f"{folder / SCRIPT}.py: {error}") from error
    return _check_all(loaded, folder)


def _import(folder: Path) -> ModuleType:
    try:
        return importlib.import_module(SCRIPT)
    except StartError:
        raise
    except SystemExit as error:
        raise StartError(
            f"{folder / SCRIPT}.py ends the program while it is imported (exit code {error.code})"
        ) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise StartError(f"{SCRIPT}.py cannot be loaded: {place_of(error, folder)}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """The exception as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _same_file(module: ModuleType, script: Path) -> None:
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != script.resolve():
        raise StartError(f"importing {SCRIPT} gave {found} instead of {script}; rename the module that hides it")


def _the_app(module: ModuleType, script: Path) -> Any:
    import azure.functions

    register = azure.functions.FunctionRegister
    found = {name: value for name, value in vars(module).items() if isinstance(value, register)}
    distinct = {id(value): value for value in found.values()}
    if not distinct:
        raise StartError(f"{script}: no app object found; write `app = azure.functions.FunctionApp()` at its top level")
    if len(found) > 1:
        raise StartError(
            f"{script}: exactly one app object is allowed at its top level, found {', '.join(sorted(found))}"
        )
    return next(iter(distinct.values()))


def _check_all(loaded: list[Any], folder: Path) -> list[Function]:
    functions: list[Function] = []
    refused: list[str] = []
    for each in loaded:
        name, call = str(each.get_function_name()), each.get_user_function()
        source = _source(call, folder)
        bindings = tuple(_as_numbers(json.loads(raw)) for raw in each.get_raw_bindings())
        retry = each.get_settings_dict("retry_policy")
        try:
            functions.append(
                validate(
                    name,
                    call,
                    bindings,
                    source=source,
                    settings={"retry_policy": retry} if retry else {},
                    disabled=is_disabled(name),
                )
            )
        except FunctionRefused as error:
            refused.append(f"function {name} ({source}): {error}")
    if refused:
        raise StartError("; ".join(refused))
    if not functions:
        raise StartError(f"{folder / SCRIPT}.py declares no function; add one with a decorator such as @app.route()")
    return functions


def _as_numbers(raw: dict[str, Any]) -> dict[str, Any]:
    """The SDK writes a binding's direction as text ("IN"), as the host's schema does; the model here has the number."""
    direction = str(raw.get("direction", "in")).lower()
    return {**raw, "direction": {"in": 0, "out": 1, "inout": 2}.get(direction, 0)}


def _source(call: Any, folder: Path) -> str:
    """file:line of the function as its author wrote it (the durable SDK wraps it and keeps the original)."""
    for wrapper in ("orchestrator_function", "client_function", "entity_function"):
        call = getattr(call, wrapper, call)
    code = getattr(inspect.unwrap(call), "__code__", None)
    if code is None:
        return "?"
    return f"{relative_to(code.co_filename, folder)}:{code.co_firstlineno}"
