"""What a call may tell a tracer: a seam that does nothing until `enable` (docs/telemetry.md).

No prompt, answer, tool argument or header passes through here, and no switch adds one.
`trace` needs no tracer: it names what happens in a block, for whoever serves it. Neighbour:
`otel`, which is imported by `enable` and by nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self, final

from ..errors import ClientStateError, InvalidArgumentError

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = [
    "Current",
    "Operation",
    "Trace",
    "disable",
    "enable",
    "enabled",
    "operation",
    "trace",
    "trace_headers",
]

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
_block: ContextVar[Mapping[str, str]] = ContextVar("_block", default=MappingProxyType({}))
_blocks = False  # whether there was one in this process

trace_headers: Callable[[], Mapping[str, str]] | None = None
"""Returns the headers of the current span or block; None until there is one of either.

`http` asks before each attempt; one look at this name is what telemetry costs when it is off.
"""


def _headers() -> Mapping[str, str]:
    # A tracer's own span is nearer to the call than the block around it.
    return (_sink.headers() if _sink is not None else None) or _block.get()


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
    trace_headers = _headers


def disable() -> None:
    """Record nothing more; operations that are under way still end."""
    global _sink, trace_headers
    _sink = None
    trace_headers = _headers if _blocks else None


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


_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


@final
class Trace:
    """One trace: the id that all calls of it carry, in W3C's header and as their request id."""

    __slots__ = ("headers", "trace_id")

    def __init__(self, trace_id: str | None = None) -> None:
        """Take an id of 32 hex digits, with or without a UUID's dashes; None makes a new one.

        A whole `traceparent` goes on with the trace that it is from. Raises
        `InvalidArgumentError` for anything else.
        """
        given = os.urandom(16).hex() if trace_id is None else _lower(trace_id)
        if found := _TRACEPARENT.fullmatch(given):
            traceparent, self.trace_id = given, found[1]
        elif _TRACE_ID.fullmatch(plain := given.replace("-", "")):
            traceparent, self.trace_id = f"00-{plain}-{os.urandom(8).hex()}-01", plain
        else:
            raise InvalidArgumentError(
                "a trace id is 32 hex digits, not all of them 0, or a UUID, or a whole traceparent"
            )
        self.headers: Mapping[str, str] = MappingProxyType(
            {"traceparent": traceparent, "X-Request-ID": self.trace_id}
        )

    @property
    def traceparent(self) -> str:
        """What the header of that name says."""
        return self.headers["traceparent"]

    def __repr__(self) -> str:
        return f"Trace({self.trace_id!r})"

    def __reduce__(self) -> tuple[type[Trace], tuple[str]]:
        return Trace, (self.traceparent,)


@contextmanager
def trace(trace_id: str | None = None) -> Generator[Trace, None, None]:
    """Give every HTTP call of the block one trace id, and yield the trace; see `Trace`.

    So have the calls of tasks that are started in the block, and of threads that run in a copy
    of its context, as `asyncio.to_thread` does. A request's own headers, and the current span
    of OpenTelemetry if `enable` was called, go before it.
    """
    global _blocks, trace_headers
    found = Trace(trace_id)
    _blocks = True
    trace_headers = _headers
    before = _block.set(found.headers)
    try:
        yield found
    finally:
        _block.reset(before)


def _lower(given: object) -> str:
    return given.strip().lower() if isinstance(given, str) else ""
