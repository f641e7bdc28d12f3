"""The doors, one blueprint a resource: parse, authorise, call a service, map the result.

A module here has `routes = Routes(...)` and `blueprint = routes.blueprint`. Its name stands in `MODULES`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.http.route import Route

MODULES: Final = (
    "functions.health",
    "functions.diagnostics",
    "functions.openapi",
    "functions.auth",
    "functions.me",
    "functions.organizations",
    "functions.members",
    "functions.invitations",
    "functions.roles",
    "functions.api_keys",
    "functions.audit",
    "functions.enrolment",
    "functions.agent",
    "functions.nodes",
    "functions.templates",
    "functions.placements",
    "functions.servers",
    "functions.console",
    "functions.tasks",
)


def declared() -> list[Route]:
    """Every route of the API, in the order of the modules."""
    return [route for name in MODULES for route in import_module(name).routes.declared]
