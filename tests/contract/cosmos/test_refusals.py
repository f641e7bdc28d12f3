"""Bad input at the wire: the status, the error body, and a reason that names what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.cosmos.rawhttp import call
from tests.contract.cosmos.target import Target

pytestmark = pytest.mark.local_only

QUERY = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True"}
KEYED = {"x-ms-documentdb-partitionkey": '["t"]'}
BATCH = {**KEYED, "x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"}
DOCS = "/dbs/{db}/colls/plain/docs"


@pytest.fixture
def port(target: Target) -> int:
    return int(target.endpoint.rsplit(":", 1)[1].strip("/"))


@pytest.mark.parametrize(
    ("case", "method", "path", "body", "headers", "status", "reason"),
    [
        ("malformed JSON", "POST", DOCS, b"{", KEYED, 400, "not valid JSON"),
        ("an array as item", "POST", DOCS, [], KEYED, 400, "must be a JSON object"),
        ("invalid UTF-8", "POST", DOCS, b'{"id":"\xff"}', KEYED, 400, "not valid JSON"),
        (
            "deep nesting",
            "POST",
            DOCS,
            b'{"id":"a","tenant":"t","x":' + b"[" * 200 + b"]" * 200 + b"}",
            KEYED,
            400,
            "deeper than 128",
        ),
        (
            "absurd nesting",
            "POST",
            DOCS,
            b'{"id":"a","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
            KEYED,
            400,
            "not valid JSON",
        ),
        ("no id", "POST", DOCS, {"tenant": "t"}, KEYED, 400, "'id'"),
        ("over-long id", "POST", DOCS, {"id": "x" * 1024, "tenant": "t"}, KEYED, 400, "1024 bytes; the limit is 1023"),
        ("no key header", "POST", DOCS, {"id": "a"}, {}, 400, "partition key header"),
        ("key header is no JSON", "GET", DOCS + "/a", None, {"x-ms-documentdb-partitionkey": "t"}, 400, "not JSON"),
        (
            "key header is no array",
            "GET",
            DOCS + "/a",
            None,
            {"x-ms-documentdb-partitionkey": '"t"'},
            400,
            "JSON array",
        ),
        (
            "key of two levels",
            "GET",
            DOCS + "/a",
            None,
            {"x-ms-documentdb-partitionkey": '["t","u"]'},
            400,
            "2 value(s) given",
        ),
        ("another key in the body", "POST", DOCS, {"id": "a", "tenant": "u"}, KEYED, 400, "doesn't match"),
        ("unknown container", "GET", "/dbs/{db}/colls/nowhere/docs/a", None, KEYED, 404, "'nowhere' does not exist"),
        ("unknown database", "GET", "/dbs/nowhere/colls/x/docs/a", None, KEYED, 404, "'nowhere' does not exist"),
        ("unknown resource", "GET", "/dbs/{db}/colls/plain/sprocs", None, {}, 404, "no resource"),
        ("wrong method", "PUT", "/dbs", {}, {}, 405, "PUT"),
        (
            "trigger",
            "POST",
            DOCS,
            {"id": "a"},
            {**KEYED, "x-ms-documentdb-pre-trigger-include": "x"},
            501,
            "pre-trigger",
        ),
        ("strong consistency", "GET", DOCS + "/a", None, {**KEYED, "x-ms-consistency-level": "Strong"}, 400, "Session"),
        ("query without text", "POST", DOCS, {}, {**QUERY, **KEYED}, 400, "'query'"),
        (
            "query with odd parameters",
            "POST",
            DOCS,
            {"query": "SELECT 1", "parameters": [1]},
            {**QUERY, **KEYED},
            400,
            "parameter",
        ),
        (
            "page of no rows",
            "POST",
            DOCS,
            {"query": "SELECT 1"},
            {**QUERY, **KEYED, "x-ms-max-item-count": "0"},
            400,
            "max-item-count",
        ),
        (
            "foreign token",
            "POST",
            DOCS,
            {"query": "SELECT 1"},
            {**QUERY, **KEYED, "x-ms-continuation": "é"},
            400,
            "continuation",
        ),
        ("batch of nothing", "POST", DOCS, [], BATCH, 400, "non-empty"),
        ("batch with unknown operation", "POST", DOCS, [{"operationType": "Execute"}], BATCH, 400, "operationType"),
        ("full-fidelity feed", "GET", DOCS, None, {**KEYED, "a-im": "Full-Fidelity Feed"}, 400, "latest version"),
        (
            "feed from nonsense",
            "GET",
            DOCS,
            None,
            {**KEYED, "a-im": "Incremental Feed", "if-none-match": "x"},
            400,
            "continuation",
        ),
        ("patch without operations", "PATCH", DOCS + "/a", {}, KEYED, 400, "operations"),
        (
            "unknown range",
            "POST",
            DOCS,
            {"query": "SELECT 1"},
            {**QUERY, "x-ms-documentdb-partitionkeyrangeid": "99"},
            410,
            "99",
        ),
        ("database without id", "POST", "/dbs", {}, {}, 400, "'id'"),
        ("database of odd name", "POST", "/dbs", {"id": "a/b"}, {}, 400, "not allowed"),
        ("container without key", "POST", "/dbs/{db}/colls", {"id": "x"}, {}, 400, "partition key definition"),
    ],
)
def test_refusal(
    target: Target,
    port: int,
    case: str,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
    reason: str,
) -> None:
    found, answered, error = call(port, method, path.replace("{db}", target.database), body, headers)
    assert found == status, (case, error)
    assert set(error) >= {"code", "message"}
    assert reason in error["message"]
    assert "x-ms-activity-id" in answered


def test_a_large_body_is_refused_without_being_read_into_memory(target: Target, port: int) -> None:
    body = b'{"id":"a","tenant":"t","x":"' + b"x" * (5 * 1024 * 1024) + b'"}'
    assert call(port, "POST", DOCS.replace("{db}", target.database), body, KEYED)[0] == 413


@pytest.mark.parametrize(
    ("case", "options", "status", "reason"),
    [
        ("unsigned", {"sign": False}, 401, "no authorization"),
        ("another key", {"key": "YW5vdGhlciBrZXk="}, 401, "key is wrong"),
        ("another scheme", {"headers": {"authorization": "type%3Daad%26ver%3D1.0%26sig%3Dx"}}, 401, "aad"),
        ("nonsense", {"headers": {"authorization": "%00%ff"}}, 401, "not accepted"),
        (
            "signed for another resource",
            {"headers": {"authorization": "type%3Dmaster%26ver%3D1.0%26sig%3DAAAA"}},
            401,
            "wrong",
        ),
        ("clock behind", {"when": datetime.now(UTC) - timedelta(minutes=20)}, 403, "clock"),
        ("clock ahead", {"when": datetime.now(UTC) + timedelta(minutes=20)}, 403, "clock"),
        ("no date", {"headers": {"x-ms-date": ""}}, 401, "date"),
    ],
)
def test_signature(target: Target, port: int, case: str, options: dict[str, Any], status: int, reason: str) -> None:
    found, _, error = call(port, "GET", f"/dbs/{target.database}", **options)
    assert (found, case) == (status, case)
    assert reason in error["message"]


def test_meter_counts_per_container_and_operation(target: Target, port: int) -> None:
    status, _, before = call(port, "GET", "/_local/meter", sign=False)
    assert status == 200
    docs = DOCS.replace("{db}", target.database)
    assert call(port, "POST", docs, {"id": "metered", "tenant": "t"}, {**KEYED, "x-ms-documentdb-is-upsert": "True"})[
        0
    ] in (200, 201)
    after = call(port, "GET", "/_local/meter", sign=False)[2]
    name = f"{target.database}/plain"

    def upserts(totals: dict[str, Any]) -> float:
        operations = totals["containers"].get(name, {}).get("operations", {})
        return float(operations.get("upsert", {}).get("request_units", 0))

    assert upserts(after) >= upserts(before) + 5
    assert after["requests"] > before["requests"]


def test_faults_are_off_unless_asked_for(port: int) -> None:
    assert call(port, "POST", "/_local/fault", {"status": 503}, sign=False)[0] == 404
