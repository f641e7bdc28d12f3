"""What the host knows of an app's functions and their bindings once it is loaded."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from local.functions_host.loader import index_app
from tests.contract.functions_host.loading import HEAD, load


def test_blueprints_and_either_kind_of_app_are_one_and_the_same() -> None:
    namespace: dict[str, Any] = {}
    exec(
        HEAD
        + textwrap.dedent(
            """
            app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
            blueprint = func.Blueprint()
            @blueprint.route(route="from-blueprint")
            def main(req: func.HttpRequest) -> str: ...
            app.register_functions(blueprint)
            """
        ),
        namespace,
    )
    (function,) = index_app(namespace["app"], Path("/nowhere"))
    assert (function.name, function.auth_level, function.trigger.raw["route"]) == (
        "main",
        "anonymous",
        "from-blueprint",
    )


def test_what_is_known_of_a_function() -> None:
    (function,) = load(
        """
        @app.route(route="a/{b}", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
        @app.service_bus_queue_output(arg_name="out", queue_name="%Q%", connection="C")
        async def main(req: func.HttpRequest, out: func.Out[str], context: func.Context) -> func.HttpResponse: ...
        """
    )
    assert (function.kind, function.is_async, function.needs_context, function.auth_level) == (
        "httpTrigger",
        True,
        True,
        "admin",
    )
    assert [(each.name, each.converter, each.raw["queueName"]) for each in function.outputs] == [
        ("out", "generic", "%Q%")
    ]
    assert function.returns is not None
    assert function.returns["type"] == "http"


def test_bindings_are_those_that_azure_is_told() -> None:
    (function,) = load(
        """
        @app.route(route="a/{b}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
        @app.service_bus_queue_output(arg_name="out", queue_name="%Q%", connection="C")
        @app.durable_client_input(client_name="client")
        async def main(req: func.HttpRequest, out: func.Out[str], client) -> func.HttpResponse: ...
        """
    )
    told = {
        str(raw["name"]): {name: value for name, value in raw.items() if name != "name"} for raw in function.bindings
    }
    assert told == {
        "req": {
            "type": "httpTrigger",
            "direction": 0,
            "authLevel": "ANONYMOUS",
            "route": "a/{b}",
            "methods": ["GET", "POST"],
        },
        "$return": {"type": "http", "direction": 1},
        "out": {"type": "serviceBus", "direction": 1, "connection": "C", "queueName": "%Q%"},
        "client": {"type": "durableClient", "direction": 0},
    }
