from __future__ import annotations

import json
import logging
import secrets

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from shared.identity import api_keys, refresh
from shared.nodes.enrolment import TOKEN_PREFIX
from shared.platform import tracing
from shared.platform.ids import Ids
from shared.platform.redaction import redact, redact_mapping
from shared.platform.telemetry import StructuredFormatter, span

SECRET = secrets.token_urlsafe(32)
API_KEY = f"{api_keys.PREFIX}{secrets.token_hex(5)}_{secrets.token_urlsafe(32)}"
REFRESH_TOKEN = f"{refresh.PREFIX}{Ids().new('fam')}_{secrets.token_urlsafe(32)}"
ENROLMENT_TOKEN = f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param(f"got {JWT} from a site", JWT, id="JWT"),
        pytest.param("Authorization: Bearer abcdef0123456789", "abcdef0123456789", id="bearer"),
        pytest.param(
            "Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey=q1w2e3r4=", "q1w2e3r4", id="connection string"
        ),
        pytest.param("https://x.blob/a?sv=1&sig=Zm9vYmFy&se=2", "Zm9vYmFy", id="SAS"),
        pytest.param(f"key {API_KEY} used", API_KEY[-43:], id="API key"),
        pytest.param(f"refresh_token={REFRESH_TOKEN}", REFRESH_TOKEN[-43:], id="refresh token"),
        pytest.param(f"{REFRESH_TOKEN!r} was used twice", REFRESH_TOKEN[-43:], id="refresh token in a text"),
        pytest.param(f"enrol --token {ENROLMENT_TOKEN}", ENROLMENT_TOKEN[-43:], id="enrolment token"),
        pytest.param(f"https://x.example/?invitation={SECRET}&a=b", SECRET, id="link of an invitation"),
        pytest.param(f"grant_type=x&subject_token={SECRET}&a=b", SECRET, id="form"),
        pytest.param(json.dumps({"client_secret": SECRET, "n": 1}), SECRET, id="JSON"),
        pytest.param("-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----", "MHcC", id="private key"),
        pytest.param("mail to kim.lee+games@example.co.uk failed", "kim.lee", id="e-mail"),
    ],
)
def test_a_secret_does_not_pass(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)


def test_plain_words_pass_unchanged() -> None:
    text = "Server srv_01J9Z3 needs 2048 MiB, node has 1536 MiB (10:30, 50 %)"
    assert redact(text) == text


def test_names_that_speak_of_a_secret_are_masked_whole() -> None:
    clean = redact_mapping({"api_key": "x", "count": 3, "inner": {"Cookie": "a=b", "who": "a@b.example"}})
    assert clean == {"api_key": "***", "count": 3, "inner": {"Cookie": "***", "who": "<e-mail>"}}


def test_lists_are_searched_too() -> None:
    clean = redact_mapping({"told": ["a@b.example", {"token": "x", "to": ("c@d.example",)}]})
    assert clean == {"told": ["<e-mail>", {"token": "***", "to": ["<e-mail>"]}]}


def test_a_log_line_is_one_json_object_with_the_trace_and_without_secrets() -> None:
    record = logging.makeLogRecord(
        {
            "name": "meridian.http",
            "levelname": "INFO",
            "msg": "hello %s",
            "args": ("a@b.example",),
            "token": "t",
            "org_id": "org_1",
        }
    )
    token = tracing.current.set(tracing.TraceContext("1" * 32, "2" * 16))
    try:
        line = json.loads(StructuredFormatter().format(record))
    finally:
        tracing.current.reset(token)
    assert line["message"] == "hello <e-mail>"
    assert (line["token"], line["org_id"]) == ("***", "org_1")
    assert (line["trace_id"], line["span_id"]) == ("1" * 32, "2" * 16)


def test_an_exception_in_the_log_is_redacted_too() -> None:
    try:
        raise ValueError(f"bad {JWT}")
    except ValueError:
        import sys

        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    assert JWT not in StructuredFormatter().format(record)


def test_a_value_that_is_no_json_is_redacted_as_text() -> None:
    record = logging.makeLogRecord({"msg": "failed", "cause": ValueError(f"bad {API_KEY} of a@b.example")})
    line = json.loads(StructuredFormatter().format(record))
    assert API_KEY[-43:] not in line["cause"]
    assert "a@b.example" not in line["cause"]


def test_an_exception_in_a_span_is_redacted() -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with pytest.raises(ValueError, match="bad"), span("work", tracer=provider.get_tracer("test")):
        raise ValueError(f"bad {JWT} of a@b.example")
    (made,) = kept.get_finished_spans()
    (event,) = made.events
    assert (event.name, made.status.status_code) == ("exception", StatusCode.ERROR)
    assert dict(event.attributes or {})["exception.message"] == "bad *** of <e-mail>"
    assert JWT not in made.to_json()
    assert "a@b.example" not in made.to_json()
