"""`python -m local`: run the house, examine the machine, forget the data."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from local.common.errors import StartError, refuse
from local.common.folder import DataFolder
from local.supervisor.console import Console
from local.supervisor.doctor import examine
from local.supervisor.house import COSMOS_KEY_FILE, House
from local.supervisor.parts import Part
from local.supervisor.ports import Ports, Public, free_base, require
from local.supervisor.supervisor import Supervisor

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(".meridian")


def main() -> int:
    """Do what the first word says; the exit code."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.do(arguments))
    except StartError as error:
        refuse("meridian", error)


def run(arguments: argparse.Namespace) -> int:
    """Start every part, do the main job once, and stay up."""
    with DataFolder(arguments.data, "meridian") as folder:
        public = Public(arguments.public_host, arguments.public_port) if arguments.public_host else None
        house = House(ROOT, folder, _ports(arguments), verbose=arguments.verbose, public=public)
        require(house.ports.by_option())
        return _run_house(house, () if arguments.bare else house.main_job(arguments.template), stay=True)


def demo(arguments: argparse.Namespace) -> int:
    """Do the main job once on a fresh house with ports of its own, tell what it took, and stop."""
    if arguments.base_port is None:  # a house of `make run` may be up
        arguments.base_port = free_base(len(Ports().by_option()))
    with tempfile.TemporaryDirectory(prefix="meridian-demo-") as place, DataFolder(Path(place), "meridian") as folder:
        house = House(ROOT, folder, _ports(arguments), verbose=arguments.verbose)
        require(house.ports.by_option())
        return _run_house(house, house.main_job(arguments.template, stay=False), stay=False)


def _run_house(house: House, main_job: tuple[Part, ...], *, stay: bool) -> int:
    parts = (*house.parts(), *main_job)
    console = Console([part.name for part in parts], house.data / "logs")
    return asyncio.run(Supervisor(parts, console).run(stay=stay))


def doctor(arguments: argparse.Namespace) -> int:
    """One line for each thing the house needs; 1 if something keeps it from running."""
    broken = False
    for finding in examine(ROOT, arguments.data, _ports(arguments).by_option()):
        mark = "ok  " if finding.good else ("FAIL" if finding.fatal else "slow")
        print(f"{mark}  {finding.text}")
        broken |= finding.fatal and not finding.good
    print("something keeps Meridian from running here" if broken else "this machine can run Meridian")
    return int(broken)


def clean_data(arguments: argparse.Namespace) -> int:
    """Remove what `run` stored; refused while it runs."""
    if not arguments.data.exists():
        print(f"nothing is stored in {arguments.data}")
        return 0
    with DataFolder(arguments.data, "meridian") as folder:
        if not (folder.path / "cosmos" / COSMOS_KEY_FILE).exists():
            raise StartError(f"{folder.path} was not made by Meridian: nothing is removed")
        shutil.rmtree(folder.path)
    print(f"{arguments.data} is gone")
    return 0


def _ports(arguments: argparse.Namespace) -> Ports:
    usual = Ports.from_base(arguments.base_port).by_option()
    chosen = {
        name.replace("-", "_"): getattr(arguments, f"{name.replace('-', '_')}_port") or port
        for name, port in usual.items()
    }
    return Ports(**chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m local", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, do in (("run", run), ("demo", demo), ("doctor", doctor), ("clean-data", clean_data)):
        command = commands.add_parser(name, help=do.__doc__, description=do.__doc__)
        command.set_defaults(do=do)
        if name != "demo":
            command.add_argument("--data", type=Path, default=DATA, help="folder of all data (default %(default)s)")
        if name == "run":
            command.add_argument(
                "--public-host", help="open the house to other machines: this one's name or address there"
            )
            command.add_argument(
                "--public-port", type=int, default=7443, help="the API's for them (default %(default)s)"
            )
            command.add_argument(
                "--bare", action="store_true", help="no demo user, no node, no server: the parts alone"
            )
        if name in ("run", "demo"):
            command.add_argument("--template", default="flying-squid", help="the first server's (default %(default)s)")
            command.add_argument("--verbose", action="store_true", help="show each call, not failures alone")
        if name == "clean-data":
            continue
        command.add_argument(
            "--base-port", type=int, help="take ports from this number upward instead of the usual ones"
        )
        for option, port in Ports().by_option().items():
            command.add_argument(f"--{option}-port", type=int, help=f"(default {port})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
