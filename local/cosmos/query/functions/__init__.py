"""The built-in functions, by name: how many arguments each takes, and what it does to their values.

https://learn.microsoft.com/azure/cosmos-db/nosql/query/system-functions
"""

from __future__ import annotations

from local.cosmos.query.functions import arrays, dates, maths, strings, types
from local.cosmos.query.functions.registry import Function

FUNCTIONS: dict[str, Function] = {
    **types.FUNCTIONS,
    **strings.FUNCTIONS,
    **maths.FUNCTIONS,
    **arrays.FUNCTIONS,
    **dates.FUNCTIONS,
}

AGGREGATES = frozenset({"COUNT", "SUM", "AVG", "MIN", "MAX", "COUNTIF"})

# Known to the service and left out here on purpose: a wrong answer would be worse than a refusal.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("ST_AREA", "ST_DISTANCE", "ST_INTERSECTS", "ST_ISVALID", "ST_ISVALIDDETAILED", "ST_WITHIN"),
        "spatial functions",
    ),
    **dict.fromkeys(("VECTORDISTANCE",), "vector search"),
    **dict.fromkeys(
        ("FULLTEXTCONTAINS", "FULLTEXTCONTAINSALL", "FULLTEXTCONTAINSANY", "FULLTEXTSCORE", "RRF"), "full-text search"
    ),
    **dict.fromkeys(("RAND", "DOCUMENTID", "MAKELIST", "MAKESET"), "this function"),
}

__all__ = ["AGGREGATES", "FUNCTIONS", "REFUSED", "Function"]
