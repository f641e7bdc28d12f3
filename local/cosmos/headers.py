"""Request headers that change what a request means. One that is not known here is refused, never ignored."""

from __future__ import annotations

from local.cosmos.errors import CosmosError, bad_request
from local.cosmos.http import Headers

_PREFIXES = (b"x-ms-documentdb-", b"x-ms-cosmos-")
KNOWN = frozenset(
    {
        "x-ms-cosmos-allow-tentative-writes",
        "x-ms-cosmos-batch-atomic",
        "x-ms-cosmos-batch-continue-on-error",
        "x-ms-cosmos-batch-ordered",
        "x-ms-cosmos-correlated-activityid",
        "x-ms-cosmos-intended-collection-rid",
        "x-ms-cosmos-is-batch-request",
        "x-ms-cosmos-is-query-plan-request",
        "x-ms-cosmos-offer-autopilot-settings",
        "x-ms-cosmos-query-version",
        "x-ms-cosmos-sdk-supportedcapabilities",
        "x-ms-cosmos-supported-query-features",
        "x-ms-documentdb-is-upsert",
        "x-ms-documentdb-isquery",
        "x-ms-documentdb-partitionkey",
        "x-ms-documentdb-partitionkeyrangeid",
        "x-ms-documentdb-populatequerymetrics",
        "x-ms-documentdb-query-enable-scan",
        "x-ms-documentdb-query-enablecrosspartition",
        "x-ms-documentdb-query-iscontinuationexpected",
        "x-ms-documentdb-query-parallelizecrosspartitionquery",
        "x-ms-documentdb-responsecontinuationtokenlimitinkb",
    }
)
# Names that were looked at before and let through; a client sends the same few with every request.
MAX_PASSED = 500
_passed: set[bytes] = set()
# Session is what one process with one log always gives; whatever asks for less gets more.
_CONSISTENCY = frozenset({"session", "eventual", "consistentprefix"})


def check_headers(headers: Headers) -> None:
    """Refuse what is not understood.

    Raises:
        CosmosError: 501 for an unknown header of the protocol, 400 for a consistency that the account does not have.
    """
    if not headers.raw.keys() <= _passed:
        for name in headers.raw:
            if name.startswith(_PREFIXES) and name.decode("latin-1") not in KNOWN:
                raise CosmosError(501, f"The header {name.decode('latin-1')} is not supported by the local endpoint.")
            if len(_passed) < MAX_PASSED:
                _passed.add(name)
    wanted = headers.find("x-ms-consistency-level")
    if wanted is not None and wanted.lower() not in _CONSISTENCY:
        raise bad_request(f"The account's consistency is Session; {wanted} is stronger and cannot be asked for.")
