"""Envelopes: what was sealed opens, and nothing else does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.messaging import codec, jws
from shared.messaging.commands import (
    Command,
    CommandType,
    Order,
    build_command,
    command_id,
    open_command,
    report_event,
    seal_command,
)
from shared.messaging.limits import MAX_COMMAND_LIFE, MAX_PAYLOAD_BYTES
from shared.messaging.proof import Proof, ProofError, body_digest, check_proof, make_proof, open_proof
from shared.messaging.reports import Outcome, Report, ReportType, Status, open_report, seal_report
from shared.messaging.trace import valid_traceparent

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def find(key_id: str) -> jws.PublicKey | None:
    return {"k1": KEY.public_key(), "k2": OTHER.public_key()}.get(key_id)


def a_command(**changes: object) -> Command:
    order = Order(
        CommandType.SERVER_APPLY, "start", server_id="srv_1", desired_revision=3, payload={"spec": {"a": [1]}}
    )
    return dataclasses.replace(build_command(order, "org_1", "nod_1", "tsk_1", NOW, None), **changes)


def test_a_command_comes_out_as_it_went_in() -> None:
    command = a_command(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert open_command(seal_command(command, KEY, "k1"), find) == command


def test_a_report_comes_out_as_it_went_in() -> None:
    outcome = Outcome(Status.SUCCEEDED, started_at=NOW, output_tail=("one", "two"))
    report = Report("rpt_1", ReportType.COMMAND_RESULT, "org_1", "nod_1", 7, NOW, payload=codec.to_wire(outcome))
    opened = open_report(seal_report(report, KEY, "k1"), find)
    assert opened == report
    assert codec.from_wire(Outcome, opened.payload) == outcome


def test_the_same_task_and_step_make_the_same_command() -> None:
    assert command_id("tsk_1", "start") == command_id("tsk_1", "start")
    assert len({command_id("tsk_1", "start"), command_id("tsk_1", "start#2"), command_id("tsk_2", "start")}) == 3
    assert report_event(command_id("tsk_1", "start")).startswith("report.cmd_")


def forged(change: str) -> str:
    sealed = seal_command(a_command(), KEY, "k1")
    header, payload, signature = sealed.split(".")
    other = seal_command(a_command(node_id="nod_2"), KEY, "k1").split(".")
    unsigned = jws.b64url(json.dumps({"alg": "none", "kid": "k1", "typ": "meridian-command+jws"}).encode())
    hmac = jws.b64url(json.dumps({"alg": "HS256", "kid": "k1", "typ": "meridian-command+jws"}).encode())
    crit = jws.b64url(json.dumps({"alg": "ES256", "kid": "k1", "typ": "x", "crit": ["x"]}).encode())
    return {
        "another payload": f"{header}.{other[1]}.{signature}",
        "no signature": f"{header}.{payload}.",
        "zero signature": f"{header}.{payload}.{jws.b64url(bytes(64))}",
        "alg none": f"{unsigned}.{payload}.",
        "alg HS256": f"{hmac}.{payload}.{signature}",
        "critical header": f"{crit}.{payload}.{signature}",
        "unknown key": seal_command(a_command(), KEY, "k9"),
        "another's key under this id": seal_command(a_command(), OTHER, "k1"),
        "a report's kind": jws.sign(codec.to_json(a_command()), KEY, "meridian-report+jws", "k1"),
        "two parts": f"{header}.{payload}",
        "other alphabet": f"{header}.{payload}.{signature[:-2]}+/",
        "padding": sealed + "==",
        "empty": "",
        "not ascii": "é.é.é",
        "endless": "a." * 200_000,
    }[change]


@pytest.mark.parametrize(
    "change",
    [
        "another payload",
        "no signature",
        "zero signature",
        "alg none",
        "alg HS256",
        "critical header",
        "unknown key",
        "another's key under this id",
        "a report's kind",
        "two parts",
        "other alphabet",
        "padding",
        "empty",
        "not ascii",
        "endless",
    ],
)
def test_a_forged_envelope_is_refused(change: str) -> None:
    with pytest.raises(jws.SignatureError):
        open_command(forged(change), find)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "server.format_disk"}, "is not a known CommandType"),
        ({"expires_at": "2026-11-23T07:00:00"}, "no time zone"),
        ({"expires_at": "2026-11-23T06:59:59Z"}, "expires_at"),
        ({"expires_at": codec.to_wire(NOW + MAX_COMMAND_LIFE + timedelta(seconds=1))}, "expires_at"),
        ({"id": ""}, "0 characters"),
        ({"id": "x" * 65}, "65 characters"),
        ({"server_id": None}, "names a server"),
        ({"desired_revision": -1}, "below 0"),
        ({"desired_revision": True}, "expected int"),
        ({"payload": []}, "expected an object"),
        ({"org_id": 7}, "expected str"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_signed_command_of_a_wrong_form_is_refused_with_its_place(change: dict[str, object], says: str) -> None:
    wire = {**codec.to_wire(a_command()), **change}
    with pytest.raises(codec.WireError, match=says):
        open_command(jws.sign(json.dumps(wire).encode(), KEY, "meridian-command+jws", "k1"), find)


def test_an_unknown_field_is_passed_by() -> None:
    wire = {**codec.to_wire(a_command()), "priority": "high"}
    assert open_command(jws.sign(json.dumps(wire).encode(), KEY, "meridian-command+jws", "k1"), find) == a_command()


def test_a_command_larger_than_an_envelope_is_not_sealed() -> None:
    with pytest.raises(codec.WireError, match=f"{MAX_PAYLOAD_BYTES}"):
        seal_command(a_command(payload={"x": "y" * MAX_PAYLOAD_BYTES}), KEY, "k1")


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, '{"a":' * 40 + "1" + "}" * 40, "NaN", "{", "\x00"])
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(codec.WireError):
        codec.load_json(text, 100_000)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 400), st.integers(0, 255))
def test_fuzz_never_opens_and_never_raises_anything_else(noise: bytes, at: int, byte: int) -> None:
    sealed = bytearray(seal_command(a_command(), KEY, "k1").encode())
    before = sealed[at % len(sealed)]
    sealed[at % len(sealed)] = byte
    for text in (noise.decode("latin-1"), sealed.decode("latin-1")):
        if text.encode("latin-1") == bytes(sealed) and byte == before:
            continue
        with pytest.raises((jws.SignatureError, codec.WireError)):
            open_command(text, find)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from([field.name for field in dataclasses.fields(Command)])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_signed_json_is_a_command_or_a_wire_error(changes: dict[str, object]) -> None:
    token = jws.sign(json.dumps({**codec.to_wire(a_command()), **changes}).encode(), KEY, "meridian-command+jws", "k1")
    with contextlib.suppress(codec.WireError):
        assert isinstance(open_command(token, find), Command)


def a_proof(**changes: object) -> Proof:
    made = Proof("a" * 22, "POST", "/v1/agent/session?x=1", "meridian.local", NOW, body_digest(b"{}"))
    return dataclasses.replace(made, **changes)


def test_a_proof_fits_its_own_call_and_tells_the_skew() -> None:
    proof = open_proof(make_proof(a_proof(at=NOW + timedelta(seconds=5)), KEY, "k1"), find)
    skew = check_proof(proof, method="post", path="/v1/agent/session?x=1", domain="meridian.local", body=b"{}", now=NOW)
    assert skew == 5


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"method": "GET"}, "the call is GET"),
        ({"path": "/v1/agent/session"}, "the call is POST /v1/agent/session"),
        ({"domain": "other.example"}, "other.example"),
        ({"body": b"{ }"}, "body"),
        ({"now": NOW + timedelta(seconds=121)}, "-121 s"),
        ({"now": NOW - timedelta(seconds=121)}, r"\+121 s"),
    ],
    ids=["method", "path", "domain", "body", "old", "future"],
)
def test_a_proof_fits_no_other_call(call: dict[str, object], says: str) -> None:
    right = {"method": "POST", "path": "/v1/agent/session?x=1", "domain": "meridian.local", "body": b"{}", "now": NOW}
    with pytest.raises(ProofError, match=says):
        check_proof(a_proof(), **{**right, **call})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", False),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        ("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        (None, False),
    ],
)
def test_traceparent(text: str | None, kept: bool) -> None:
    assert (valid_traceparent(text) is not None) is kept
