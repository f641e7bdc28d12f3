"""host.json: the parts of it that this host honours. https://learn.microsoft.com/azure/azure-functions/functions-host-json"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from local.common.errors import StartError
from local.functions_host.timespan import parse_timespan

DEFAULT_TIMEOUT_SECONDS = 30 * 60.0  # Flex Consumption's default
DEFAULT_BODY_LIMIT = 100 * 1024 * 1024  # bytes; Azure's FUNCTIONS_REQUEST_BODY_SIZE_LIMIT


class ServiceBusOptions(NamedTuple):
    """`extensions.serviceBus`, with the extension's own defaults (durations in seconds)."""

    prefetch_count: int = 0
    auto_complete: bool = True
    lock_renewal: float = 300.0
    concurrent_calls: int = 16
    batch_size: int = 1000
    batch_minimum: int = 1
    batch_wait: float = 30.0


class HostJson(NamedTuple):
    """The settings of one app's host.json."""

    route_prefix: str = "api"
    timeout: float | None = DEFAULT_TIMEOUT_SECONDS  # seconds of one call; None is unlimited
    service_bus: ServiceBusOptions = ServiceBusOptions()
    hub_name: str = "TestHubName"  # the extension's own default
    durable: Mapping[str, Any] = MappingProxyType({})
    log_levels: Mapping[str, str] = MappingProxyType({"default": "Information"})


def load_host_json(folder: Path) -> HostJson:
    """Read `host.json` of an app.

    Raises:
        StartError: it is missing, not JSON, not version 2.0, or a value that this host uses has the wrong form.
    """
    path = folder / "host.json"
    try:
        document = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise StartError(
            f'{path} is missing; a functions app has a host.json (the least is {{"version": "2.0"}})'
        ) from None
    except (OSError, ValueError) as error:
        raise StartError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict) or document.get("version") != "2.0":
        raise StartError(f'{path}: "version" must be "2.0"')
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StartError(f"{path}: {error}") from error


def _parse(document: dict[str, Any]) -> HostJson:
    extensions = document.get("extensions", {})
    durable = extensions.get("durableTask", {})
    return HostJson(
        route_prefix=str(extensions.get("http", {}).get("routePrefix", "api")).strip("/"),
        timeout=_timeout(document.get("functionTimeout")),
        service_bus=_service_bus(extensions.get("serviceBus", {})),
        hub_name=str(durable.get("hubName", "TestHubName")),
        durable=durable,
        log_levels=dict(document.get("logging", {}).get("logLevel", {"default": "Information"})),
    )


def _timeout(text: str | None) -> float | None:
    if text is None:
        return DEFAULT_TIMEOUT_SECONDS
    if text == "-1":
        return None
    seconds = parse_timespan(text)
    if seconds < 1:
        raise ValueError(f"functionTimeout is {text}; the least is 00:00:01 (or -1 for no limit)")
    return seconds


def _service_bus(section: dict[str, Any]) -> ServiceBusOptions:
    standard = ServiceBusOptions()

    def whole(name: str, default: int, least: int) -> int:
        value = section.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"extensions.serviceBus.{name} is {value!r}; it must be a number from {least}")
        return value

    def duration(name: str, default: float) -> float:
        return parse_timespan(section[name]) if name in section else default

    return ServiceBusOptions(
        prefetch_count=whole("prefetchCount", standard.prefetch_count, 0),
        auto_complete=bool(section.get("autoCompleteMessages", standard.auto_complete)),
        lock_renewal=duration("maxAutoLockRenewalDuration", standard.lock_renewal),
        concurrent_calls=whole("maxConcurrentCalls", standard.concurrent_calls, 1),
        batch_size=whole("maxMessageBatchSize", standard.batch_size, 1),
        batch_minimum=whole("minMessageBatchSize", standard.batch_minimum, 1),
        batch_wait=duration("maxBatchWaitTime", standard.batch_wait),
    )
