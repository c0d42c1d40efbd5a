"""Where our spans meet OpenTelemetry's, in both directions; needs the extra `otel`.

The application brings the SDK. The spans of both have the same ids, so that a trace is one
wherever it is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast, final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TracerProvider,
)

from ..enums import LogLevel
from ..models import LogEntry, Span

if TYPE_CHECKING:
    from .pipeline import TelemetryPipeline
    from .spans import ActiveSpan, MirroredSpan

__all__ = ["from_opentelemetry", "mirror_to_opentelemetry"]

# On the spans that are ours already, so that they do not come back.
_OURS: Final = "ostiary.span"


def mirror_to_opentelemetry(
    pipeline: TelemetryPipeline, tracer_provider: TracerProvider | None = None
) -> None:
    """Have each span of a pipeline be one of OpenTelemetry's too.

    It is the current one there while its block runs: spans of other libraries stand within it,
    and HTTP requests carry its `traceparent`. Left out, the provider is OpenTelemetry's global
    one.
    """
    import ostiary

    provider = tracer_provider or trace.get_tracer_provider()
    tracer = provider.get_tracer("ostiary", ostiary.__version__)

    def begin(span: ActiveSpan) -> MirroredSpan:
        return _Mirrored(tracer, span)

    pipeline.mirror = begin


@final
class _Mirrored:
    """OpenTelemetry's span beside one of ours."""

    def __init__(self, tracer: trace.Tracer, span: ActiveSpan) -> None:
        around = otel_context.get_current()
        parent = _context(span.trace_id, span.parent_id)
        # Within a span that OpenTelemetry knows, it knows best.
        if parent is not None and not trace.get_current_span().get_span_context().is_valid:
            around = trace.set_span_in_context(NonRecordingSpan(parent), around)
        self._span = tracer.start_span(span.name, around, attributes={_OURS: True})
        self._token = otel_context.attach(trace.set_span_in_context(self._span))
        found = self._span.get_span_context()
        self.trace_id = f"{found.trace_id:032x}"
        self.span_id = f"{found.span_id:016x}"

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        self._span.add_event(name, _attributes(data))

    def end(self, span: Span, error: BaseException | None) -> None:
        otel_context.detach(self._token)
        self._span.set_attributes(_attributes(span.tags or {}))
        for line in span.logs or ():
            about = {**(line.context or {}), "level": str(line.level)}
            self._span.add_event(line.message, _attributes(about))
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


def _context(trace_id: str, span_id: str | None) -> SpanContext | None:
    """Return a caller's span as OpenTelemetry names it; None where its ids are no such."""
    try:
        numbers = int(trace_id, 16), int(span_id or "", 16)
    except ValueError:
        return None
    if len(trace_id) != 32 or len(span_id or "") != 16:
        return None
    return SpanContext(*numbers, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, (str, bool, int, float)) else _text(value)
        for name, value in values.items()
        if value is not None
    }


def _text(value: object) -> str:
    try:
        return json.dumps(value, default=str)
    except ValueError:
        return str(value)


def from_opentelemetry(pipeline: TelemetryPipeline) -> Any:
    """Return a span processor: what OpenTelemetry's tracers end is reported by the pipeline.

    Give it to `TracerProvider.add_span_processor` of `opentelemetry.sdk.trace`. Spans that
    the pipeline mirrored are not reported twice.
    """
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    class Reporting(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if not (span.attributes or {}).get(_OURS):
                pipeline.report_span(_reported(span))

        def shutdown(self) -> None:
            pipeline.flush()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return pipeline.flush(timeout_millis / 1000)

    return Reporting()


def _reported(span: Any) -> Span:
    found = span.get_span_context()
    tags = _tags(span.attributes)
    if span.status.status_code is StatusCode.ERROR:
        tags.setdefault("error", span.status.description or "error")
    began, ended = span.start_time or 0, span.end_time or span.start_time or 0
    return Span(
        id=f"{found.span_id:016x}",
        trace_id=f"{found.trace_id:032x}",
        parent_id=None if span.parent is None else f"{span.parent.span_id:016x}",
        name=span.name or "unnamed",
        start_time=_instant(began),
        end_time=_instant(ended),
        duration=max(ended - began, 0) / 1e6,
        tags=tags or None,
        logs=[
            LogEntry(
                timestamp=_instant(one.timestamp),
                level=LogLevel.ERROR if one.name == "exception" else LogLevel.INFO,
                message=one.name,
                context=cast("dict[str, Any]", _tags(one.attributes)),
            )
            for one in span.events
        ]
        or None,
    )


def _tags(attributes: Mapping[str, Any] | None) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else _text(value)
        for name, value in (attributes or {}).items()
    }


def _instant(nanoseconds: int) -> str:
    found = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")
