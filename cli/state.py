"""What every command needs: the profile, the API, and how to print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import typer

from cli import output
from cli.api import Api
from cli.profile import Profile


@dataclass
class State:
    """Made once from the global options."""

    profile: Profile
    as_json: bool

    @cached_property
    def api(self) -> Api:
        """The API, with the profile's sign-in or the key of MERIDIAN_API_KEY."""
        return Api(self.profile)

    def show_list(self, rows: Iterable[dict[str, Any]], columns: Sequence[tuple[str, str]], empty: str) -> None:
        """Print a list."""
        if self.as_json:
            output.emit_json(list(rows))
        else:
            output.table(rows, columns, empty)

    def show(self, item: dict[str, Any], fields: Sequence[tuple[str, str]]) -> None:
        """Print one thing."""
        if self.as_json:
            output.emit_json(item)
        else:
            output.details(item, fields)

    def say(self, text: str, item: object = None) -> None:
        """Tell that something was done; as JSON, what the API answered."""
        if self.as_json:
            output.emit_json(item if item is not None else {"message": text})
        else:
            output.line(text)


def state(context: typer.Context) -> State:
    """The state of this call."""
    found = context.find_root().obj
    assert isinstance(found, State)
    return found


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be taken back, unless told not to.

    Raises:
        Abort: the answer was no. (Without a terminal nobody can answer: then `--yes` must be there.)
    """
    if not yes:
        typer.confirm(f"{question} Go on?", abort=True, err=True)
