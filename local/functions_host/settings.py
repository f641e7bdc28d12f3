"""App settings: environment variables, completed from a file in the style of local.settings.json (the environment wins)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from local.common.errors import StartError

_PLACEHOLDER = re.compile(r"%([^%]+)%")


def load_settings(path: Path | None, app_folder: Path) -> int:
    """Put a settings file's `Values` into the environment, for names that it lacks; how many were added.

    Args:
        path: the file; None takes the app's own `local.settings.json`, if there is one.
        app_folder: the app.

    Raises:
        StartError: the file is missing, not JSON, encrypted, or a value is not text.
    """
    chosen = path if path is not None else app_folder / "local.settings.json"
    if path is None and not chosen.exists():
        return 0
    try:
        document = json.loads(chosen.read_text("utf-8-sig"))
        values = document.get("Values", {})
    except FileNotFoundError:
        raise StartError(f"the settings file {chosen} does not exist; give another with --settings") from None
    except (OSError, ValueError, AttributeError) as error:
        raise StartError(f"the settings file {chosen} cannot be read as JSON: {error}") from error
    if document.get("IsEncrypted"):
        raise StartError(f'{chosen} is encrypted; decrypt it (func settings decrypt) or set "IsEncrypted": false')
    added = 0
    for name, value in values.items():
        if not isinstance(value, str):
            raise StartError(f'{chosen}: the value of "{name}" must be text in quotes, as an environment variable is')
        if name not in os.environ:
            os.environ[name] = value
            added += 1
    return added


def resolve(text: str, where: str, settings: Mapping[str, str] | None = None) -> str:
    """Replace each `%NAME%` by the app setting of that name, as the Functions host does for bindings.

    Raises:
        StartError: a setting is missing; the text names it and `where` it is used.
    """
    known = os.environ if settings is None else settings

    def value(match: re.Match[str]) -> str:
        found = known.get(match[1])
        if not found:
            raise StartError(f"{where} needs the app setting {match[1]}, which is not set; set it and start again")
        return found

    return _PLACEHOLDER.sub(value, text)


class Connection(NamedTuple):
    """Where a binding's `connection` leads: a connection string, or a namespace reached with the app's own identity."""

    name: str
    connection_string: str | None = None
    namespace: str | None = None


def resolve_connection(name: str | None, where: str, settings: Mapping[str, str] | None = None) -> Connection:
    """Look a Service Bus connection up as Azure does.

    https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger#connections

    Raises:
        StartError: neither form is set.
    """
    known = os.environ if settings is None else settings
    asked = name or "AzureWebJobsServiceBus"
    for candidate in (asked, f"AzureWebJobs{asked}", f"SERVICEBUSCONNSTR_{asked}"):
        if known.get(candidate):
            return Connection(asked, connection_string=known[candidate])
    for separator in ("__", ":"):
        namespace = known.get(f"{asked}{separator}fullyQualifiedNamespace")
        if namespace:
            return Connection(asked, namespace=namespace)
    raise StartError(
        f"{where} needs the app setting {asked} (a connection string) or {asked}__fullyQualifiedNamespace, and neither is set"
    )


def is_disabled(function: str, settings: Mapping[str, str] | None = None) -> bool:
    """Whether an app setting switches the function off (`AzureWebJobs.<name>.Disabled` or its form for Linux)."""
    known = os.environ if settings is None else settings
    return any(
        known.get(form, "").lower() in ("true", "1")
        for form in (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs_{function}_Disabled")
    )
