"""A tracer and a meter that keep what they are told, and telemetry that is off afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ostiary import telemetry


class Recorded:
    """What came out: spans in the order they ended, and the points of each metric."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = self.tracer_provider.get_tracer("test")

    @property
    def spans(self) -> list[Any]:
        return list(self._spans.get_finished_spans())

    def points(self, name: str) -> list[tuple[Mapping[str, Any], float, int]]:
        """Return attributes, sum and count of each point of a histogram."""
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        return [
            (dict(point.attributes), point.sum, point.count)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def everything(self) -> str:
        """Return all that an exporter would be given, as text."""
        spans = [span.to_json() for span in self.spans]
        data = self._reader.get_metrics_data()
        return "\n".join([*spans, "" if data is None else data.to_json()])

    def close(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Turn telemetry on for the test."""
    record = Recorded()
    telemetry.enable(tracer_provider=record.tracer_provider, meter_provider=record.meter_provider)
    yield record
    telemetry.disable()
    record.close()
