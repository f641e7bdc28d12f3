"""`python -m local.auth`: locks the data folder and becomes the Node server (same process, so signals reach it)."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from local.common import errors, folder

HERE = Path(__file__).resolve().parent


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m local.auth", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=4400, help="port to listen on (default %(default)s)")
    parser.add_argument("--data", type=Path, default=Path(".meridian/auth"), help="folder for users, keys, secret")
    parser.add_argument("--issuer", help="public address of this site (default http://localhost:PORT)")
    parser.add_argument("--client", default="panel", help="the site's name in the API's trust table (`azp`)")
    parser.add_argument("--api", default="http://localhost:7071", help="address of the API (default %(default)s)")
    parser.add_argument("--audience", help="`aud` of the tokens (default <api>/v1/auth/token)")
    parser.add_argument("--origins", help="further origins that may call this server, comma-separated")
    parser.add_argument("--life-seconds", type=int, default=60, help="life of a token (default %(default)s)")
    parser.add_argument("--rotate-seconds", type=int, help="make a new signing key after so many seconds")
    parser.add_argument("--grace-seconds", type=int, help="publish an old key for so many seconds more")
    parser.add_argument("--rate-limit", choices=("on", "off"), default="off", help="BetterAuth's own rate limits")
    return parser.parse_args()


def main() -> None:
    """Start the server; exit code 2 and one line when it cannot start."""
    arguments = _arguments()
    node = shutil.which("node")
    if node is None:
        errors.refuse("sign-in", errors.StartError("Node.js 20 or newer is needed: install it and run `npm ci`"))
    try:
        data = folder.DataFolder(arguments.data, "sign-in")
    except errors.StartError as error:
        errors.refuse("sign-in", error)
    # The lock lives as long as its descriptor: Node inherits it and holds the folder until it ends.
    data.hand_over()
    command = [node, str(HERE / "server.mjs")]
    for name, value in vars(arguments).items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    os.execv(node, command)  # noqa: S606 - one process, so that a signal to it reaches the server


if __name__ == "__main__":
    main()
