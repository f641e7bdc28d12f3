"""Who a call is by, as the audit trail names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.audit.models import Actor

if TYPE_CHECKING:
    from shared.http.call import Call


def actor_of(call: Call) -> Actor:
    """The actor of a call: the checked principal, and where the call came from."""
    principal, request = call.principal, call.request
    return Actor(
        kind=principal.kind.value,
        id=principal.id,
        client=principal.client,
        address=request.address,
        request_id=request.id,
        trace_id=request.trace.trace_id,
    )
