"""Claims-based security: `put-token` requests on the node `$cbs` (OASIS AMQP CBS 1.0)."""

from __future__ import annotations

import logging

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.types import Int, Raw
from local.servicebus.request_links import RequestSink
from local.servicebus.sas import TokenRefused, verify

log = logging.getLogger("servicebus")


def put_token(
    link: RequestSink, _identity: Raw, application: dict[object, object], body: object
) -> tuple[dict[object, object], object]:
    """Verify a token and remember what it allows. A refused one is told by status 401 and ends nothing."""
    connection, broker = link.session.connection, link.session.broker
    audience = application.get("name")
    if application.get("operation") != "put-token" or not isinstance(audience, str) or not isinstance(body, str):
        return _status(400, "expected put-token with a name and a token as text")
    # The SDK says `type=jwt` for shared access signatures too: what counts is how the token begins.
    try:
        grant = verify(body, audience, now=broker.clock.seconds(), hosts=broker.hosts, rules=broker.rules)
        connection.permissions.add(grant)
    except TokenRefused as error:
        log.warning("%s: token for %s refused: %s", connection.peer, audience[:200], error)
        return _status(401, f"InvalidSignature: {error}")
    except p.AmqpError as error:
        return _status(403, error.description)
    return _status(202, "Accepted")


def _status(code: int, description: str) -> tuple[dict[object, object], object]:
    return {"status-code": Int(code), "status-description": description}, None
