"""`meridian api`: any route of the API, with the sign-in of this program."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import output
from cli.errors import CliError
from cli.find import pairs
from cli.state import state

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")


def call(
    context: typer.Context,
    path: Annotated[str, typer.Argument(help="Such as /v1/servers; see /docs of the API.")],
    method: Annotated[str, typer.Option("--method", "-X", help="GET, POST, PATCH, PUT or DELETE.")] = "GET",
    query: Annotated[
        list[str] | None, typer.Option("--query", "-q", metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
    body: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="A JSON file to send; - is standard input.")
    ] = None,
    every: Annotated[bool, typer.Option("--paginate", help="All pages of a list, as one.")] = False,
) -> None:
    """Call any route of the API, and print what it answers."""
    current, verb = state(context), method.upper()
    if verb not in METHODS or not path.startswith("/"):
        raise CliError(f"{verb} {path} is no call: a method of {', '.join(METHODS)}, and a path that begins with /")
    content = _read(body)
    asked: dict[str, Any] = {**pairs(query, "query")}
    if every:
        output.emit_json(list(current.api.pages(path, **asked)))
    elif verb in ("PATCH", "PUT", "DELETE"):
        _print(current.api.change(verb, path, content))
    elif verb == "POST":
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        _print(_parsed(current.api.call(verb, path, query=asked, body=content, headers=headers).text))
    else:
        _print(_parsed(current.api.call(verb, path, query=asked).text))


def _print(value: Any) -> None:
    if isinstance(value, str):
        typer.echo(value)
    elif value is not None:
        output.emit_json(value)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _read(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(sys.stdin.read() if str(path) == "-" else path.read_text())
    except (OSError, ValueError) as error:
        raise CliError(f"{path} cannot be read as JSON: {error}") from error
