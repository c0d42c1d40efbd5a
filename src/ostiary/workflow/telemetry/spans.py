"""Stretches of work, measured: blocks and functions, each within the one around it."""

from __future__ import annotations

import functools
import inspect
import os
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, cast, final, overload

from ..enums import LogLevel
from ..errors import ClientStateError, InvalidArgumentError
from ..models import LogEntry, Span
from . import items

if TYPE_CHECKING:
    from .pipeline import TelemetryPipeline

__all__ = ["ActiveSpan", "Mirror", "MirroredSpan", "current_span", "default_pipeline", "traced"]

F = TypeVar("F", bound=Callable[..., Any])

_current: ContextVar[ActiveSpan | None] = ContextVar("ostiary_workflow_span", default=None)

# W3C Trace Context, version 00 and those after it.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_HEX_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_HEX_SPAN: Final = re.compile(r"[0-9a-f]{16}")


class MirroredSpan(Protocol):
    """Another tracer's span beside one of ours; `otel` has the one there is."""

    trace_id: str
    span_id: str

    def end(self, span: Span, error: BaseException | None) -> None:
        """End it as ours ended."""
        ...

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Note an event."""
        ...


Mirror = Callable[["ActiveSpan"], MirroredSpan]
"""Begins another tracer's span for one of ours that begins."""


@final
class ActiveSpan:
    """A span under way; `pipeline.span` makes it. It is reported when its block ends.

    `id` and `trace_id` are set when the block is entered; `trace_id` joins what is reported
    within. Use it once, in one task or thread.
    """

    __slots__ = (
        "_began",
        "_logs",
        "_mirrored",
        "_pipeline",
        "_token",
        "id",
        "name",
        "parent_id",
        "start_time",
        "tags",
        "trace_id",
    )

    def __init__(
        self,
        pipeline: TelemetryPipeline,
        name: str,
        tags: Mapping[str, str] | None,
        trace_id: str | None,
        parent_id: str | None,
        traceparent: str | None,
    ) -> None:
        if not isinstance(cast("object", name), str) or not name:
            raise InvalidArgumentError("a span's name is text that is not empty")
        if traceparent is not None:
            found = _TRACEPARENT.fullmatch(traceparent.strip())
            # What another service sent is no reason to fail: it begins a trace of its own.
            if found is not None and trace_id is None:
                trace_id, parent_id = found[1], found[2]
        self.name = name
        self.tags: dict[str, str] = {} if tags is None else dict(tags)
        self.trace_id = trace_id or ""
        self.parent_id = parent_id
        self.id = ""
        self.start_time = ""
        self._pipeline = pipeline
        self._logs: list[LogEntry] = []
        self._token: Token[ActiveSpan | None] | None = None
        self._mirrored: MirroredSpan | None = None
        self._began = 0.0

    @property
    def pipeline(self) -> TelemetryPipeline:
        """Where it is reported."""
        return self._pipeline

    @property
    def traceparent(self) -> str | None:
        """The W3C header that hands the trace on; None where its ids are of another form."""
        if _HEX_TRACE.fullmatch(self.trace_id) and _HEX_SPAN.fullmatch(self.id):
            return f"00-{self.trace_id}-{self.id}-01"
        return None

    def tag(self, name: str, value: object) -> None:
        """Set a tag; what is no text becomes it."""
        self.tags[name] = value if isinstance(value, str) else str(value)

    def log(
        self,
        message: str,
        level: LogLevel | str = LogLevel.INFO,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a line to the span's log."""
        self._logs.append(
            LogEntry(
                timestamp=items.now(),
                level=LogLevel(level),
                message=message,
                context=None if context is None else dict(context),
            )
        )

    def event(self, name: str, data: Mapping[str, Any]) -> None:
        """Tell the other tracer of an event, where there is one."""
        if self._mirrored is not None:
            self._mirrored.event(name, data)

    def __enter__(self) -> Self:
        if self._began:
            raise ClientStateError("a span measures one block; make another one")
        outer = _current.get()
        if outer is not None and not self.trace_id:
            self.trace_id = outer.trace_id
            self.parent_id = self.parent_id or outer.id
        mirror = self._pipeline.mirror
        if mirror is not None:
            self._mirrored = mirror(self)
            self.id, self.trace_id = self._mirrored.span_id, self._mirrored.trace_id
        else:
            self.id = os.urandom(8).hex()
            self.trace_id = self.trace_id or os.urandom(16).hex()
        self._token = _current.set(self)
        self.start_time = items.now()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object, /
    ) -> None:
        duration = (time.perf_counter() - self._began) * 1000.0
        if self._token is not None:
            _current.reset(self._token)
        if error is not None:
            # Its kind: a message may repeat what is nobody else's business.
            self.tags["error"] = type(error).__name__
        span = Span(
            id=self.id,
            trace_id=self.trace_id,
            parent_id=self.parent_id,
            name=self.name,
            start_time=self.start_time,
            end_time=items.now(),
            duration=duration,
            tags=self.tags or None,
            logs=self._logs or None,
        )
        if self._mirrored is not None:
            self._mirrored.end(span, error)
        self._pipeline.report_span(span)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object, /
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<ActiveSpan {self.name!r} {self.id or 'not begun'}>"


def current_span() -> ActiveSpan | None:
    """Return the innermost span of this task or thread, or None."""
    return _current.get()


_default: TelemetryPipeline | None = None


def default_pipeline(pipeline: TelemetryPipeline | None) -> None:
    """Set where `traced` reports when no span is around it and no pipeline is named."""
    global _default
    _default = pipeline


@overload
def traced(function: F, /) -> F: ...
@overload
def traced(
    name: str | None = None,
    /,
    *,
    tags: Mapping[str, str] | None = None,
    pipeline: TelemetryPipeline | None = None,
) -> Callable[[F], F]: ...
def traced(
    function: Callable[..., Any] | str | None = None,
    /,
    *,
    tags: Mapping[str, str] | None = None,
    pipeline: TelemetryPipeline | None = None,
) -> Any:
    """Measure each call of a function, or of a coroutine function, as a span.

    Use it bare, or with the span's name, which is otherwise the function's. It reports to
    `pipeline`, else to that of the span around it, else to the one that `make_default` was
    called on; without any, the function just runs.
    """
    if callable(function):
        return _wrapped(function, None, tags, pipeline)
    name = function

    def wrap(target: Callable[..., Any]) -> Callable[..., Any]:
        return _wrapped(target, name, tags, pipeline)

    return wrap


def _wrapped(
    function: Callable[..., Any],
    name: str | None,
    tags: Mapping[str, str] | None,
    pipeline: TelemetryPipeline | None,
) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidArgumentError(
            "traced measures calls, and a generator's call is over at once; use a span inside"
        )
    title = name or function.__qualname__.replace("<locals>.", "")

    def span() -> ActiveSpan | None:
        outer = _current.get()
        target = pipeline or (outer.pipeline if outer is not None else _default)
        return None if target is None else target.span(title, tags=tags)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run(*args: Any, **options: Any) -> Any:
            found = span()
            if found is None:
                return await function(*args, **options)
            with found:
                return await function(*args, **options)

        return run

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        found = span()
        if found is None:
            return function(*args, **options)
        with found:
            return function(*args, **options)

    return call
