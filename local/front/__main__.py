"""`python -m local.front`: listens at this machine's address in the network, and hands on to the parts on loopback.

The parts themselves stay on loopback. `--tls` ends TLS here, with a certificate of the house's own authority; `--pass`
hands bytes on as they are, for a part that speaks TLS itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
from pathlib import Path

from local.common.errors import StartError, refuse
from local.common.folder import DataFolder
from local.common.sockets import listen
from local.servicebus.tls import ensure_certificates

CHUNK_BYTES = 65_536


class Front:
    """Listeners, each with the loopback port that it hands on to."""

    def __init__(self, host: str, context: ssl.SSLContext) -> None:
        self._host, self._context = host, context
        self._servers: list[asyncio.Server] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def open(self, port: int, target: int, *, tls: bool) -> None:
        """Listen on a port.

        Raises:
            StartError: it is taken, or the host's name is not an address of this machine.
        """

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            await hand_on(reader, writer, target)

        listener = listen(self._host, port, what="the network", option="--public-port or --public-host")
        context = self._context if tls else None
        self._servers.append(await asyncio.start_server(serve, sock=listener, ssl=context, limit=CHUNK_BYTES))

    async def close(self) -> None:
        """Stop listening, and end what is open."""
        for server in self._servers:
            server.close()
        for call in tuple(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    """One connection, both ways, until both sides have ended."""
    try:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target, limit=CHUNK_BYTES)
    except OSError:  # the part is being started again: the caller tries later
        writer.close()
        return
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, inner_writer))
            both.create_task(_copy(inner_reader, writer))
    except* OSError:  # either side has gone
        pass
    finally:
        for each in (writer, inner_writer):
            each.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK_BYTES):
        sink.write(data)
        await sink.drain()
    with contextlib.suppress(OSError, NotImplementedError):
        if sink.can_write_eof():
            sink.write_eof()
        else:  # TLS cannot be closed one way
            sink.close()


def _pair(text: str) -> tuple[int, int]:
    port, _, target = text.partition("=")
    return int(port), int(target)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m local.front", description=__doc__)
    parser.add_argument("--host", required=True, help="name or address of this machine in the network")
    parser.add_argument("--data", type=Path, required=True, help="folder of the authority and the certificate")
    for name in ("tls", "pass"):
        parser.add_argument(f"--{name}", type=_pair, action="append", default=[], metavar="PORT=LOOPBACK_PORT")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace, folder: Path) -> None:
    authority, context = ensure_certificates(folder, [arguments.host])
    front = Front(arguments.host, context)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for pairs, tls in ((arguments.tls, True), (getattr(arguments, "pass"), False)):
        for port, target in pairs:
            await front.open(port, target, tls=tls)
    print(f"front: {arguments.host}; the authority that other machines must trust: {authority}", flush=True)
    await stop.wait()
    await front.close()


def main() -> None:
    """Serve until told to stop; exit code 2 and one line when it cannot start."""
    arguments = _arguments()
    try:
        with DataFolder(arguments.data, "front") as folder:
            asyncio.run(_run(arguments, folder.path))
    except StartError as error:
        refuse("front", error)


if __name__ == "__main__":
    main()
