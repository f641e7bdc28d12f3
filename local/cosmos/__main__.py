"""`python -m local.cosmos`: the endpoint alone, for any project."""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import quote

import uvicorn
import uvloop

from local.common.errors import StartError, refuse
from local.common.folder import DataFolder
from local.common.sockets import listen
from local.cosmos.app import App
from local.cosmos.auth import MasterKey
from local.cosmos.continuation import TokenSigner
from local.cosmos.engine import MAX_RANGES, Engine, Options
from local.cosmos.housekeeping import keep_house
from local.cosmos.protocol import CosmosProtocol
from local.cosmos.storage import Storage

PART = "cosmos"
KEY_FILE = "cosmos.key"
DATA_FILE = "cosmos.db"
log = logging.getLogger(PART)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local.cosmos",
        description="Azure Cosmos DB for NoSQL on this machine: the same REST protocol over SQLite, for unmodified SDKs.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8081, help="port to listen on, 0 for any (default: 8081)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data; made if missing")
    parser.add_argument("--key", help="account key in base64 (default: made at the first start, kept in the folder)")
    parser.add_argument(
        "--sync",
        choices=("FULL", "NORMAL"),
        default="FULL",
        help="FULL survives power loss, NORMAL the death of the process (default: FULL)",
    )
    parser.add_argument(
        "--strict",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="answer cross-partition queries that need merging with a query plan, as Azure does (default: on)",
    )
    parser.add_argument("--ranges", type=int, default=1, help=f"pretend so many physical partitions, 1 to {MAX_RANGES}")
    parser.add_argument(
        "--deny-cross-partition",
        action="store_true",
        help="refuse every query and feed that names no partition key (finds tenant leaks)",
    )
    parser.add_argument("--ru-budget", type=float, help="request units a second per container; beyond that 429")
    parser.add_argument("--no-push-down", action="store_true", help="evaluate every query in Python (for comparison)")
    parser.add_argument("--faults", action="store_true", help="allow tests to inject faults by POST /_local/fault")
    parser.add_argument("--quiet", action="store_true", help="do not print the key")
    return parser.parse_args(arguments)


def build(arguments: argparse.Namespace, folder: DataFolder) -> tuple[Engine, str]:
    """The engine and its key.

    Raises:
        StartError: an option or the data file is not usable.
    """
    if not 1 <= arguments.ranges <= MAX_RANGES:
        raise StartError(f"--ranges is {arguments.ranges}; it must be 1 to {MAX_RANGES}")
    if arguments.ru_budget is not None and arguments.ru_budget <= 0:
        raise StartError(f"--ru-budget is {arguments.ru_budget}; it must be above 0")
    made = base64.b64encode(secrets.token_bytes(64)).decode()
    key = arguments.key or folder.secret(KEY_FILE, made)
    try:
        master = MasterKey(key)
    except ValueError as error:
        source = "--key" if arguments.key else f"the key in {folder.file(KEY_FILE)}"
        raise StartError(f"{source} is not usable: {error}") from error
    storage = Storage(folder.file(DATA_FILE), synchronous=arguments.sync, on_failure=_die)
    options = Options(
        ranges=arguments.ranges,
        strict=arguments.strict,
        deny_cross_partition=arguments.deny_cross_partition,
        push_down=not arguments.no_push_down,
        faults=arguments.faults,
        budget=arguments.ru_budget,
    )
    return Engine(storage, master, TokenSigner(key), options), key


def _die(error: Exception) -> None:
    # What memory holds may be ahead of the file; whoever starts this again goes on from the file.
    log.critical("cannot write the data file (%s): stopping", error)
    os._exit(1)


async def serve(arguments: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        StartError: the folder, the file or the port is not usable.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Before anything else: whoever sees the port open may already ask for the end.
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with DataFolder(arguments.data, PART) as folder:
        engine, key = build(arguments, folder)
        try:
            listener = listen(arguments.host, arguments.port, what="Cosmos DB")
            _announce(arguments, listener.getsockname()[1], key)
            await _run(engine, listener, stop)
        finally:
            engine.close()
    log.info("stopped")


async def _run(engine: Engine, listener: socket.socket, stop: asyncio.Event) -> None:
    config = uvicorn.Config(
        App(engine),
        http=CosmosProtocol,
        lifespan="off",
        access_log=False,
        server_header=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    gc.freeze()
    house = asyncio.create_task(keep_house(engine))
    ending = asyncio.create_task(_end(server, stop))
    try:
        # Not `serve()`: that one takes over the signal handlers.
        await server._serve([listener])
    finally:
        house.cancel()
        ending.cancel()


async def _end(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


def _announce(arguments: argparse.Namespace, port: int, key: str) -> None:
    host = "localhost" if arguments.host in ("127.0.0.1", "::1", "0.0.0.0") else arguments.host  # noqa: S104
    shown = "(not shown)" if arguments.quiet else key
    print(f"AccountEndpoint=http://{host}:{port}/;AccountKey={shown};", flush=True)
    log.info("Cosmos DB for NoSQL on http://%s:%d, data in %s", host, port, arguments.data)
    if not arguments.quiet:
        print(f"Explorer: http://{host}:{port}/#key={quote(key, safe='')}", flush=True)


def main() -> None:
    """Entry point."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    arguments = parse_arguments()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(arguments))
    except StartError as error:
        refuse(PART, error)


if __name__ == "__main__":
    main()
