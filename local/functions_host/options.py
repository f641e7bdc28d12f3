"""The command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from local.common.database import Synchronous

MAX_DEFAULT_THREADS = 32  # the worker's own default is min(32, processors + 4)


class Options(NamedTuple):
    """What the host was asked for. Paths are absolute: loading an app changes the current folder."""

    app: Path
    data: Path
    host: str = "127.0.0.1"
    port: int = 7071
    settings: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    strict: bool = True
    threads: int = 8
    synchronous: Synchronous = "FULL"
    show_keys: bool = False
    quiet: bool = False
    colour: bool | None = None
    reload: bool = False
    meter_sources: Mapping[str, str] = MappingProxyType({})


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; a wrong one prints its usage and exits with code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if (given.tls_cert is None) != (given.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    if given.client_ca is not None and given.tls_cert is None:
        parser.error("--client-ca needs --tls-cert and --tls-key")
    sources: dict[str, str] = {}
    for each in given.meter_source:
        name, _, url = each.partition("=")
        if not name or not url.startswith(("http://", "https://")):
            parser.error(f"--meter-source {each}: write NAME=http://host:port/path")
        sources[name] = url
    return Options(
        app=given.app.resolve(),
        data=given.data.resolve(),
        host=given.host,
        port=given.port,
        settings=given.settings.resolve() if given.settings else None,
        tls_cert=given.tls_cert.resolve() if given.tls_cert else None,
        tls_key=given.tls_key.resolve() if given.tls_key else None,
        client_ca=given.client_ca.resolve() if given.client_ca else None,
        strict=given.strict,
        threads=given.threads,
        synchronous=given.synchronous,
        show_keys=given.show_keys,
        quiet=given.quiet,
        colour=False if given.no_colour or os.environ.get("NO_COLOR") else None,
        reload=given.reload,
        meter_sources=sources,
    )


def _default_threads() -> int:
    asked = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else min(MAX_DEFAULT_THREADS, (os.cpu_count() or 1) + 4)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535; 0 takes any free one)")
    return int(text)


def _threads(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number of threads (1 to 1000)")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.functions_host",
        description="Run an Azure Functions app (Python, v2 model) on this machine: HTTP, timers, Service Bus queues, Durable Functions.",
    )
    parser.add_argument(
        "app", type=Path, metavar="APP_FOLDER", help="the folder that holds function_app.py and host.json"
    )
    _add_places(parser)
    _add_behaviour(parser)
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Where it listens, and where its files are."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=7071, help="port to listen on, 0 for any (default: %(default)s)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".functions-host"),
        metavar="FOLDER",
        help="where keys, timers and orchestrations are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="app settings, in the style of local.settings.json (default: the app's own, if there); the environment wins",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="serve HTTPS with this certificate chain (PEM)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    parser.add_argument(
        "--client-ca",
        type=Path,
        metavar="FILE",
        help="ask callers for a certificate of this authority; it reaches the app as X-ARR-ClientCert",
    )


def _add_behaviour(parser: argparse.ArgumentParser) -> None:
    """How it runs functions, and what it prints."""
    parser.add_argument(
        "--strict",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="answer 411 to chunked bodies, which reach Python functions empty in Azure (default: on)",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        default=_default_threads(),
        metavar="N",
        help="threads for functions that are a plain def (default: %(default)s)",
    )
    parser.add_argument(
        "--synchronous",
        choices=("FULL", "NORMAL"),
        default="FULL",
        help="FULL survives power loss, NORMAL the death of the process (default: %(default)s)",
    )
    parser.add_argument("--reload", action="store_true", help="start anew when the app's code changes")
    parser.add_argument(
        "--meter-source",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="add the JSON counters of another part to /diagnostics/cost; may be repeated",
    )
    parser.add_argument("--show-keys", action="store_true", help="print the access keys")
    parser.add_argument(
        "--quiet", action="store_true", help="show failures only: no list of functions, no line for each call"
    )
    parser.add_argument("--no-colour", action="store_true", help="no colours, even on a terminal")
