"""`python -m local.servicebus`: the endpoint as a program of its own."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import uvloop

from local.common.errors import StartError, refuse
from local.servicebus.runner import Options, run

PART = "servicebus"


def parse(arguments: list[str]) -> Options:
    """Options from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local.servicebus",
        description="Azure Service Bus queues on this machine, for the unmodified azure-servicebus SDK.",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FOLDER", help="where messages, the key and certificates are kept")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add(
        "--port", type=int, default=5672, help="plain AMQP, for the development connection string (default %(default)s)"
    )
    add("--admin-port", type=int, default=5300, help="management API over HTTPS (default %(default)s)")
    add("--admin-http-port", type=int, help="management API over plain HTTP as well (loopback only)")
    add("--tls-port", type=int, help="AMQP over TLS (Azure: 5671)")
    add("--websocket-port", type=int, help="AMQP over WebSocket over TLS (Azure: 443)")
    add("--hostname", action="append", default=[], help="a further name of this endpoint, for tokens and certificate")
    add("--key", help="key of RootManageSharedAccessKey (default: made at first start, kept in the folder)")
    add("--rule", action="append", default=[], metavar="NAME=RIGHTS", help="a further namespace rule, as listen=Listen")
    add("--queue", action="append", default=[], metavar="NAME", help="a queue to create at start if it is absent")
    add(
        "--sync",
        choices=("FULL", "NORMAL"),
        default="FULL",
        help="FULL survives power loss, NORMAL a crash (default %(default)s)",
    )
    add("--lax", action="store_true", help="allow locks and windows shorter than Azure does (for tests)")
    add("--faults", action="store_true", help="open the fault controls under /_local/faults (for tests)")
    add("--verbose", action="store_true", help="log every refusal and closed connection")
    values = vars(parser.parse_args(arguments))
    try:
        values["rule"] = [_rule(text) for text in values["rule"]]
    except ValueError as error:
        parser.error(str(error))
    return Options(**values)


def _rule(text: str) -> tuple[str, frozenset[str]]:
    name, _, rights = text.partition("=")
    found = frozenset(part.strip().capitalize() for part in rights.split(",") if part.strip())
    if not name or not found or not found <= {"Listen", "Send", "Manage"}:
        raise ValueError(f"--rule {text}: expected NAME=Listen,Send")
    if "Manage" in found:
        found = frozenset({"Listen", "Send", "Manage"})
    return name, found


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 2 when it cannot start, 1 when it had to stop."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        return uvloop.run(run(options, print))
    except StartError as error:
        refuse(PART, error)


if __name__ == "__main__":
    raise SystemExit(main())
