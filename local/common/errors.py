"""Refusals at start-up, told in one line."""

from __future__ import annotations

import sys
from typing import NoReturn


class StartError(Exception):
    """A part cannot start; the text is one line that says what is wrong and what to do about it."""


def refuse(part: str, error: StartError) -> NoReturn:
    """Print the reason on standard error and leave with exit code 2 (the code of a usage error)."""
    sys.stderr.write(f"{part}: {error}\n")
    raise SystemExit(2)
