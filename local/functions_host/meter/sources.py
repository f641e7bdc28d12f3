"""Counters of other parts of the house, fetched when the report is asked for."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 2.0
_MOST_BYTES = 1_000_000


async def fetch_sources(sources: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The JSON of each source by name; one that does not answer gives `{"error": reason}`."""
    answers = await asyncio.gather(*(asyncio.to_thread(_fetch, url) for url in sources.values()))
    return dict(zip(sources, answers, strict=True))


def _fetch(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS, context=_context(url)) as answer:  # noqa: S310 - the option takes http and https only
            document = json.loads(answer.read(_MOST_BYTES))
    except (OSError, ValueError, urllib.error.URLError) as error:
        return {"error": f"{url}: {error}"}
    return document if isinstance(document, dict) else {"error": f"{url}: the answer is not a JSON object"}


def _context(url: str) -> ssl.SSLContext | None:
    """A part on this same machine has a certificate of its own making; nothing secret is sent to it."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not _is_loopback(parts.hostname or ""):
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
