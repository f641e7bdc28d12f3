"""The port that takes the code of a sign-in from the browser: whatever else comes there, the code is taken at once."""

from __future__ import annotations

import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from cli.browser import catching

PATIENCE = 20.0


def fetch(port: int, query: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}/{query}", timeout=PATIENCE) as reply:
        return str(reply.read().decode())


def test_a_silent_connection_before_it_does_not_hold_the_code_up() -> None:
    """As browsers open them: a second connection beside a slow first, of which only one is used."""
    with catching("ours") as catcher, socket.create_connection(("127.0.0.1", catcher.server_port)):
        assert "You are signed in" in fetch(catcher.server_port, "callback?code=c1&state=ours")
        assert catcher.wait(PATIENCE) == "c1"


@pytest.mark.parametrize(
    "query",
    ["callback?code=c2&state=other", "callback?code=c2", "callback?state=ours", "favicon.ico", "?code=c2&state=ours"],
)
def test_what_is_not_ours_changes_nothing(query: str) -> None:
    with catching("ours") as catcher:
        with pytest.raises(HTTPError) as refused:
            fetch(catcher.server_port, query)
        assert refused.value.code == 404
        refused.value.close()
        assert catcher.wait(0) is None
        fetch(catcher.server_port, "callback?code=c1&state=ours")
        assert catcher.wait(PATIENCE) == "c1"


def test_nobody_comes() -> None:
    with catching("ours") as catcher:
        assert catcher.wait(0.05) is None
