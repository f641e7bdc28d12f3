from __future__ import annotations

import json
import logging

import pytest

from shared.platform import tracing
from shared.platform.redaction import redact, redact_mapping
from shared.platform.telemetry import StructuredFormatter

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
        pytest.param("key mck_live1234567890abc used", "live1234567890abc", id="API key"),
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
