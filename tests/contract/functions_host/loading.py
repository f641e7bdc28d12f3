"""An app loaded from the text of its module."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from local.functions_host.loader import index_app
from local.functions_host.model import Function
from local.functions_host.routes import check_routes

HEAD = """
import azure.functions as func
import azure.durable_functions as df
import typing
app = func.FunctionApp()
"""


def load(body: str) -> list[Function]:
    """The functions of an app whose module has this text."""
    namespace: dict[str, Any] = {"__name__": "sample"}
    exec(compile(HEAD + textwrap.dedent(body), "function_app.py", "exec"), namespace)
    functions = index_app(namespace["app"], Path("/nowhere"))
    check_routes(functions, "api")
    return functions
