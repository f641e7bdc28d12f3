"""`python -m local.functions_host APP_FOLDER`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from local.common.errors import StartError, refuse
from local.functions_host.host import PART, Host
from local.functions_host.log import LiveLog
from local.functions_host.options import Options, parse_options


async def _serve(options: Options, log: LiveLog) -> None:
    """Run until SIGINT or SIGTERM."""
    host = Host(options, log)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await host.start()
    await stop.wait()
    log.host("stopping (once more to stop at once)")
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, os._exit, 1)
    threads = await host.stop()
    if threads:
        # The interpreter would wait for them at its end, and a thread cannot be killed.
        log.host(f"{threads} function{'s' if threads > 1 else ''} still running in a thread; left behind")
        log.flush()
        os._exit(0)


def main() -> None:
    """Start the host; one line and exit code 2 if it cannot."""
    options = parse_options()
    log = LiveLog(colour=options.colour, quiet=options.quiet)
    if options.reload:
        from local.functions_host.reload import Reloader

        sys.exit(Reloader(options, log).run())
    try:
        uvloop.run(_serve(options, log))
    except StartError as error:
        log.flush()
        refuse(PART, error)
    sys.exit(0)


if __name__ == "__main__":
    main()
