"""Commands as this program declares them: each takes `--json`, and a word from another tool's habit gets an answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.errors import Interrupted, NobodyReads
from cli.state import state

# What people of docker, kubectl, gh and other panels type, and what it is called here.
ELSEWHERE = {
    "logs": "console",
    "attach": "console SERVER --interactive",
    "exec": "console SERVER --send LINE",
    "ps": "servers list",
    "ls": "list",
    "get": "list` or `show",
    "describe": "show",
    "inspect": "show",
    "rm": "delete",
    "remove": "delete",
    "destroy": "delete",
    "new": "create",
    "add": "create",
    "run": "servers create",
    "up": "start",
    "down": "stop",
    "top": "servers stats",
    "metrics": "stats",
    "watch": "follow",
    "status": "show",
    "update": "edit",
    "set": "edit",
    "rename": "edit NAME --name",
    "cordon": "drain",
    "uncordon": "resume",
    "enroll": "enrol",
    "auth": "login",
    "signin": "login",
    "signup": "login --email ADDRESS --sign-up NAME",
    "switch": "use",
    "users": "members",
    "invite": "members invite",
    "eggs": "templates",
    "import": "import-egg",
    "nests": "templates",
    "jobs": "tasks",
    "server": "servers",
    "node": "nodes",
    "org": "orgs",
    "task": "tasks",
    "template": "templates",
    "key": "keys",
    "tokens": "keys` or `nodes tokens",
    "version": "--version",
}

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


class _Suggesting(TyperGroup):
    """A group that names the right word for a habit; for a slip of the finger Typer finds one itself."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = ELSEWHERE.get(args[0])
        if known is not None and self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}. Here it is `{known}`.")
        return super().resolve_command(ctx, args)


class Group(typer.Typer):
    """A group of commands."""

    def __init__(self, **more: Any) -> None:
        super().__init__(cls=_Suggesting, no_args_is_help=True, **more)

    def command(self, name: str | None = None, **more: Any) -> Callable[[Any], Any]:
        """See Typer; the command takes `--json` as well."""
        register = super().command(name, **more)
        return lambda function: register(_with_json(function))


def _with_json(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*words: Any, as_json: bool = False, **more: Any) -> Any:
        state(more["context"]).as_json |= as_json
        try:
            return function(*words, **more)
        except KeyboardInterrupt:
            raise Interrupted from None
        except BrokenPipeError:
            raise NobodyReads from None

    plain = inspect.signature(function, eval_str=True)
    option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)
    run.__signature__ = plain.replace(parameters=[*plain.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {**function.__annotations__, "as_json": AsJson}
    return run
