"""What a handler gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from shared.http.errors import NoOrganization
from shared.http.models import Page
from shared.http.principal import Principal
from shared.http.request import Request
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.durable_functions import DurableOrchestrationClient

    from shared.composition import Services
    from shared.http.idempotency import Once
    from shared.http.models import Reply
    from shared.http.route import Route
    from shared.store.batch import Batch
    from shared.store.query import Slice

D = TypeVar("D")
V = TypeVar("V")


class Call:
    """One call of a route: who, from where, for which organization, and the services that do the work.

    `if_match` is the ETag that the caller says it changes (routes with `if_match`), None
    for `*`; hand it to the service. `made_before` is what an earlier attempt of the same request gave to `keep`: the handler
    then does what that one may not have come to, and its reply is not used.
    """

    __slots__ = (
        "_durable", "_id_source", "_once", "if_match", "made_before", "principal", "request", "route", "services", "visible",
    )  # fmt: skip

    def __init__(self, request: Request, principal: Principal, route: Route, services: Services) -> None:
        self.request, self.principal, self.route, self.services = request, principal, route, services
        self.if_match: str | None = None
        self.visible: Callable[[str], bool] | None = None
        self._durable: str | None = None
        self._id_source: Iterator[str] | None = None
        self._once: Once | None = None
        self.made_before: str | None = None

    @property
    def org(self) -> OrgId:
        """The organization that the caller's token is for.

        Raises:
            NoOrganization: it is for none.
        """
        if self.principal.org is None:
            raise NoOrganization("this token is for no organization")
        return self.principal.org

    @property
    def request_id(self) -> str:
        """The id under which our log knows this call."""
        return self.request.id

    @property
    def durable(self) -> DurableOrchestrationClient:
        """The client that starts orchestrations, on routes declared with `durable=True`."""
        if self._durable is None:
            raise LookupError(f"{self.route.name} is not declared with durable=True")
        from azure.durable_functions import DurableOrchestrationClient

        return DurableOrchestrationClient(self._durable)

    def new_id(self, prefix: str) -> str:
        """A new id. On an idempotent route, the same ones in the same order when the same request is tried again.

        So an attempt that died half-way and is repeated creates the very documents that the first one created, and
        the store's conflict shows it, instead of a second set beside the first.
        """
        if self._id_source is not None:
            return f"{prefix}_{next(self._id_source)}"
        return self.services.ids.new(prefix)

    def keep(self, batch: Batch, reply: Reply, made: str = "") -> None:
        """On a route with `in_batch`: have the reply kept under the request's key by the batch that does what it asks.

        Args: `made` names what is made, where a repeated request has more to do than to give the kept reply.
        """
        if self._once is None:
            raise LookupError(f"{self.route.name} is not declared with in_batch=True")
        self._once.keep(batch, reply, made)

    def page(self, found: Slice[D], view: Callable[[D], V]) -> Page[V]:
        """A page for the caller of what the store found, with the link to the next one.

        What the caller may not see is left out by the field that the route names (`narrowed`), so a page may be shorter than
        asked for and yet have a next.
        """
        views: Iterable[Any] = map(view, found.items)
        visible, field = self.visible, self.route.narrowed
        if visible is not None and field is not None:
            views = (shown for shown in views if visible(getattr(shown, field)))
        return self.page_of(views, found.cursor)

    def page_of(self, items: Iterable[V], cursor: str | None) -> Page[V]:
        """A page of these items; `cursor` is None on the last one."""
        return Page[Any].model_construct(items=list(items), next=self._next(cursor) if cursor else None)

    def _next(self, cursor: str) -> str:
        kept = {name: value for name, value in self.request.query.items() if name not in ("cursor", "code")}
        return f"{self.request.path}?{urlencode({**kept, 'cursor': cursor})}"
