"""Refusals about servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.platform.errors import Fault, FieldError, Kind

if TYPE_CHECKING:
    from shared.placement.models import Refused


class NoRoom(Fault):
    """No node can take the server; `errors` has every reason of every node."""

    kind, code, title = Kind.CONFLICT, "no_room", "No node can take this server"

    def __init__(self, refused: Refused) -> None:
        errors = [
            FieldError(f"nodes.{verdict.node_id}", reason.text, reason.code)
            for verdict in refused.verdicts[:50]
            for reason in verdict.reasons
        ]
        super().__init__(refused.reason, errors=errors, nodes=len(refused.verdicts) + refused.withheld)
        self.refused = refused


class NameTaken(Fault):
    """Another server of the organization has that name."""

    kind, code, title = Kind.CONFLICT, "server_name_taken", "There is a server with that name"


class NotInThisState(Fault):
    """The server's state does not allow it."""

    kind, code, title = Kind.CONFLICT, "not_in_this_state", "The server's state does not allow this"


class OperationUnderWay(Fault):
    """Something is being done with the server already."""

    kind, code, title = Kind.CONFLICT, "operation_under_way", "Something is being done with the server already"


class ServerSuspended(Fault):
    """The server is suspended."""

    kind, code, title = Kind.CONFLICT, "server_suspended", "The server is suspended"


class TemplateIsDraft(Fault):
    """The template must be completed first."""

    kind, code, title = Kind.UNPROCESSABLE, "template_is_draft", "The template is not complete"


class ServerNotRunning(Fault):
    """Nothing reads its input."""

    kind, code, title = Kind.CONFLICT, "server_not_running", "The server does not run"


class TooManyChosen(Fault):
    """More servers carry the labels than one call acts on; nothing was done with any."""

    kind, code, title = Kind.UNPROCESSABLE, "too_many_chosen", "Too many servers for one call"


class PlacementContended(Fault):
    """Too many others were placed at the same time."""

    kind, code, title = Kind.UNAVAILABLE, "placement_contended", "Too many servers are being placed at once"
