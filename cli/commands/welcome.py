"""`meridian welcome`: the main job, done once on a fresh house: a person, an organization, this machine, a first server.

`make run` and `make demo` call it. It uses the public API and the agent's own command line, and does nothing twice: what
is there already stays.
"""

from __future__ import annotations

import secrets
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import output
from cli.commands.console import Reader
from cli.errors import ApiError, CliError
from cli.profile import Profile
from cli.sign_in import sign_in
from cli.state import State, state
from cli.tasks import follow

welcome = typer.Typer(help="The main job, done once on a fresh house.", no_args_is_help=True, hidden=True)

EMAIL = "demo@example.com"
ORGANIZATION = "Demo"
NODE = "this-machine"
SERVER = "first-server"
PASSWORD_FILE = "demo.password"  # noqa: S105 - a file's name
ONLINE_SECONDS = 60.0
OWN_PORTS = range(26_000, 28_000, 20)

Auth = Annotated[str, typer.Option(help="Address of the sign-in site.")]
AgentFolder = Annotated[Path, typer.Option(help="Where this machine's agent keeps its papers.")]


@welcome.command("enrol")
def enrol(context: typer.Context, auth: Auth, agent_folder: AgentFolder) -> None:
    """Sign the demo user up, found an organization, and enrol this machine."""
    current = state(context)
    profile = current.profile
    profile.auth = auth
    _sign_in(profile)
    if not profile.org_id:
        made = current.api.post("/v1/organizations", {"name": ORGANIZATION})
        current.api.for_organization(made["id"])
        output.out.print(f"organization {ORGANIZATION} is founded")
    if any(node["state"] != "decommissioned" for node in current.api.pages("/v1/nodes", name=NODE)):
        output.out.print(f"this machine is enrolled already, as {NODE}")
        return
    token = current.api.post("/v1/enrolment-tokens", {"note": "this machine"})
    command = [sys.executable, "-m", "agent", "enroll", "--folder", str(agent_folder), "--api-url", profile.api]
    command += ["--token", "-", "--name", NODE, "--root-sha256", token["root_sha256"], "--force"]
    done = subprocess.run(command, input=token["token"], text=True, check=False)
    if done.returncode:
        raise CliError("this machine could not be enrolled; the agent's line above says why")


@welcome.command("server")
def server(
    context: typer.Context,
    template: Annotated[str, typer.Option(help="What the server is made of.")] = "flying-squid",
    stays: Annotated[bool, typer.Option("--stays/--ends", help="Whether the house stays up afterwards.")] = True,
) -> None:
    """Create a first server, show its steps, and tell where to join."""
    current = state(context)
    begun = time.monotonic()
    node = _until_online(current)
    found = list(current.api.pages("/v1/servers", name=SERVER))
    if not found:
        if not stays:
            _give_own_ports(current, node)
        clicked = time.monotonic()
        output.out.print(f"creating {SERVER} from the template {template}")
        asked = current.api.post("/v1/servers", {"name": SERVER, "template": template})
        task = follow(current.api, asked["task_id"], output.out.print)
        ready = time.monotonic() - clicked
        steps = sum(step["seconds"] for step in task["steps"])
        output.out.print(f"from the click to ready: {ready:.1f} s, {steps:.1f} s of it the steps themselves")
        found = [current.api.get(f"/v1/servers/{asked['server_id']}")]
    else:
        _bring_back(current, found[0])
    _tell(current, found[0]["id"], node, time.monotonic() - begun)
    if stays:
        _tell_how_to_go_on(current)


def _give_own_ports(current: State, node: dict[str, Any]) -> None:
    """A house that ends by itself may run beside one that stays: its games get ports that nobody has now."""
    first = next(port for port in OWN_PORTS if all(map(_is_free, range(port, port + OWN_PORTS.step))))
    ranges = [{"first": first, "last": first + OWN_PORTS.step - 1}]
    current.api.change("PATCH", f"/v1/nodes/{node['id']}", {"port_ranges": ranges})


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def _bring_back(current: State, server: dict[str, Any]) -> None:
    """What an earlier run left: go on with what was under way, start what has stopped, install what could not be."""
    ask = {"stopped": "start", "crash_loop": "start", "failed": "reinstall"}.get(server["status"])
    if server["operation"]:
        output.out.print(f"{server['name']} is there, and {server['status']}: its task goes on")
        follow(current.api, server["operation"]["task_id"], output.out.print)
    elif ask:
        output.out.print(f"{server['name']} is there, and {server['status']}: {ask}")
        follow(current.api, current.api.post(f"/v1/servers/{server['id']}/{ask}")["task_id"], output.out.print)


def _sign_in(profile: Profile) -> None:
    """As the demo user, whose password is made here and kept for the person who wants to sign in by hand."""
    kept = profile.path.parent / PASSWORD_FILE
    if kept.exists():
        sign_in(profile, EMAIL, kept.read_text().strip())
        output.out.print(f"signed in as {EMAIL}")
        return
    password = secrets.token_urlsafe(12)
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept.touch(mode=0o600)
    kept.write_text(password + "\n")
    try:
        sign_in(profile, EMAIL, password, name="Demo")
    except (CliError, ApiError):
        kept.unlink()
        raise
    output.out.print(f"signed up {EMAIL}, password in {kept}")


def _until_online(current: State) -> dict[str, Any]:
    end = time.monotonic() + ONLINE_SECONDS
    while time.monotonic() < end:
        for node in current.api.pages("/v1/nodes", name=NODE):
            if node["presence"] == "online":
                return node
        time.sleep(0.2)
    raise CliError(f"{NODE} has not been heard of for {ONLINE_SECONDS:.0f} s")


def _tell(current: State, server_id: str, node: dict[str, Any], seconds: float) -> None:
    server = current.api.get(f"/v1/servers/{server_id}")
    output.out.print(
        f"{server['name']} on {node['name']} is {server['status']}, {seconds:.1f} s after the agent came up"
    )
    Reader(current.api, server_id).read(seconds=3.0)
    if server["join"] and server["status"] == "running":
        output.line(f"join at {server['join']}")


def _tell_how_to_go_on(current: State) -> None:
    """Leave a file that makes a shell the demo user's, and name it."""
    settings = {
        "MERIDIAN_CONFIG_DIR": str(current.profile.path.parent),
        "MERIDIAN_API": current.profile.api,
        "MERIDIAN_AUTH": current.profile.auth,
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    lines.append(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    file = current.profile.path.with_name("activate")
    file.write_text("\n".join(lines) + "\n")
    here = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    output.line(f"go on in another terminal, as {EMAIL}: . {shlex.quote(str(here))} && meridian servers list")
