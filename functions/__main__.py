"""`python -m functions > docs/openapi.json`: the API's document, from the declarations of every route."""

from __future__ import annotations

import sys

from functions import declared
from shared.http.openapi import document_bytes

sys.stdout.buffer.write(document_bytes(declared()))
