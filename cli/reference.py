"""The page of all commands, written from the program: `python -m cli.reference > docs/reference/command-line.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from cli.app import EPILOG, app

HEAD = f"""# The command line

Written from the program by `python -m cli.reference`; a test compares the two.

Every command takes `--help`, and `--json` (before or after its name): then standard output is one JSON document, what the
API answered, and a refusal is one on standard error. {EPILOG}

A thing is named by its name or its id. `meridian --install-completion` lets the shell complete both commands and names.
Settings: `MERIDIAN_API`, `MERIDIAN_AUTH`, `MERIDIAN_PROFILE`, `MERIDIAN_API_KEY` (then nobody need sign in),
`MERIDIAN_CONFIG_DIR` (where sign-ins are kept; files of mode 0600).
"""
COMMON = {"json", "help", "as_json", "install_completion", "show_completion"}


def page() -> str:
    """The whole page."""
    root: Any = get_command(app)
    parts = [HEAD, *_options(root)]
    for name, command in root.commands.items():
        if command.hidden:
            continue
        parts += ["", f"## meridian {name}", ""]
        inner = getattr(command, "commands", None)
        if inner is None:
            parts += _command(f"meridian {name}", command)
            continue
        parts += [command.help or "", ""]
        for each, leaf in inner.items():
            parts += [*_command(f"meridian {name} {each}", leaf), ""]
    return "\n".join(parts).rstrip() + "\n"


def _command(words: str, command: Any) -> Iterator[str]:
    arguments = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    yield f"**`{' '.join([words, *arguments])}`**<br>"
    yield (command.help or "").replace("\n", " ")
    options = list(_options(command))
    if options:
        yield ""
        yield from options


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _options(command: Any) -> Iterator[str]:
    for option in command.params:
        if option.param_type_name != "option" or option.name in COMMON:
            continue
        words = ", ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
        metavar = f" {option.metavar}" if option.metavar else ""
        yield f"- {words}{metavar}: {option.help or 'a value'}"


if __name__ == "__main__":
    sys.stdout.write(page())
