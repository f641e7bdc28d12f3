"""`meridian-agent enroll | run | status | doctor | install | update | unit | uninstall`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent import __version__
from agent.config import Config, ConfigError, load_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. 2 is wrong usage, 1 a failure that the one line on stderr explains."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config, os.environ, vars(options))
    except ConfigError as error:
        print(f"meridian-agent: {error}", file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr
    )
    try:
        return int(options.command(config, options))
    except PermissionError as error:
        return _fail(f"{error.filename}: no permission; run this as the user that the agent runs as")
    except OSError as error:
        logging.getLogger("meridian.agent").debug("the machine refused", exc_info=True)
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, help="settings file, TOML (default /etc/meridian-agent.toml if it is there)"
    )
    common.add_argument("--folder", help="where keys, journal and servers lie")
    common.add_argument("--api-url", help="address of the control plane")
    common.add_argument("--ca-file", help="authority of the control plane's certificate, if it is not a public one")
    common.add_argument("--driver", help="process (default) or container")
    common.add_argument("--game-user", help="user that games run as")
    common.add_argument("--broker", help="auto (default), amqp or websocket")
    common.add_argument("--log-level", help="debug, info (default), warning or error")
    parser = argparse.ArgumentParser(prog="meridian-agent", description="Keeps game servers on this machine.")
    parser.add_argument("--version", action="version", version=f"meridian-agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    enroll = commands.add_parser("enroll", parents=[common], help="join this machine to an organization")
    enroll.add_argument("--token", help="the one-time token (or MERIDIAN_AGENT_TOKEN, or - to read it from stdin)")
    enroll.add_argument("--name", help="the node's name (default: the machine's)")
    enroll.add_argument("--root-sha256", help="fingerprint that the control plane's authority must have")
    enroll.add_argument("--force", action="store_true", help="enrol anew though this machine is enrolled")
    enroll.set_defaults(command=_enroll)
    commands.add_parser("run", parents=[common], help="run the agent in the foreground").set_defaults(command=_run)
    status = commands.add_parser("status", parents=[common], help="what the running agent does")
    status.add_argument("--json", action="store_true")
    status.set_defaults(command=_status)
    commands.add_parser("doctor", parents=[common], help="check this machine").set_defaults(command=_doctor)
    quiet = commands.add_parser("stop-games", parents=[common], help="stop every game; the next run starts them again")
    quiet.set_defaults(command=_stop_games)
    update = commands.add_parser("update", parents=[common], help="change to a signed release")
    update.add_argument("release", type=Path, help="the release's file; its manifest lies beside it (.manifest)")
    update.set_defaults(command=_update)
    install = commands.add_parser("install", parents=[common], help="put a release in place, with its launcher")
    install.add_argument("release", type=Path, help="the agent as one file")
    install.set_defaults(command=_install)
    unit = commands.add_parser("unit", parents=[common], help="print the systemd unit")
    unit.set_defaults(command=_unit)
    uninstall = commands.add_parser("uninstall", parents=[common], help="stop games, remove keys, journal and servers")
    uninstall.add_argument("--keep-servers", action="store_true", help="leave the servers' files where they are")
    uninstall.add_argument("--yes", action="store_true", help="do not ask")
    uninstall.set_defaults(command=_uninstall)
    return parser


def _say(text: str) -> None:
    print(text)  # noqa: T201  # a command line's answer


def _warn(text: object) -> None:
    print(f"meridian-agent: {text}", file=sys.stderr)  # noqa: T201


def _fail(reason: object) -> int:
    _warn(reason)
    return 1


def _enroll(config: Config, options: argparse.Namespace) -> int:
    from agent.api import ApiRefused, ApiUnreachable
    from agent.enrol import enrol
    from agent.identity import IdentityError
    from agent.lock import AlreadyRunning, hold

    token = options.token or os.environ.get("MERIDIAN_AGENT_TOKEN") or ""
    if token == "-":  # noqa: S105
        token = sys.stdin.readline()
    if not token.strip():
        return _fail("a token is needed: --token, MERIDIAN_AGENT_TOKEN, or --token - to read it from stdin")
    try:
        with hold(config.path):
            done = asyncio.run(enrol(config, token, options.name, options.root_sha256, force=options.force))
    except AlreadyRunning as error:
        return _fail(f"{error}; stop it first")
    except (ApiRefused, ApiUnreachable, IdentityError) as error:
        return _fail(error)
    _say(f"enrolled as {done.name} ({done.node_id}); papers in {config.path}")
    return 0


def _run(config: Config, _: argparse.Namespace) -> int:
    from agent.app import Agent
    from agent.identity import Identity, IdentityError
    from agent.lock import AlreadyRunning, hold
    from agent.storage import StorageError

    try:
        Identity(
            config.path
        )  # before the folder is held: a unit that waits for its papers must not keep `enroll` from them
        with hold(config.path):
            return asyncio.run(_run_agent(Agent(config)))
    except (IdentityError, StorageError, AlreadyRunning) as error:
        return _fail(error)


async def _run_agent(agent: Any) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop, signal.Signals(number).name)
    await agent.run()
    return 0


def _status(config: Config, options: argparse.Namespace) -> int:
    from agent.lock import held
    from agent.status import read_status

    status, alive = read_status(config.path), held(config.path)
    if status is None:
        return _fail(f"no agent has run in {config.path}")
    if options.json:
        _say(json.dumps({**asdict(status), "running": alive}))
        return 0 if alive else 1
    head = f"running, pid {status.pid}" if alive else f"NOT RUNNING, last heard of {_ago(status.at)}"
    _say(f"{head}, agent {status.version}")
    beat = "never" if status.last_beat_at is None else _ago(status.last_beat_at)
    lines: dict[str, object] = {
        "node": f"{status.name} ({status.node_id}) of {status.org_id}",
        "control plane": f"{status.api_url}, last answered {beat}",
        "messages": f"{status.link}{f': {status.problem}' if status.problem else ''}",
        "certificate": f"until {status.certificate_ends}",
        "reports": f"{status.reports_waiting} waiting, {status.reports_dropped} lost for want of room",
        "clock": f"{-status.clock_skew_seconds:+.1f} s from the control plane's",
    }
    for name, text in lines.items():
        _say(f"  {name:<14} {text}")
    for server in status.servers:
        _say(f"  server {server['id']}  {server['state']}  revision {server['revision']}")
    return 0 if alive else 1


def _ago(moment: float) -> str:
    seconds = max(0, int(time.time() - moment))
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} min ago"


def _doctor(config: Config, _: argparse.Namespace) -> int:
    from agent.doctor import examine, worst

    findings = examine(config)
    for finding in findings:
        _say(str(finding))
    return worst(findings)


def _stop_games(config: Config, _: argparse.Namespace) -> int:
    from agent.app import make_driver
    from agent.games import end_games
    from agent.lock import AlreadyRunning, hold
    from agent.storage import DATABASE, Storage, StorageError

    async def quiet() -> int:
        storage, driver = Storage(config.path / DATABASE), make_driver(config)
        try:
            return await end_games(config, storage, driver)
        finally:
            await driver.close()
            storage.close()

    if not (config.path / DATABASE).exists():
        return 0
    try:
        with hold(config.path):
            count = asyncio.run(quiet())
    except AlreadyRunning as error:
        return _fail(f"{error}; stop it first")
    except StorageError as error:
        return _fail(error)
    _say(f"{count} game{'' if count == 1 else 's'} stopped")
    return 0


def _update(config: Config, options: argparse.Namespace) -> int:
    from agent.update import UpdateError, update

    try:
        _say(update(config, options.release))
    except UpdateError as error:
        return _fail(error)
    return 0


def _unit(config: Config, _: argparse.Namespace) -> int:
    from agent.systemd import out_of_reach, unit

    launcher = config.path / "launcher.sh"
    for path in out_of_reach(config.path, Path(sys.executable)):
        _warn(f"{path} is in somebody's home, which the unit may not enter: move it, or take ProtectHome out")
    command = [str(launcher)] if launcher.exists() else [sys.executable, "-m", "agent"]
    _say(unit(command, config.path, sys.executable).rstrip())
    return 0


def _install(config: Config, options: argparse.Namespace) -> int:
    from agent.update import UpdateError, first_release

    try:
        _say(first_release(config, options.release))
    except UpdateError as error:
        return _fail(error)
    return 0


def _uninstall(config: Config, options: argparse.Namespace) -> int:
    from agent.drivers.base import DriverError
    from agent.lock import AlreadyRunning, hold
    from agent.uninstall import is_agents, remove_games_service, remove_unit, uninstall

    if not is_agents(config.path):
        return _fail(f"no agent is at home in {config.path}")
    if not options.yes:
        _say(
            f"This ends every game in {config.path} and deletes its keys{'' if options.keep_servers else ' and files'}."
        )
        with contextlib.suppress(EOFError):
            if input("Type yes to go on: ").strip() != "yes":
                return 1
    removed = remove_unit(config)
    try:
        with hold(config.path):
            stuck, left = asyncio.run(uninstall(config, keep_servers=options.keep_servers))
    except AlreadyRunning as error:
        return _fail(f"{error}; stop it first")
    except DriverError as error:
        return _fail(f"games could not be ended: {error}")
    if removed:
        remove_games_service()
    if stuck:
        return _fail(f"could not be deleted: {', '.join(stuck)}")
    if left:
        _say(f"left in {config.path}, as it is not the agent's: {', '.join(left)}")
    _say(f"uninstalled{', its service too' if removed else ''}; remove the node in the console as well")
    return 0
