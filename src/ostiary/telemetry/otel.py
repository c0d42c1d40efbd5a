"""Spans and metrics by OpenTelemetry's conventions for generative AI; needs the extra `otel`.

Sets attributes that are names, numbers and ids. Neighbour: `telemetry`, whose seam it fills.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Self, final

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..errors import APIError
from . import Kind, Value

__all__ = ["OpenTelemetry"]

# The convention's names where they are not the provider's own.
_PROVIDERS: Final[Mapping[str, str]] = {"google": "gcp.gen_ai"}

# The boundaries that the conventions ask for.
_TOKENS: Final = [float(4**power) for power in range(14)]
_SECONDS: Final = [0.01 * 2**power for power in range(14)]

_NAME: Final = "ostiary"


@final
class OpenTelemetry:
    """The tracer, the instruments, and the propagation of the current span."""

    def __init__(
        self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> None:
        import ostiary

        version = ostiary.__version__
        self.tracer = (tracer_provider or trace.get_tracer_provider()).get_tracer(_NAME, version)
        meter = (meter_provider or metrics.get_meter_provider()).get_meter(_NAME, version)
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Time to receive the first chunk of a streamed response.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        # Not the global propagator: baggage may hold what the peer has no business to know.
        self._propagator = TraceContextTextMapPropagator()

    def headers(self) -> Mapping[str, str]:
        """Return `traceparent` and `tracestate` of the current span; empty without one."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def start(
        self, kind: Kind, provider: str | None, name: str, about: Mapping[str, Value]
    ) -> GenAIOperation:
        """Begin a span; `telemetry.operation` says with what."""
        return GenAIOperation(self, kind, provider, name, about)


@final
class GenAIOperation:
    """One operation; see `telemetry.Operation`."""

    def __init__(
        self,
        owner: OpenTelemetry,
        kind: Kind,
        provider: str | None,
        name: str,
        about: Mapping[str, Value],
    ) -> None:
        tool = kind == "execute_tool"
        common: dict[str, Any] = {"gen_ai.operation.name": kind}
        if provider is not None:
            common["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
        common["gen_ai.tool.name" if tool else "gen_ai.request.model"] = name
        self._owner = owner
        self._common = common
        self._blocks: list[AbstractContextManager[Any]] = []
        self._ended = False
        self._chunked = False
        self._usage: tuple[int | None, int | None] = (None, None)
        self._span: Span = owner.tracer.start_span(
            f"{kind} {name}",
            kind=SpanKind.INTERNAL if tool else SpanKind.CLIENT,
            attributes={**common, **{f"gen_ai.{key}": value for key, value in about.items()}},
        )
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        block = self.current()
        block.__enter__()
        self._blocks.append(block)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: object,
        /,
    ) -> None:
        # Without the exception: the span would record its message.
        self._blocks.pop().__exit__(None, None, None)
        self.end(error)

    def current(self) -> AbstractContextManager[Span]:
        """Make the span current in a block."""
        return trace.use_span(
            self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )

    def chunk(self) -> None:
        """Time the first piece."""
        if self._chunked:
            return
        self._chunked = True
        seconds = time.perf_counter() - self._began
        self._span.set_attribute("gen_ai.response.time_to_first_chunk", seconds)
        self._owner.first_chunk.record(seconds, self._common)

    def reply(
        self,
        *,
        model: str | None = None,
        id: str | None = None,
        finish_reasons: Sequence[str] = (),
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_tokens: int | None = None,
        reasoning_tokens: int | None = None,
    ) -> None:
        """Set what the answer says about itself."""
        if model:
            self._common["gen_ai.response.model"] = model
        told: dict[str, Any] = {
            "gen_ai.response.model": model or None,
            "gen_ai.response.id": id or None,
            "gen_ai.response.finish_reasons": tuple(finish_reasons) or None,
            "gen_ai.usage.input_tokens": input_tokens,
            "gen_ai.usage.output_tokens": output_tokens,
            "gen_ai.usage.cache_read.input_tokens": cached_tokens,
            "gen_ai.usage.reasoning.output_tokens": reasoning_tokens,
        }
        self._span.set_attributes({k: v for k, v in told.items() if v is not None})
        self._usage = (input_tokens, output_tokens)

    def end(self, error: BaseException | None = None) -> None:
        """End span and metrics; the error's kind is told, its message is not."""
        if self._ended:
            return
        self._ended = True
        labels = self._common
        if error is not None:
            named = type(error).__name__
            labels = {**labels, "error.type": named}
            self._span.set_attribute("error.type", named)
            if isinstance(error, APIError):
                self._refusal(error)
            self._span.set_status(Status(StatusCode.ERROR, named))
        self._owner.duration.record(time.perf_counter() - self._began, labels)
        for what, count in zip(("input", "output"), self._usage, strict=True):
            if count is not None:
                self._owner.tokens.record(count, {**self._common, "gen_ai.token.type": what})
        self._span.end()

    def _refusal(self, error: APIError) -> None:
        if error.status is not None:
            self._span.set_attribute("http.response.status_code", error.status)
        if error.request_id is not None:
            self._span.set_attribute("ostiary.request_id", error.request_id)
