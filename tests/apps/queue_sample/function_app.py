"""Service Bus triggers and outputs, single and batched; each call leaves a line in the file named by QUEUE_SAMPLE_FILE."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import List  # noqa: UP035 - the worker takes typing.List, not list[...]

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
CONNECTION = "SampleBus"


def note(function: str, **values: object) -> None:
    line = json.dumps({"function": function, "at": time.time(), **values}) + "\n"
    with Path(os.environ["QUEUE_SAMPLE_FILE"]).open("a") as file:
        file.write(line)


def described(message: func.ServiceBusMessage) -> dict[str, object]:
    return {
        "body": message.get_body().decode(),
        "id": message.message_id,
        "delivery": message.delivery_count,
        "sequence": message.sequence_number,
        "subject": message.subject,
        "correlation": message.correlation_id,
        "properties": message.application_properties,
        "enqueued": message.enqueued_time_utc.isoformat() if message.enqueued_time_utc else None,
    }


@app.service_bus_queue_trigger(arg_name="message", queue_name="%SINGLE%", connection=CONNECTION)
async def single(message: func.ServiceBusMessage) -> None:
    seen = described(message)
    body = str(seen["body"])
    note("single", phase="start", **seen)
    if body.startswith("fail"):
        raise ValueError("told to")
    if body.startswith("sleep "):
        await asyncio.sleep(float(body.split()[1]))
    note("single", phase="end", **seen)


@app.service_bus_queue_trigger(arg_name="messages", queue_name="%BATCHED%", connection=CONNECTION, cardinality="many")
def batched(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
    note("batched", messages=[described(message) for message in messages])
    if any(message.get_body() == b"fail" and message.delivery_count == 1 for message in messages):
        raise ValueError("told to")


@app.service_bus_queue_trigger(arg_name="text", queue_name="%TEXT%", connection=CONNECTION)
def as_text(text: str) -> None:
    note("as_text", type=type(text).__name__, body=text)


@app.route(route="send")
@app.service_bus_queue_output(arg_name="out", queue_name="%SINGLE%", connection=CONNECTION)
def send(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    if "text" in req.params:
        out.set(req.params["text"])
    return func.HttpResponse("done")


@app.route(route="send-bytes")
@app.service_bus_queue_output(arg_name="out", queue_name="%SINGLE%", connection=CONNECTION)
async def send_bytes(req: func.HttpRequest, out: func.Out[bytes]) -> func.HttpResponse:
    out.set(req.get_body())
    return func.HttpResponse("done")


@app.route(route="send-nowhere")
@app.service_bus_queue_output(arg_name="out", queue_name="there-is-no-such-queue", connection=CONNECTION)
def send_nowhere(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    out.set("lost")
    return func.HttpResponse("done")
