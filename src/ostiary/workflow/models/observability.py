"""What happened: events, metrics, spans and log entries.

Times are ISO 8601 text, as in the guide: text without an offset means UTC, and what is no time
is refused here. `id` lets a server that was told twice count once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..._model import instants
from ..enums import LogLevel, TelemetryEventType
from .model import Model, Request

__all__ = [
    "LogEntry",
    "Metric",
    "MetricPage",
    "Span",
    "TelemetryAccepted",
    "TelemetryEvent",
    "TelemetryPage",
]


class _Timed(Request):
    """A model whose times are text."""

    _times: ClassVar[tuple[str, ...]] = ("timestamp",)

    def _rules(self) -> Iterator[tuple[str, str]]:
        for name in self._times:
            value = getattr(self, name)
            if value is not None and instants.understood(value) is None:
                yield name, "is a time as ISO 8601 text, such as 2026-03-01T10:00:00Z"


class TelemetryEvent(_Timed):
    """One thing that happened in a workflow."""

    type: TelemetryEventType
    timestamp: str
    workflow_id: str | None = None
    task_id: str | None = None
    task_type: str | None = None
    correlation_id: str | None = None
    data: dict[str, Any]
    tags: dict[str, str] | None = None
    id: str | None = None

    # A server may tell of kinds of its own, and so may a caller.
    _closed = False


class Metric(_Timed):
    """One measured number; NaN and infinities are refused, for JSON has none."""

    name: str
    value: float
    timestamp: str
    tags: dict[str, str] | None = None
    id: str | None = None

    _filled: ClassVar[tuple[str, ...]] = ("name",)

    def _rules(self) -> Iterator[tuple[str, str]]:
        yield from super()._rules()
        if not math.isfinite(self.value):
            yield "value", "is a finite number"


class LogEntry(_Timed):
    """A line of a span's log."""

    timestamp: str
    level: LogLevel
    message: str
    context: dict[str, Any] | None = None


class Span(_Timed):
    """A stretch of work within a trace. `duration` is milliseconds; ids are any text."""

    id: str
    trace_id: str
    parent_id: str | None = None
    name: str
    start_time: str
    end_time: str | None = None
    duration: float | None = None
    tags: dict[str, str] | None = None
    logs: list[LogEntry] | None = None

    _times: ClassVar[tuple[str, ...]] = ("start_time", "end_time")
    _filled: ClassVar[tuple[str, ...]] = ("id", "trace_id", "name")
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"duration": (0, float("inf"))}


class TelemetryAccepted(Model):
    """What became of a batch: how many were new, known already, refused.

    `errors` are the refused ones, each with `path` and `message`.
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = []


class TelemetryPage(Model):
    """A part of the reported events; `next_cursor` asks for what follows, None ends it."""

    events: list[TelemetryEvent]
    next_cursor: str | None = None


class MetricPage(Model):
    """A part of the reported metrics; `next_cursor` asks for what follows, None ends it."""

    metrics: list[Metric]
    next_cursor: str | None = None
