"""Queries over several partitions: which the server answers itself, and the plan by which the SDK merges the others.

The service answers such a query with 400 and substatus 1004; the SDK then asks for a plan, sends the plan's rewritten query to
every physical partition, and merges. Rows carry what the merge needs: `orderByItems` and `payload`, or partial aggregates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import Value
from local.cosmos.query import ast
from local.cosmos.query.functions import AGGREGATES
from local.cosmos.query.parser import parse
from local.cosmos.query.pipeline import whole_count
from local.cosmos.query.printer import print_query

_SDK_NAMES = {"COUNT": "Count", "SUM": "Sum", "MIN": "Min", "MAX": "Max", "AVG": "Average", "COUNTIF": "CountIf"}


def needs_plan(query: ast.Query) -> bool:
    """Whether the answers of several partitions cannot simply be put one after the other."""
    return bool(
        query.order_by
        or query.distinct
        or query.top is not None
        or query.offset is not None
        or query.group_by
        or _aggregate(query) is not None
    )


def query_plan(text: str, parameters: dict[str, Value]) -> dict[str, Any]:
    """The plan of a query.

    Raises:
        CosmosError: 400, the SDK could not merge it: GROUP BY, or an aggregate that is not the whole row.
    """
    query = parse(text)
    if query.group_by:
        raise bad_request("GROUP BY over several partitions is not supported by the Python SDK; name a partition key.")
    call = _aggregate(query)
    if call is not None and (query.selection.kind != "value" or query.selection.items[0].expression != call):
        raise bad_request("Over several partitions an aggregate must be the whole row: SELECT VALUE COUNT(1).")
    top = _count(query.top, "TOP", parameters)
    offset, limit = _count(query.offset, "OFFSET", parameters), _count(query.limit, "LIMIT", parameters)
    return {
        "partitionedQueryExecutionInfoVersion": 2,
        "queryInfo": {
            "distinctType": ("Ordered" if query.order_by else "Unordered") if query.distinct else "None",
            "top": top,
            "offset": offset,
            "limit": limit,
            "orderBy": ["Descending" if item.descending else "Ascending" for item in query.order_by],
            "orderByExpressions": [],
            "groupByExpressions": [],
            "groupByAliases": [],
            "aggregates": [] if call is None else [_SDK_NAMES[call.name]],
            "groupByAliasToAggregateType": {},
            "rewrittenQuery": print_query(_rewrite(query, call, offset, limit)),
            "hasSelectValue": query.selection.kind == "value",
            "hasNonStreamingOrderBy": False,
        },
        "queryRanges": [{"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}],
    }


def _aggregate(query: ast.Query) -> ast.Call | None:
    for node in query.selection.walk(into_queries=False):
        if isinstance(node, ast.Call) and node.name in AGGREGATES:
            return node
    return None


def _count(node: ast.Node | None, name: str, parameters: dict[str, Value]) -> int | None:
    if node is None:
        return None
    value = parameters.get(node.name) if isinstance(node, ast.Parameter) else getattr(node, "value", None)
    return whole_count(value, name)


def _rewrite(query: ast.Query, call: ast.Call | None, offset: int | None, limit: int | None) -> ast.Query:
    if call is not None:
        return replace(query, selection=_value(ast.ArrayLiteral((_item(_partial(call)),))))
    changes: dict[str, Any] = {}
    if offset is not None and limit is not None:
        # Every partition may hold all of the rows that are to be skipped.
        changes = {"offset": ast.Literal.of(0), "limit": ast.Literal.of(offset + limit)}
    if query.order_by:
        keys = ast.ArrayLiteral(tuple(_item(item.expression) for item in query.order_by))
        first = ast.Name(query.sources[0].alias)
        row = (
            ("_rid", ast.Member(first, ast.Literal.of("_rid"))),
            ("orderByItems", keys),
            ("payload", _payload(query)),
        )
        # What is not distinct within a partition is found by the SDK, by its payload.
        changes |= {"selection": _value(ast.ObjectLiteral(row)), "distinct": False}
    return replace(query, **changes)


def _payload(query: ast.Query) -> ast.Node:
    selection = query.selection
    if selection.kind == "all":
        return ast.Name(query.sources[0].alias)
    if selection.kind == "value":
        return selection.items[0].expression
    return ast.ObjectLiteral(tuple((item.name, item.expression) for item in selection.items))


def _partial(call: ast.Call) -> ast.Node:
    if call.name != "AVG":
        return call
    parts = (("sum", ast.Call("SUM", call.arguments)), ("count", ast.Call("COUNT", call.arguments)))
    return ast.ObjectLiteral(parts)


def _item(node: ast.Node) -> ast.Node:
    return ast.ObjectLiteral((("item", node),))


def _value(node: ast.Node) -> ast.Selection:
    return ast.Selection("value", (ast.Item(node, ""),))
