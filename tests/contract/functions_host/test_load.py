"""Which apps load: the verdicts of Microsoft's worker on good and bad functions, as they were observed on it."""

from __future__ import annotations

import pytest

from local.common.errors import StartError
from tests.contract.functions_host.loading import load

GOOD = {
    "annotated": """
        @app.route(route="a")
        def main(req: func.HttpRequest) -> func.HttpResponse: ...
    """,
    "no annotations": """
        @app.route(route="a")
        def main(req): ...
    """,
    "a str answer": """
        @app.route(route="a")
        async def main(req: func.HttpRequest) -> str: ...
    """,
    "a context": """
        @app.route(route="a")
        def main(req: func.HttpRequest, context: func.Context) -> str: ...
    """,
    "a context without annotation": """
        @app.route(route="a")
        def main(req: func.HttpRequest, context) -> str: ...
    """,
    "a timer": """
        @app.timer_trigger(arg_name="tick", schedule="0 * * * * *")
        def main(tick: func.TimerRequest) -> None: ...
    """,
    "a timer as str": """
        @app.timer_trigger(arg_name="tick", schedule="0 * * * * *")
        def main(tick: str) -> None: ...
    """,
    "an output": """
        @app.route(route="a")
        @app.service_bus_queue_output(arg_name="out", queue_name="q", connection="C")
        def main(req: func.HttpRequest, out: func.Out[str]) -> str: ...
    """,
    "a queue message": """
        @app.service_bus_queue_trigger(arg_name="message", queue_name="q", connection="C")
        def main(message: func.ServiceBusMessage): ...
    """,
    "a batch of messages": """
        @app.service_bus_queue_trigger(arg_name="messages", queue_name="q", connection="C", cardinality="many")
        def main(messages: typing.List[func.ServiceBusMessage]): ...
    """,
    "an activity of any class": """
        @app.activity_trigger(input_name="value")
        def main(value: dict) -> dict: ...
    """,
    "an activity with typing generics": """
        @app.activity_trigger(input_name="value")
        def main(value: typing.Dict[str, int]): ...
    """,
    "an orchestrator": """
        @app.orchestration_trigger(context_name="context")
        def main(context: df.DurableOrchestrationContext): yield
    """,
    "an entity": """
        @app.entity_trigger(context_name="context")
        def main(context: df.DurableEntityContext): ...
    """,
    "a durable client": """
        @app.route(route="a")
        @app.durable_client_input(client_name="client")
        async def main(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse: ...
    """,
    "one route, two methods": """
        @app.route(route="a", methods=["GET"])
        def one(req): ...
        @app.route(route="A", methods=["POST"])
        def two(req): ...
    """,
}

BAD = {
    "a parameter without binding": (
        """
        @app.route(route="a")
        def main(req: func.HttpRequest, other: str) -> str: ...
        """,
        "declared in Python but have no binding: other",
    ),
    "a binding without parameter": (
        """
        @app.route(route="a")
        @app.service_bus_queue_output(arg_name="out", queue_name="q", connection="C")
        def main(req: func.HttpRequest) -> str: ...
        """,
        "bindings have no parameter in Python: out",
    ),
    "a wrong context": (
        """
        @app.route(route="a")
        def main(req: func.HttpRequest, context: dict) -> str: ...
        """,
        '"context" parameter is expected to be of type azure.functions.Context',
    ),
    "an output that is no Out": (
        """
        @app.route(route="a")
        @app.service_bus_queue_output(arg_name="out", queue_name="q", connection="C")
        def main(req: func.HttpRequest, out: str) -> str: ...
        """,
        "not a subclass of azure.functions.Out",
    ),
    "an input that is an Out": (
        """
        @app.route(route="a")
        def main(req: func.Out[str]) -> str: ...
        """,
        'has the "in" direction',
    ),
    "an Out of the wrong type": (
        """
        @app.route(route="a")
        @app.service_bus_queue_output(arg_name="out", queue_name="q", connection="C")
        def main(req: func.HttpRequest, out: func.Out[dict]) -> str: ...
        """,
        'type of out binding "serviceBus" does not match its Python annotation "dict"',
    ),
    "a union": (
        """
        @app.activity_trigger(input_name="value")
        def main(value: dict | None): ...
        """,
        "invalid non-type annotation dict | None",
    ),
    "an optional": (
        """
        @app.activity_trigger(input_name="value")
        def main(value: typing.Optional[dict]): ...
        """,
        "invalid non-type annotation",
    ),
    "a built-in generic": (
        """
        @app.activity_trigger(input_name="value")
        def main(value: dict[str, int]): ...
        """,
        "invalid non-type annotation dict[str, int]",
    ),
    "a trigger of another type": (
        """
        @app.timer_trigger(arg_name="tick", schedule="0 * * * * *")
        def main(tick: func.HttpRequest): ...
        """,
        'type of tick binding "timerTrigger" does not match its Python annotation "HttpRequest"',
    ),
    "a dict as request": (
        """
        @app.route(route="a")
        def main(req: dict) -> str: ...
        """,
        'type of req binding "httpTrigger" does not match its Python annotation "dict"',
    ),
    "an HTTP function that returns None": (
        """
        @app.route(route="a")
        def main(req: func.HttpRequest) -> None: ...
        """,
        'return annotation "NoneType" does not match binding type "http"',
    ),
    "an HTTP function that returns a union": (
        """
        @app.route(route="a")
        def main(req: func.HttpRequest) -> str | func.HttpResponse: ...
        """,
        "invalid non-type return annotation",
    ),
    "an HTTP function that returns Out": (
        """
        @app.route(route="a")
        def main(req: func.HttpRequest) -> func.Out[str]: ...
        """,
        "return annotation should not be azure.functions.Out",
    ),
    "a name that nothing defines": (
        """
        @app.route(route="a")
        def main(req: "func.Nothing") -> str: ...
        """,
        "annotations cannot be read",
    ),
    "an orchestrator whose context has another name": (
        """
        @app.orchestration_trigger(context_name="ctx")
        def main(ctx): yield
        """,
        '"context" parameter is expected to be of type azure.functions.Context',
    ),
    "a plain function with a durable client": (
        """
        @app.route(route="a")
        @app.durable_client_input(client_name="client")
        def main(req: func.HttpRequest, client) -> str: ...
        """,
        "must be an `async def`",
    ),
    "two functions of one name": (
        """
        @app.route(route="a")
        def main(req): ...
        @app.route(route="b")
        @app.function_name("main")
        def other(req): ...
        """,
        "does not have a unique function name",
    ),
    "no trigger": (
        """
        @app.service_bus_queue_output(arg_name="out", queue_name="q", connection="C")
        def main(out: func.Out[str]): ...
        """,
        "does not have a trigger",
    ),
    "a trigger that this host lacks": (
        """
        @app.blob_trigger(arg_name="blob", path="a/b", connection="C")
        def main(blob: func.InputStream): ...
        """,
        "this host has no blobTrigger",
    ),
    "two functions on one route": (
        """
        @app.route(route="a", methods=["GET", "POST"])
        def one(req): ...
        @app.route(route="A", methods=["POST"])
        def two(req): ...
        """,
        "conflicts with the route of one",
    ),
    "a reserved route": (
        """
        @app.route(route="admin/things")
        def main(req): ...
        """,
        "conflicts with one or more built in routes",
    ),
    "a malformed route": (
        """
        @app.route(route="a/{b")
        def main(req): ...
        """,
        "unmatched brace",
    ),
    "an unknown route constraint": (
        """
        @app.route(route="a/{b:number}")
        def main(req): ...
        """,
        "there is no route constraint number",
    ),
    "no function": ("", "declares no function"),
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD.keys())
def test_loads(body: str) -> None:
    assert load(body)


@pytest.mark.parametrize(("body", "reason"), BAD.values(), ids=BAD.keys())
def test_is_refused_with_the_reason(body: str, reason: str) -> None:
    with pytest.raises(StartError) as refusal:
        load(body)
    assert reason in str(refusal.value)


def test_every_refused_function_is_named_at_once() -> None:
    with pytest.raises(StartError) as refusal:
        load(
            """
            @app.route(route="a")
            def one(req: dict) -> str: ...
            @app.route(route="b")
            def two(req: dict) -> str: ...
            """
        )
    assert "function one (" in str(refusal.value)
    assert "function two (" in str(refusal.value)
