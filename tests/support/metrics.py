"""Reading what was counted: the SDK's own reader behind the API that the program counts with."""

from __future__ import annotations

from functools import cache

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint


@cache
def _reader() -> InMemoryMetricReader:
    """One for the process: the API takes a provider once. Counters that were made before go to it as well."""
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    return reader


def counted(name: str) -> float:
    """The sum of a counter over all its attributes, since the first call of this function."""
    data = _reader().get_metrics_data()
    found = [
        point.value
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    ]
    return float(sum(found))
