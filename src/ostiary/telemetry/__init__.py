"""What a call may tell a tracer: a seam that does nothing until `enable` (docs/telemetry.md).

No prompt, answer, tool argument or header passes through here, and no switch adds one.
Neighbour: `otel`, which is imported by `enable` and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, final

from ..errors import ClientStateError

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["Current", "Operation", "disable", "enable", "enabled", "operation", "trace_headers"]

Kind = Literal["chat", "embeddings", "execute_tool"]
Value = str | bool | int | float | Sequence[str]


class Current(Protocol):
    """A span that is the parent of what happens in a `with` block."""

    def __enter__(self) -> object: ...

    def __exit__(self, *exc_info: object) -> object: ...


class Operation(Protocol):
    """One call of a model or a tool, from its start to its end.

    As a context manager it is current in the block and ends with it. What outlives a block, a
    stream, enters `current()` while it sends and calls `end` when it is over.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: object,
        /,
    ) -> None: ...

    def current(self) -> Current:
        """Make the span current, for the headers that carry it, without ending it."""
        ...

    def chunk(self) -> None:
        """Say that a piece of the answer came; the first is timed."""
        ...

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
        """Say what the peer answered about its answer; None is what it did not say."""
        ...

    def end(self, error: BaseException | None = None) -> None:
        """End the operation; a second call does nothing."""
        ...


@final
class _Off:
    """Every operation while telemetry is off."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def current(self) -> Self:
        return self

    def chunk(self) -> None:
        return None

    def reply(self, **about: object) -> None:
        return None

    def end(self, error: BaseException | None = None) -> None:
        return None


_OFF = _Off()


class Sink(Protocol):
    """What `enable` puts in; `otel` has the one there is."""

    def start(
        self, kind: Kind, provider: str | None, name: str, about: Mapping[str, Value]
    ) -> Operation: ...

    def headers(self) -> Mapping[str, str]: ...


_sink: Sink | None = None
trace_headers: Callable[[], Mapping[str, str]] | None = None
"""Returns the W3C headers of the current span; None while telemetry is off.

`http` asks before each attempt; one look at this name is what telemetry costs when it is off.
"""


def enable(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Record gateway calls as spans and metrics, and send `traceparent` with HTTP requests.

    Left out, the providers are OpenTelemetry's global ones. Called again, it replaces the
    providers. Raises `ClientStateError` without the extra: `pip install 'ostiary[otel]'`.
    """
    global _sink, trace_headers
    made: Any = None
    try:
        from .otel import OpenTelemetry

        made = OpenTelemetry(tracer_provider, meter_provider)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
    if made is None:
        raise ClientStateError("telemetry needs OpenTelemetry; run pip install 'ostiary[otel]'")
    _sink = made
    trace_headers = made.headers


def disable() -> None:
    """Record nothing more; operations that are under way still end."""
    global _sink, trace_headers
    _sink = trace_headers = None


def enabled() -> bool:
    """Whether `enable` was called, and `disable` was not since."""
    return _sink is not None


def operation(
    kind: Kind, *, provider: str | None = None, name: str, about: Mapping[str, Value] | None = None
) -> Operation:
    """Begin an operation: `name` is the model's or the tool's, `about` the request's settings.

    `about` has the names of the semantic conventions without their `gen_ai.` (`request.seed`).
    """
    if _sink is None:
        return _OFF
    return _sink.start(kind, provider, name, about or {})
