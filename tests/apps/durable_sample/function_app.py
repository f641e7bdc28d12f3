"""Every pattern of Durable Functions once: the app that the orchestration suite drives, here and in Azure."""

import json
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import azure.durable_functions as df
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


class BackoffRetry(df.RetryOptions):
    """Retry options with a back-off: the SDK has none, the extension reads these fields."""

    def __init__(self, first_ms: int, attempts: int, coefficient: float, max_ms: int) -> None:
        super().__init__(first_ms, attempts)
        self._coefficient, self._max_ms = coefficient, max_ms

    def to_json(self):
        return {
            **super().to_json(),
            "backoffCoefficient": self._coefficient,
            "maxRetryIntervalInMilliseconds": self._max_ms,
        }


# -- doors


@app.route(route="start/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client) -> func.HttpResponse:
    """Start an orchestration; `?id=` chooses its id. The body is its input."""
    body = req.get_body()
    try:
        instance_id = await client.start_new(  # durable: allow DUR201 the suite is its only caller
            req.route_params["name"], req.params.get("id"), json.loads(body) if body else None
        )
    except Exception as error:
        return func.HttpResponse(json.dumps({"error": str(error)}), status_code=409, mimetype="application/json")
    return func.HttpResponse(json.dumps({"id": instance_id}), status_code=202, mimetype="application/json")


@app.route(route="client/{operation}/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def use_client(req: func.HttpRequest, client) -> func.HttpResponse:
    """Call one method of the SDK's client, and tell what came back."""
    instance_id, body = req.route_params["id"], req.get_json() if req.get_body() else {}
    try:
        answer = await _client_operation(client, req.route_params["operation"], instance_id, body)
        return func.HttpResponse(json.dumps({"value": answer}), mimetype="application/json")
    except Exception as error:
        return func.HttpResponse(json.dumps({"error": str(error)}), status_code=400, mimetype="application/json")


async def _client_operation(client, operation, instance_id, body):
    if operation == "status":
        status = await client.get_status(instance_id, show_history=body.get("history", False), show_input=True)
        return status.to_json() | {"events": getattr(status, "historyEvents", None)} if status else None
    if operation == "raise":
        return await client.raise_event(instance_id, body["name"], body.get("data"))
    if operation == "terminate":
        return await client.terminate(instance_id, body.get("reason", "asked"))
    if operation == "suspend":
        return await client.suspend(instance_id, "asked")
    if operation == "resume":
        return await client.resume(instance_id, "asked")
    if operation == "rewind":
        return await client.rewind(instance_id, "asked")
    if operation == "restart":
        return await client.restart(instance_id, body.get("new", True))
    if operation == "purge":
        return (await client.purge_instance_history(instance_id)).instances_deleted
    if operation == "prefix":
        return [status.instance_id for status in await client.get_status_by(instance_id_prefix=instance_id)]
    if operation == "signal":
        return await client.signal_entity(
            df.EntityId(body["entity"], instance_id), body["operation"], body.get("input")
        )
    if operation == "entity":
        state = await client.read_entity_state(df.EntityId(body["entity"], instance_id))
        return {"exists": state.entity_exists, "state": state.entity_state}
    raise ValueError(f"no operation {operation}")


# -- activities


@app.activity_trigger(input_name="name")
def say_hello(name: str) -> str:
    """A result of one's own."""
    return f"Hello {name}!"


@app.activity_trigger(input_name="value")
def double(value: int) -> int:
    """Arithmetic, to see every result of a fan-out."""
    return value * 2


@app.activity_trigger(input_name="seconds")
async def snooze(seconds: float) -> float:
    """Work that takes a while."""
    import asyncio

    await asyncio.sleep(seconds)
    return seconds


_attempts: dict[str, int] = {}
_attempts_lock = threading.Lock()


@app.activity_trigger(input_name="task")
def fail_first(task: dict) -> int:
    """Fail `failures` times under one key, then tell the number of the attempt."""
    with _attempts_lock:
        number = _attempts[task["key"]] = _attempts.get(task["key"], 0) + 1
    if number <= task["failures"]:
        raise ValueError(f"attempt {number}")
    return number


@app.activity_trigger(input_name="task")
def append_line(task: dict) -> str:
    """A mark outside of the engine: one line in a file, at each run."""
    with Path(os.environ["DURABLE_SAMPLE_FILE"]).open("a", encoding="utf-8") as file:
        file.write(f"{task['id']} {task['step']}\n")
    time.sleep(task.get("seconds", 0))
    return f"{task['id']}:{task['step']}"


# -- orchestrations


@app.orchestration_trigger(context_name="context")
def chain(context: df.DurableOrchestrationContext):
    """Three steps, one after the other."""
    names = context.get_input() or ["Tokyo", "Seattle", "London"]
    result = []
    for name in names:
        result.append((yield context.call_activity("say_hello", name)))
    return result


@app.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext):
    """As many activities at once as the input says."""
    tasks = [context.call_activity("double", number) for number in range(context.get_input())]
    return sum((yield context.task_all(tasks)))


@app.orchestration_trigger(context_name="context")
def timer(context: df.DurableOrchestrationContext):
    """Wait so many seconds."""
    due = context.current_utc_datetime + timedelta(seconds=context.get_input())
    yield context.create_timer(due)
    return context.current_utc_datetime >= due


@app.orchestration_trigger(context_name="context")
def approval(context: df.DurableOrchestrationContext):
    """An event or a timeout, whichever is first."""
    timeout = context.create_timer(context.current_utc_datetime + timedelta(seconds=context.get_input()))
    event = context.wait_for_external_event("approval")
    winner = yield context.task_any([event, timeout])
    if winner == event:
        timeout.cancel()
        return {"approved": event.result}
    return "timeout"


@app.orchestration_trigger(context_name="context")
def two_events(context: df.DurableOrchestrationContext):
    """Two events of different names, and then one more step."""
    values = yield context.task_all([context.wait_for_external_event("left"), context.wait_for_external_event("right")])
    hello = yield context.call_activity("say_hello", "events")
    return [*values, hello]


@app.orchestration_trigger(context_name="context")
def retry(context: df.DurableOrchestrationContext):
    """An activity that fails so often, with three attempts."""
    task = context.get_input()
    options = df.RetryOptions(task.get("interval", 200), 3)
    try:
        return (yield context.call_activity_with_retry("fail_first", options, task))
    except Exception as error:
        return f"gave up: {error}"


@app.orchestration_trigger(context_name="context")
def retry_backoff(context: df.DurableOrchestrationContext):
    """Pauses of 100, 200 and 250 ms."""
    return (yield context.call_activity_with_retry("fail_first", BackoffRetry(100, 4, 2.0, 250), context.get_input()))


@app.orchestration_trigger(context_name="context")
def retries_in_all(context: df.DurableOrchestrationContext):
    """Retries beside other tasks, and a step after them."""
    key = context.instance_id
    results = yield context.task_all(
        [
            context.call_activity_with_retry("fail_first", df.RetryOptions(50, 3), {"key": key + "a", "failures": 2}),
            context.call_activity("double", 4),
            context.call_activity_with_retry("fail_first", df.RetryOptions(80, 3), {"key": key + "b", "failures": 1}),
        ]
    )
    last = yield context.call_activity("double", 50)
    return [*results, last]


@app.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext):
    """Children with and without an id of their own."""
    mine = yield context.call_sub_orchestrator("chain", ["a"], f"{context.instance_id}-child")
    other = yield context.call_sub_orchestrator("chain", ["b"])
    return [*mine, *other]


@app.orchestration_trigger(context_name="context")
def parent_of_failure(context: df.DurableOrchestrationContext):
    """A child that fails, and what its parent sees."""
    try:
        yield context.call_sub_orchestrator("failing", "child")
    except Exception as error:
        return f"seen: {error}"
    return "not seen"


@app.orchestration_trigger(context_name="context")
def parent_of_waiting(context: df.DurableOrchestrationContext):
    """A child that waits, for somebody to end it from outside."""
    try:
        return (yield context.call_sub_orchestrator("approval", 300, f"{context.instance_id}-child"))
    except Exception as error:
        return f"seen: {error}"


@app.orchestration_trigger(context_name="context")
def parent_with_retry(context: df.DurableOrchestrationContext):
    """A child that fails at first."""
    return (yield context.call_sub_orchestrator_with_retry("fails_first", df.RetryOptions(100, 3), context.get_input()))


@app.orchestration_trigger(context_name="context")
def fails_first(context: df.DurableOrchestrationContext):
    """A child whose activity fails at first."""
    return (yield context.call_activity("fail_first", context.get_input()))


@app.orchestration_trigger(context_name="context")
def failing(context: df.DurableOrchestrationContext):
    """One step, then an exception."""
    yield context.call_activity("double", 1)
    raise ValueError(f"no luck, {context.get_input()}")


@app.orchestration_trigger(context_name="context")
def countdown(context: df.DurableOrchestrationContext):
    """Continue as new until nothing is left."""
    state = context.get_input()
    yield context.call_activity("double", state["left"])
    if state["left"] > 0:
        context.continue_as_new({"left": state["left"] - 1, "rounds": state["rounds"] + 1})
        return None
    return state["rounds"]


@app.orchestration_trigger(context_name="context")
def custom_status(context: df.DurableOrchestrationContext):
    """Tell how far it has come."""
    for step in ("one", "two"):
        context.set_custom_status({"step": step})
        yield context.wait_for_external_event(step)
    return "done"


@app.orchestration_trigger(context_name="context")
def with_entities(context: df.DurableOrchestrationContext):
    """Signal and call an entity, hear its error, read it."""
    counter = df.EntityId("counter", context.instance_id)
    context.signal_entity(counter, "add", 5)
    first = yield context.call_entity(counter, "add", 7)
    try:
        yield context.call_entity(counter, "explode")
        failure = None
    except Exception as error:
        failure = str(error)
    hello = yield context.call_activity("say_hello", "entity")
    last = yield context.call_entity(counter, "get")
    return [first, failure, hello, last]


@app.orchestration_trigger(context_name="context")
def nested(context: df.DurableOrchestrationContext):
    """Any of all of any."""
    slow = context.create_timer(context.current_utc_datetime + timedelta(seconds=60))
    inner = context.task_all([context.call_activity("double", 1), context.call_activity("double", 2)])
    winner = yield context.task_any([slow, inner])
    after = yield context.call_activity("double", 3)
    slow.cancel()
    return [winner == inner, inner.result, after]


@app.orchestration_trigger(context_name="context")
def journal(context: df.DurableOrchestrationContext):
    """Steps whose marks can be counted outside: what a crash test checks."""
    job = context.get_input()
    results = []
    for step in range(job["steps"]):
        results.append(
            (
                yield context.call_activity(
                    "append_line", {"id": job["id"], "step": step, "seconds": job.get("seconds", 0)}
                )
            )
        )
    wide = [
        context.call_activity("append_line", {"id": job["id"], "step": f"w{number}"})
        for number in range(job.get("wide", 0))
    ]
    if wide:
        results += yield context.task_all(wide)
    if job.get("wait"):
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=job["wait"]))
    if job.get("child"):
        results += yield context.call_sub_orchestrator("journal", {"id": f"{job['id']}c", "steps": 1})
    if job.get("count"):
        results.append((yield context.call_entity(df.EntityId("counter", job["count"]), "add", 1)) > 0)
    return results


@app.orchestration_trigger(context_name="context")
def all_fails(context: df.DurableOrchestrationContext):
    """One of two fails at once; the step after it starts when the other has ended."""
    try:
        yield context.task_all(
            [
                context.call_activity("fail_first", {"key": context.instance_id, "failures": 9}),
                context.call_activity("snooze", context.get_input()),
            ]
        )
    except Exception as error:
        done = yield context.call_activity("say_hello", "rescue")
        return [done, "attempt 1" in str(error)]
    return None


@app.orchestration_trigger(context_name="context")
def same_event_twice(context: df.DurableOrchestrationContext):
    """Two waits for one name, with work before: what came early is seen twice by the SDK."""
    yield context.call_activity("snooze", 0.3)
    first = yield context.wait_for_external_event("item")
    second = yield context.wait_for_external_event("item")
    return [first, second]


@app.orchestration_trigger(context_name="context")
def wait_for_name(context: df.DurableOrchestrationContext):
    """Wait for the event whose name is the input."""
    return (yield context.wait_for_external_event(context.get_input()))


@app.orchestration_trigger(context_name="context")
def reyield_loser(context: df.DurableOrchestrationContext):
    """Pitfall: a task with retry that lost a race is yielded again."""
    key = context.instance_id
    slow = context.call_activity_with_retry("fail_first", df.RetryOptions(150, 3), {"key": key, "failures": 1})
    quick = context.call_activity("double", 1)
    yield context.task_any([slow, quick])
    late = yield slow
    after = yield context.call_activity("double", 2)
    return [late, after]


@app.orchestration_trigger(context_name="context")
def leaking_result(context: df.DurableOrchestrationContext):
    """Pitfall: an operation that sets no result, in one batch with another that does."""
    entity = df.EntityId("counter", context.instance_id)
    return (yield context.task_all([context.call_entity(entity, "add", 3), context.call_entity(entity, "silent")]))


@app.orchestration_trigger(context_name="context")
def unknown_activity(context: df.DurableOrchestrationContext):
    """An activity that nobody wrote."""
    return (yield context.call_activity("nobody_wrote_this", 1))


_flip: dict[str, int] = {}


@app.orchestration_trigger(context_name="context")
def non_deterministic(context: df.DurableOrchestrationContext):
    """Another activity at each replay."""
    count = _flip[context.instance_id] = _flip.get(context.instance_id, 0) + 1
    yield context.call_activity("double" if count % 2 else "say_hello", 1)
    yield context.wait_for_external_event("go")
    return count


@app.orchestration_trigger(context_name="context")
def rewindable(context: df.DurableOrchestrationContext):
    """Fails until its activity has failed often enough."""
    first = yield context.call_activity("double", 21)
    second = yield context.call_activity("fail_first", context.get_input())
    return [first, second]


@app.orchestration_trigger(context_name="context")
def plain(context: df.DurableOrchestrationContext):
    """No yield at all."""
    return {"input": context.get_input()}


# -- entities


@app.entity_trigger(context_name="context")
def counter(context: df.DurableEntityContext) -> None:
    """A number."""
    value = context.get_state(lambda: 0)
    if context.operation_name == "add":
        value += context.get_input()
        context.set_state(value)
        context.set_result(value)
    elif context.operation_name == "get":
        context.set_result(value)
    elif context.operation_name == "reset":
        context.destruct_on_exit()
    elif context.operation_name == "explode":
        context.set_state(999)
        raise RuntimeError("bang")
    # "silent" sets no result: the caller sees the result of the operation before it in the batch
