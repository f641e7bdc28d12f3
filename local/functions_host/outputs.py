"""Where the values of output bindings go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Outputs(Protocol):
    """Delivers what functions put into their output bindings."""

    async def send(self, values: list[tuple[Mapping[str, Any], Any]]) -> None:
        """Deliver each (binding, text or bytes).

        Raises:
            InvocationFailed: one could not be delivered; the call counts as failed.
        """


class NoOutputs:
    """For an app without output bindings."""

    async def send(self, values: list[tuple[Mapping[str, Any], Any]]) -> None:
        """Never called: there is nothing to deliver."""
        raise AssertionError(f"{len(values)} output values, but no output binding was found at start")
