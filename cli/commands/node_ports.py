"""`meridian nodes free-port`: a port that something else has let go of."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commanding import Group
from cli.commands.nodes import Name
from cli.errors import CliError
from cli.find import by_name
from cli.state import state

ports = Group()


@ports.command("free-port")
def free_port(
    context: typer.Context,
    name: Name,
    port: Annotated[str, typer.Argument(metavar="PORT/PROTOCOL", help="Such as 25565/tcp; see `nodes show`.")],
) -> None:
    """Give out a port again that something else had. By itself that happens an hour after it was seen."""
    number, _, protocol = port.partition("/")
    if not number.isdecimal() or protocol not in ("tcp", "udp"):
        raise CliError(f"port {port!r} must read PORT/PROTOCOL, such as 25565/tcp")
    current = state(context)
    node = by_name(current.api, "node", name)
    body = {"port": int(number), "protocol": protocol}
    current.api.post(f"/v1/nodes/{node['id']}/foreign-ports/forget", body)
    current.say(f"{port} of {node['name']} is given out again")
