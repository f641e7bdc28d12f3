"""Why something about a node is refused."""

from __future__ import annotations

from shared.platform.errors import Fault, Kind


class NodeNotFound(Fault):
    """No such node in this organization."""

    kind, code, title = Kind.NOT_FOUND, "node_not_found", "There is no such node"


class NodeNameTaken(Fault):
    """Another node of the organization has that name."""

    kind, code, title = Kind.CONFLICT, "node_name_taken", "Another node has that name"


class NodeStateConflict(Fault):
    """The node's state does not allow it."""

    kind, code, title = Kind.CONFLICT, "node_state_conflict", "The node's state does not allow it"


class NodeNotEmpty(Fault):
    """Servers are still on the node."""

    kind, code, title = Kind.CONFLICT, "node_not_empty", "There are servers on the node"


class EnrolmentNotFound(Fault):
    """No such enrolment token in this organization."""

    kind, code, title = Kind.NOT_FOUND, "enrolment_not_found", "There is no such enrolment token"


class EnrolmentRefused(Fault):
    """The token is unknown, spent, expired or revoked. One answer to all, so that guessing tells nothing."""

    kind, code, title = Kind.FORBIDDEN, "enrolment_refused", "This token enrols nothing"


class BadCsr(Fault):
    """The certificate request is none, or not with a P-256 key, or not signed by that key."""

    kind, code, title = Kind.UNPROCESSABLE, "bad_certificate_request", "The certificate request does not do"


class ProtocolTooOld(Fault):
    """The agent speaks a protocol that is no longer spoken, or not yet."""

    kind, code, title = Kind.CONFLICT, "agent_protocol", "This agent's version does not fit"


class ProofRefused(Fault):
    """The agent's proof does not hold."""

    kind, code, title = Kind.UNAUTHENTICATED, "proof_refused", "The proof of possession does not hold"


class CertificateRefused(Fault):
    """The certificate is unknown, expired or revoked."""

    kind, code, title = Kind.UNAUTHENTICATED, "certificate_refused", "The certificate does not hold"


class CertificateNotFound(Fault):
    """No such certificate of this node."""

    kind, code, title = Kind.NOT_FOUND, "certificate_not_found", "There is no such certificate"


class BrokerUnavailable(Fault):
    """The message broker does not answer."""

    kind, code, title = Kind.UNAVAILABLE, "broker_unavailable", "The message broker does not answer"
