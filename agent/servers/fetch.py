"""Downloads: HTTPS, bounded, checked while they come."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agent import __version__
from agent.servers.errors import StepFailed

CHUNK: Final = 1024 * 1024
STALL_SECONDS: Final = 60.0  # without a byte
MANIFEST_BYTES: Final = 8 * 1024 * 1024
PROGRAM: Final = f"meridian-agent/{__version__}"


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """A redirect must not leave HTTPS."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not _allowed(newurl):
            fp.close()
            raise StepFailed("insecure_redirect", f"{req.full_url[:120]} leads to {newurl[:120]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_HttpsOnly)


def _allowed(url: str) -> bool:
    return url.startswith(("https://", "http://127.0.0.1:"))


async def download(
    url: str, target: Path, digest: str, *, limit: int, contact: str, on_percent: Callable[[int], None] | None = None
) -> None:
    """Fetch `url` into `target`; what comes must have the digest ("sha256:<hex>"). `contact` is whom it is for.

    Raises:
        StepFailed: it cannot be had, is larger than `limit` bytes, or has another digest. Nothing is left behind then.
    """
    stop = threading.Event()
    loop = asyncio.get_running_loop()

    def tell(percent: int) -> None:  # from the thread: what listens belongs to the loop
        if on_percent is not None and not loop.is_closed():
            loop.call_soon_threadsafe(on_percent, percent)

    part = target.with_name(target.name + ".part")
    try:
        await asyncio.to_thread(_download, url, part, digest, limit, contact, stop, tell)
        part.rename(target)
    finally:
        stop.set()  # a cancelled wait leaves the thread behind: it ends at its next chunk
        part.unlink(missing_ok=True)


def _download(
    url: str,
    part: Path,
    digest: str,
    limit: int,
    contact: str,
    stop: threading.Event,
    tell: Callable[[int], None],
) -> None:
    algorithm, _, wanted = digest.partition(":")
    hasher, got, shown = hashlib.new(algorithm, usedforsecurity=False), 0, -1
    try:
        with _open(url, contact) as reply, part.open("wb") as file:
            total = int(reply.headers.get("Content-Length") or 0)
            if total > limit:
                raise StepFailed(
                    "too_large", f"{url[:120]} has {total >> 20} MiB, at most {limit >> 20} MiB are allowed"
                )
            while chunk := reply.read(CHUNK):
                got += len(chunk)
                if stop.is_set():
                    return
                if got > limit:
                    raise StepFailed("too_large", f"{url[:120]} has more than {limit >> 20} MiB")
                hasher.update(chunk)
                file.write(chunk)
                percent = got * 100 // total if total else 0
                if percent > shown:
                    shown = percent
                    tell(percent)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from None
    if hasher.hexdigest() != wanted:
        raise StepFailed("digest_mismatch", f"{url[:120]} has the {algorithm} {hasher.hexdigest()}, expected {wanted}")


async def manifest(url: str, contact: str) -> Any:
    """A publisher's JSON. `contact` is whom it is for.

    Raises:
        StepFailed: it cannot be had, or is not JSON.
    """
    return await asyncio.to_thread(_manifest, url, contact)


def _manifest(url: str, contact: str) -> Any:
    try:
        with _open(url, contact) as reply:
            return json.loads(reply.read(MANIFEST_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from None
    except ValueError:
        raise StepFailed("bad_manifest", f"{url[:120]} did not answer with JSON", retryable=True) from None


def _open(url: str, contact: str) -> Any:
    """The reply. Publishers ask for the program's name and whom they can turn to (PaperMC refuses calls without)."""
    if not _allowed(url):
        raise StepFailed("insecure_url", f"{url[:120]} is not https")
    headers = {"User-Agent": f"{PROGRAM} ({contact})" if contact else PROGRAM}
    return _opener.open(urllib.request.Request(url, headers=headers), timeout=STALL_SECONDS)  # noqa: S310  # checked above


def _unreachable(url: str, error: Exception) -> StepFailed:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return StepFailed("download_refused", f"{url[:120]} answered {error.code}", retryable=error.code >= 500)
    reason = getattr(error, "reason", None) or error
    return StepFailed("download_failed", f"{url[:120]}: {reason}", retryable=True)
