"""The rules, as tables.

Why each holds: https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-code-constraints for the first
hundred; for the second, behaviour of `azure-functions-durable` 1.x that its documentation does not mention.
"""

from __future__ import annotations

from typing import Final

RULES: Final = {
    "DUR101": "the clock differs at each replay: use context.current_utc_datetime",
    "DUR102": "randomness differs at each replay: use context.new_guid(), or draw in an activity",
    "DUR103": "input, output and the environment differ at each replay: do it in an activity",
    "DUR104": "waiting outside of the context is not durable: yield context.create_timer(...) or an activity",
    "DUR105": "module state outlives an instance and is lost with the process: keep it in local variables",
    "DUR106": "a set has another order in another process: sort it",
    "DUR107": "an orchestrator is a generator: it yields tasks and never awaits",
    "DUR201": "a payload from outside as the whole input: the SDK's codec looks up classes it names; wrap it in a dict of your own",
    "DUR202": "AZURE_FUNCTIONS_DURABLE_STRICT_TYPING is not '1' in the app's settings: the SDK's codec looks up any class a payload names",
    "DUR203": "the SDK sends no input at all for a falsy one, and the entity's get_input() then raises: wrap it in a dict",
    "DUR204": "the extension then skips the pause after the last attempt that the SDK waits for: the orchestration hangs",
    "DUR205": "call_http polls with timers that the SDK does not count: use an activity",
    "DUR206": "the links hold the system key, which ends or purges any instance: serve a status of your own",
    "DUR207": "a function with a durable client must be `async def`: a plain one fails at its first call",
    "DUR299": "cannot be read as Python",
}

# Qualified names; one that ends in a dot stands for all below it.
NON_DETERMINISTIC: Final = {
    "DUR101": (
        "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
        "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
        "time.perf_counter_ns", "time.process_time", "time.localtime", "time.gmtime", "time.strftime", "time.ctime",
    ),
    "DUR102": (
        "random.", "secrets.", "uuid.uuid1", "uuid.uuid4", "os.urandom", "ulid.", "numpy.random.",
    ),
    "DUR103": (
        "open", "input", "print", "io.open", "os.environ", "os.getenv", "os.environ.get", "os.listdir", "os.stat",
        "os.getpid", "os.path.exists", "os.remove", "pathlib.Path.cwd", "pathlib.Path.home", "socket.", "subprocess.",
        "requests.", "httpx.", "aiohttp.", "urllib.request.", "urllib3.", "http.client.", "sqlite3.", "azure.cosmos.",
        "azure.servicebus.", "azure.identity.", "azure.storage.", "azure.keyvault.", "stripe.", "locale.", "platform.",
    ),
    "DUR104": ("time.sleep", "asyncio.", "threading.", "concurrent.futures.", "multiprocessing.", "queue."),
}  # fmt: skip

LINKS: Final = frozenset(
    {
        "create_check_status_response",
        "create_http_management_payload",
        "get_client_response_links",
        "wait_for_completion_or_create_check_status_response",
    }
)
# Method -> position of the input among the positional arguments, and the names it goes by. Not raise_event: what the
# SDK's client raises arrives as a string of JSON, which the codec leaves alone.
SENDERS: Final = {
    "start_new": (2, ("client_input",)),
    "signal_entity": (2, ("operation_input", "operationInput")),
    "call_entity": (2, ("operationInput",)),
    "call_activity": (1, ("input_",)),
    "call_activity_with_retry": (2, ("input_",)),
    "call_sub_orchestrator": (1, ("input_",)),
    "call_sub_orchestrator_with_retry": (2, ("input_",)),
    "continue_as_new": (0, ("input_",)),
}
# Calls whose result comes straight from outside.
OUTSIDE: Final = frozenset({"get_json", "get_body", "loads"})
STRICT_TYPING: Final = "AZURE_FUNCTIONS_DURABLE_STRICT_TYPING"
