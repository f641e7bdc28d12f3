"""Documents written from the declarations: `python -m functions [openapi | limits | problems | containers]`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from functions import declared
from shared.http import reference
from shared.http.openapi import document_bytes

PAGES: Final[dict[str, Callable[[], bytes]]] = {
    "openapi": lambda: document_bytes(declared()),
    "limits": lambda: reference.limits().encode(),
    "problems": lambda: reference.problem_codes().encode(),
    "containers": lambda: reference.containers().encode(),
}

declared()  # loads every route, and with them every refusal
name = sys.argv[1] if len(sys.argv) > 1 else "openapi"
if name not in PAGES:
    sys.stderr.write(f"there is no page {name!r}; there are {', '.join(PAGES)}\n")
    sys.exit(2)
sys.stdout.buffer.write(PAGES[name]())
