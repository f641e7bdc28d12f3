"""The live log's lines."""

from __future__ import annotations

import asyncio
import io
import logging
import threading

from local.functions_host.log import AppLogHandler, LiveLog, current_function


def lines(log: LiveLog, stream: io.StringIO) -> list[str]:
    log.flush()
    return [line[13:] for line in stream.getvalue().splitlines()]  # without the time


async def test_a_call_is_one_line() -> None:
    stream = io.StringIO()
    log = LiveLog(stream)
    log.invocation("http", "GET /a", "main", 0.0012, None, "200")
    log.invocation("timer", "tick 12:00:00", "tick", 2.5, "ValueError: told to (function_app.py:3)")
    log.invocation("http", "GET /" + "x" * 100, "main", 0.1, "ValueError: a", "500")
    found = lines(log, stream)
    assert found[0] == f"http         {'GET /a':<44} {'main':<24}      1.2 ms  200"
    assert found[1].endswith(" 2500.0 ms  failed  ValueError: told to (function_app.py:3)")
    assert found[2].startswith(f"http         GET /{'x' * 38}… main ")
    assert found[2].endswith("500 failed  ValueError: a")


async def test_quiet_shows_failures_only() -> None:
    stream = io.StringIO()
    log = LiveLog(stream, quiet=True)
    log.invocation("http", "GET /a", "main", 0.1, None, "200")
    log.invocation("http", "GET /b", "main", 0.1, "ValueError: b", "500")
    log.host("a line of the host")
    assert [line.split()[1] for line in lines(log, stream)] == ["GET", "a"]


async def test_colours_only_if_wanted() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    for stream, colour in ((plain, False), (coloured, True)):
        log = LiveLog(stream, colour=colour)
        log.invocation("http", "GET /a", "main", 0.1, None, "200")
        log.flush()
    assert "\x1b" not in plain.getvalue()
    assert "\x1b[32m200\x1b[0m" in coloured.getvalue()


async def test_lines_come_by_themselves_in_a_moment() -> None:
    stream = io.StringIO()
    LiveLog(stream).host("told")
    assert stream.getvalue() == ""
    for _ in range(1000):
        if stream.getvalue():
            break
        await asyncio.sleep(0.005)
    assert stream.getvalue().endswith("told\n")


async def test_no_line_of_any_thread_is_lost() -> None:
    stream = io.StringIO()
    log = LiveLog(stream)
    threads = [
        threading.Thread(target=lambda number=number: [log.host(f"{number}:{index}") for index in range(500)])
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        log.host("loop")
        log.flush()
        await asyncio.sleep(0)
    told = [line.split()[-1] for line in lines(log, stream)]
    assert sorted(each for each in told if each != "loop") == sorted(
        f"{number}:{index}" for number in range(4) for index in range(500)
    )


async def test_what_the_app_logs_is_shown_and_counted_by_function() -> None:
    stream = io.StringIO()
    log = LiveLog(stream)
    counted: list[tuple[str, str, int]] = []
    handler = AppLogHandler(log, lambda function, level, size: counted.append((function, level, size)))
    app, sdk = logging.getLogger("app.part"), logging.getLogger("azure.servicebus.part")

    def emit(logger: logging.Logger, level: int, text: str) -> None:
        handler.handle(logger.makeRecord(logger.name, level, "f.py", 1, text, (), None))

    token = current_function.set("main")
    emit(app, logging.WARNING, "grün")
    emit(sdk, logging.INFO, "an SDK, called by the function")
    current_function.reset(token)
    emit(app, logging.INFO, "outside")
    emit(sdk, logging.INFO, "the host's own use of an SDK")
    assert counted == [("main", "WARNING", 5), ("main", "INFO", 30)]
    told = lines(log, stream)
    assert [line.split()[1] for line in told] == ["main", "main", "app.part"]
