"""The table of functions and addresses that is shown at start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from local.functions_host.http import methods_of, route_of
from local.functions_host.keys import KEYS_FILE
from local.functions_host.model import Function

if TYPE_CHECKING:
    from local.functions_host.host import Host


def start_table(host: Host) -> Iterator[str]:
    """The lines of the table: functions by kind, where they answer, where the keys lie."""
    width = max(len(function.name) for function in host.functions)
    shown = () if host.options.quiet else sorted(host.functions, key=lambda each: (each.kind, each.name))
    for function in shown:
        off = "  (disabled)" if function.disabled else ""
        yield f"  {function.kind.removesuffix('Trigger'):<13} {function.name:<{width}}  {_where(host, function)}{off}"
    count = len(host.functions)
    yield f"{count} function{'s' if count != 1 else ''} at {host.address}"
    keys = host.options.data / KEYS_FILE
    if host.options.show_keys:
        yield f"master key {host.keys.master}   host key {host.keys.host['default']}"
    yield f"keys in {keys}   costs at {host.address}/diagnostics/cost?code=<master key>   Ctrl-C stops"


def _where(host: Host, function: Function) -> str:
    raw = function.trigger.raw
    if function.kind == "httpTrigger":
        methods = methods_of(function)
        level = function.auth_level
        return f"{','.join(sorted(methods)) if methods else 'ANY'} {host.address}/{route_of(function, host.host_json.route_prefix)}  [{level}]"
    if function.kind == "timerTrigger":
        return str(raw["schedule"])
    if function.kind == "serviceBusTrigger":
        return f"queue {raw.get('queueName')}" + (" (batches)" if str(raw.get("cardinality")).lower() == "many" else "")
    return function.source
