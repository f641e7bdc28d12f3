"""The doors: a route registry. What a blueprint in `functions/` needs is importable from here."""

from shared.http.call import Call
from shared.http.models import In, ListQuery, Out, Page, Reply, accepted
from shared.http.principal import Auth, Principal, PrincipalKind
from shared.http.registry import Routes

__all__ = [
    "Auth",
    "Call",
    "In",
    "ListQuery",
    "Out",
    "Page",
    "Principal",
    "PrincipalKind",
    "Reply",
    "Routes",
    "accepted",
]
