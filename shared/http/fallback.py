"""What no route takes: preflights, unknown paths, known paths with another method."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property

from shared.http.errors import MethodNotAllowed, RouteNotFound
from shared.http.headers import preflight
from shared.http.models import Reply
from shared.http.request import Request
from shared.http.route import PLACEHOLDER, Route


class Fallback:
    """Answers in place of a route. The platform itself would say a bare 404 to all of these."""

    def __init__(self, declared: Callable[[], Sequence[Route]]) -> None:
        self._declared = declared

    @cached_property
    def _known(self) -> list[tuple[re.Pattern[str], int, str]]:
        return [(route.matcher, len(PLACEHOLDER.findall(route.path)), route.method) for route in self._declared()]

    def _methods(self, path: str) -> set[str]:
        """The methods of a path. `/v1/things/recount` is the route of that name, not the thing called `recount`."""
        found = [(placeholders, method) for pattern, placeholders, method in self._known if pattern.match(path)]
        fewest = min((placeholders for placeholders, _ in found), default=0)
        return {method for placeholders, method in found if placeholders == fewest}

    def answer(self, request: Request, origins: Sequence[str]) -> Reply:
        """The reply to a preflight.

        Raises:
            MethodNotAllowed: the path has routes with other methods; `Allow` names them.
            RouteNotFound: no route has the path.
        """
        allowed = self._methods(request.path)
        if not allowed:
            raise RouteNotFound(f"there is no path {request.path[:200]}")
        if request.method == "OPTIONS":
            headers = {"Allow": ", ".join(sorted(allowed | {"OPTIONS"}))}
            if request.headers.get("origin") in origins and "access-control-request-method" in request.headers:
                headers |= preflight()
            return Reply(status=204, headers=headers)
        names = ", ".join(sorted(allowed))
        raise MethodNotAllowed(f"{request.method} is not taken here, only {names}", allow=names)
