"""Traces, metrics and structured logs through one set-up; where they go is a setting.

Instruments and spans go through OpenTelemetry's API, which costs next to nothing while no exporter is set. It is imported
with the first of them (it reads the metadata of every installed package for its plug-ins), the SDK only when there is an
exporter. Every text that leaves goes through `redaction`.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from shared.platform import tracing
from shared.platform.redaction import redact, redact_mapping

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.trace import Span, Tracer

    from shared.platform.settings import Settings

SERVICE_NAME: Final = "meridian-console"
_installed = False
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def active() -> bool:
    """Whether anybody receives traces and metrics. While nobody does, the doors do not make any."""
    return _installed


@cache
def counter(name: str, unit: str = "1") -> Counter:
    """A counter of the product (`meridian.<name>`)."""
    from opentelemetry import metrics

    return metrics.get_meter(SERVICE_NAME).create_counter(f"meridian.{name}", unit=unit)


@cache
def histogram(name: str, unit: str = "s") -> Histogram:
    """A histogram of the product (`meridian.<name>`)."""
    from opentelemetry import metrics

    return metrics.get_meter(SERVICE_NAME).create_histogram(f"meridian.{name}", unit=unit)


@contextmanager
def span(
    name: str, attributes: Mapping[str, Any] | None = None, *, server: bool = False, tracer: Tracer | None = None
) -> Iterator[Span]:
    """A span under the present trace context, which inside the block is the span's own."""
    from opentelemetry import trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

    here = tracing.current.get()
    parent = None
    if here is not None:
        flags = TraceFlags(TraceFlags.SAMPLED if here.sampled else TraceFlags.DEFAULT)
        remote = SpanContext(int(here.trace_id, 16), int(here.span_id, 16), is_remote=True, trace_flags=flags)
        parent = trace.set_span_in_context(NonRecordingSpan(remote))
    kind = SpanKind.SERVER if server else SpanKind.INTERNAL
    tracer = tracer or trace.get_tracer(SERVICE_NAME)
    with tracer.start_as_current_span(
        name,
        parent,
        kind=kind,
        attributes=redact_mapping(attributes or {}),
        record_exception=False,  # the library would write its text as it is, which may quote what somebody sent
        set_status_on_exception=False,
    ) as active:
        own = active.get_span_context()
        token = None
        if active.is_recording():
            sampled = bool(own.trace_flags & TraceFlags.SAMPLED)
            token = tracing.current.set(tracing.TraceContext(f"{own.trace_id:032x}", f"{own.span_id:016x}", sampled))
        try:
            yield active
        except Exception as error:
            _tell(active, error)
            raise
        finally:
            if token is not None:
                tracing.current.reset(token)


def _tell(active: Span, error: Exception) -> None:
    """Write into a span what ended it, under OpenTelemetry's names for it, redacted."""
    from opentelemetry.trace import Status, StatusCode

    if active.is_recording():
        text = {"message": str(error), "stacktrace": "".join(traceback.format_exception(error))}
        named = {f"exception.{name}": redact(value) for name, value in text.items()}
        active.add_event("exception", {"exception.type": type(error).__qualname__, **named})
        active.set_status(Status(StatusCode.ERROR, redact(f"{type(error).__name__}: {error}")))


class StructuredFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, trace, and whatever `extra` named; all redacted."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {
            "time": moment,
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        context = tracing.current.get()
        if context is not None:
            line["trace_id"], line["span_id"] = context.trace_id, context.span_id
        line |= redact_mapping({k: v for k, v in vars(record).items() if k not in _STANDARD_FIELDS})
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, default=lambda value: redact(str(value)), ensure_ascii=False)


def set_up(settings: Settings) -> None:
    """Configure logs and, if a place for them is set, traces and metrics. Called once a process."""
    logger = logging.getLogger("meridian")
    logger.setLevel(settings.log_level)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(StructuredFormatter())
        logger.addHandler(handler)
        logger.propagate = False
    # The Azure SDKs tell of every request at INFO, headers and all; in the cloud that text is billed by the byte.
    logging.getLogger("azure").setLevel(logging.WARNING)
    if settings.telemetry_exporter != "none":
        global _installed
        _installed = True
        from shared.platform.exporters import install

        install(settings)


def log(name: str) -> logging.Logger:
    """The product's logger of that name. Values go into `extra={...}`, not into the text."""
    return logging.getLogger(f"meridian.{name}")
