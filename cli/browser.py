"""Signing in through the browser (RFC 8252): the site's page sends its code to a port that only this machine can reach."""

from __future__ import annotations

import secrets
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from cli.api import Api
from cli.errors import CliError
from cli.profile import Profile
from cli.sign_in import challenge_of, redeem

PATIENCE_SECONDS = 300.0
PAGE = b"<!doctype html><meta charset=utf-8><title>Meridian</title><p style='font:1.2em sans-serif;margin:4em'>%s</p>"


class Catcher(ThreadingHTTPServer):
    """Waits on a free loopback port for the one request that carries the code.

    Each connection has a thread: a busy browser opens a second one beside a slow first, and says nothing on one of them.

    browser   connects (silent) ...................... closed after minutes
              connects, GET /callback?code=... ------> answered at once, not when the silent one ends
    """

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Callback)
        self.state = state
        self.code: str | None = None
        self._caught = threading.Event()

    def take(self, code: str) -> None:
        """The code of our question has come, and the browser has been answered."""
        self.code = code
        self._caught.set()

    def wait(self, seconds: float) -> str | None:
        """The code, as soon as it comes; None if it does not within that time."""
        self._caught.wait(seconds)
        return self.code


@contextmanager
def catching(state: str) -> Iterator[Catcher]:
    """A catcher that listens until the end of the block."""
    with Catcher(state) as catcher:
        threading.Thread(target=catcher.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield catcher
        finally:
            catcher.shutdown()


class _Callback(BaseHTTPRequestHandler):
    server: Catcher
    timeout = 30.0  # seconds that a silent connection keeps its thread

    def do_GET(self) -> None:
        """Take the code if it belongs to our question; anything else (a favicon, a stranger) changes nothing."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        known = secrets.compare_digest(query.get("state", ""), self.server.state)
        ours = url.path == "/callback" and known and "code" in query
        said = (
            b"You are signed in. This page can be closed." if ours else b"This is not the sign-in that was asked for."
        )
        self.send_response(200 if ours else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(PAGE % said)
        if ours:
            self.server.take(query["code"])

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal belongs to the command."""


def sign_in_by_browser(profile: Profile, say: Callable[[str], None], *, open_page: bool = True) -> Api:
    """Open the sign-in page, wait for its code, and remember the tokens in the profile.

    Args:
        profile: names the sign-in site; gets the tokens.
        say: tells the person where to look.
        open_page: whether to try to open a browser; the address is told in any case.

    Raises:
        CliError: no code came within five minutes, or the site refused it.
    """
    verifier = secrets.token_urlsafe(48)
    with catching(secrets.token_urlsafe(16)) as catcher:
        question = {"challenge": challenge_of(verifier), "port": catcher.server_port, "state": catcher.state}
        address = f"{profile.auth}/cli?{urlencode(question)}"
        say(f"Sign in at {address}")
        if open_page:
            webbrowser.open(address)
        code = catcher.wait(PATIENCE_SECONDS)
    if code is None:
        raise CliError(f"nobody signed in within {PATIENCE_SECONDS:.0f} s")
    return redeem(profile, code, verifier)
