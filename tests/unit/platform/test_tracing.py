from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.platform import telemetry, tracing
from shared.platform.tracing import TraceContext

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_good_value_goes_in_and_out_unchanged() -> None:
    context = tracing.parse(GOOD)
    assert context is not None
    assert context.traceparent == GOOD


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="absent"),
        pytest.param("", id="empty"),
        pytest.param(GOOD.upper(), id="upper case"),
        pytest.param("00-" + "0" * 32 + "-b7ad6b7169203331-01", id="zero trace"),
        pytest.param("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", id="zero span"),
        pytest.param(GOOD + "-extra", id="too long"),
        pytest.param("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", id="forbidden version"),
    ],
)
def test_a_bad_value_starts_a_new_trace(value: str | None) -> None:
    assert tracing.parse(value) is None
    begun = tracing.begin(value)
    assert tracing.parse(begun.traceparent) == begun


@given(st.text(max_size=80))
def test_no_text_breaks_the_parser(text: str) -> None:
    found = tracing.parse(text)
    assert found is None or found.traceparent[:55] == text[:55]


def test_work_continues_the_callers_trace_with_a_span_of_its_own() -> None:
    parent = tracing.parse(GOOD)
    begun = tracing.begin(GOOD)
    assert parent is not None
    assert (begun.trace_id, begun.sampled) == (parent.trace_id, True)
    assert begun.span_id != parent.span_id


def test_the_context_is_carried_by_hand_through_any_mapping() -> None:
    carrier: dict[str, str] = {}
    tracing.inject(carrier)
    assert carrier == {}
    token = tracing.current.set(TraceContext("a" * 32, "b" * 16, sampled=False))
    try:
        tracing.inject(carrier)
    finally:
        tracing.current.reset(token)
    assert tracing.extract(carrier) == TraceContext("a" * 32, "b" * 16, sampled=False)


def test_a_span_records_under_the_carried_context_and_becomes_it() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    token = tracing.current.set(tracing.parse(GOOD))
    try:
        with telemetry.span("place server", {"email": "a@b.example"}, tracer=provider.get_tracer("test")):
            inner = tracing.current.get()
    finally:
        tracing.current.reset(token)
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == GOOD.split("-")[1]
    assert f"{span.parent.span_id:016x}" == GOOD.split("-")[2]
    assert inner is not None
    assert inner.span_id == f"{span.context.span_id:016x}"
    assert span.attributes == {"email": "<e-mail>"}
    assert trace.get_tracer_provider() is not provider
