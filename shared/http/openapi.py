"""The OpenAPI 3.1 document, made from the routes' declarations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shared.http.route import Route


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document as data."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Meridian Console", "version": "1"},
        "paths": {r.path: {} for r in routes},
    }


def document_bytes(routes: Sequence[Route]) -> bytes:
    """The document as JSON text."""
    return json.dumps(document(routes), indent=2, ensure_ascii=False).encode()
