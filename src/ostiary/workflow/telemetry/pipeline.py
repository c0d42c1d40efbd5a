"""Reports that are taken at once and sent in the background, in order, each of them once.

A thread sends them: for programs of either colour, while an event loop is busy, and at the end
of the process. What cannot be sent waits in memory, or in a file that survives the process.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self, final

import msgspec

from .. import _bodies as bodies
from ..enums import TelemetryEventType
from ..errors import ClientStateError, InvalidArgumentError, TelemetryError
from ..models import Metric, Span, TelemetryEvent, accept
from . import items
from .items import Ids, Item, Kind
from .queue import Queue
from .spans import ActiveSpan, Mirror, current_span, default_pipeline
from .worker import Worker

if TYPE_CHECKING:
    from .._async import AsyncWorkflowClient
    from .._sync import WorkflowClient

__all__ = ["Overflow", "TelemetryCounters", "TelemetryPipeline"]

Overflow = Literal["block", "drop_oldest", "drop_newest", "spool", "raise"]
_OVERFLOW: Final = frozenset({"block", "drop_oldest", "drop_newest", "spool", "raise"})

_AT_EXIT: Final = 5.0
_LOOK: Final = 0.005  # how often an event loop looks whether the thread is done, in seconds


class TelemetryCounters(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the reports so far.

    `reported` is always `sent` + `spooled` + `dropped` + `queued`. `sent` went from memory to
    the server, `spooled` into the file; `replayed` went from the file to the server, those of
    earlier processes too, and `waiting` are in the file still. `rejected` were sent, and the
    server did not want them; `duplicates` it had already, from an attempt whose answer was
    lost. `queued_bytes` is what memory holds. `problem` is why the last
    attempt failed, None when it did not.
    """

    reported: int
    sent: int
    spooled: int
    replayed: int
    dropped: int
    rejected: int
    duplicates: int
    queued: int
    queued_bytes: int
    waiting: int
    problem: str | None


@final
class TelemetryPipeline:
    """Takes reports at once and sends them in batches, in the background (docs/workflow.md).

    Use it as a context manager of either colour, or call `close`. It makes a client of its
    own, with the settings of the one it is given. Its methods may be called by any thread. A
    process that ends flushes it; a child that is forked begins with an empty one, and what was
    reported before stays the parent's.
    """

    def __init__(
        self,
        client: WorkflowClient | AsyncWorkflowClient,
        *,
        max_batch: int = 500,
        flush_interval: float = 1.0,
        max_queue: int = 10_000,
        max_bytes: int = 32 * 1024 * 1024,
        overflow: Overflow = "block",
        block_timeout: float | None = 30.0,
        spool: str | os.PathLike[str] | None = None,
        max_spool: int | None = 10_000_000,
    ) -> None:
        """Describe a pipeline; its thread begins with the first report.

        A batch of at most `max_batch` is sent as soon as it is full, otherwise after
        `flush_interval` seconds. At most `max_queue` reports, and `max_bytes` of them, wait in
        memory. With `spool`, the path of a file, they are written there while the server is
        away, `max_spool` of them at most, and sent in their order when it is back, by this
        process or a later one; processes may share the file.

        `overflow` is what happens when memory is full: `block` waits for room, and raises
        `TelemetryError` after `block_timeout` seconds; `drop_oldest` and `drop_newest` count
        what they drop; `spool` writes into the file at once; `raise` raises `TelemetryError`.
        In an event loop choose another than `block`, which would hold it up.
        """
        if overflow not in _OVERFLOW:
            raise InvalidArgumentError(f"overflow is one of {', '.join(sorted(_OVERFLOW))}")
        if overflow == "spool" and spool is None:
            raise InvalidArgumentError('overflow="spool" needs spool, the path of a file')
        self._overflow = overflow
        self._block_timeout = _seconds("block_timeout", block_timeout)
        self._max_queue = bodies.whole("max_queue", max_queue, 1, 1 << 40)
        self._max_bytes = bodies.whole("max_bytes", max_bytes, 1, 1 << 50)
        if max_spool is not None:
            bodies.whole("max_spool", max_spool, 1, 1 << 50)
        interval = _seconds("flush_interval", flush_interval)
        self._ids = Ids()
        self.mirror: Mirror | None = None
        """Another tracer that is told of every span; see `telemetry.mirror_to_opentelemetry`."""
        self._worker = Worker(
            client.settings.for_threads(),
            Queue(self._max_queue, self._max_bytes),
            max_batch=bodies.whole("max_batch", max_batch, 1, 1000),
            flush_interval=1e9 if interval is None else interval,
            spool=spool,
            max_spool=max_spool,
        )
        self._reported = 0
        self._closed = False
        _open.add(self)

    # --- reporting

    def report_event(self, event: TelemetryEvent | Mapping[str, Any]) -> None:
        """Report an event, as the client's method of that name does."""
        self._put("events", accept(TelemetryEvent, event, name="event"))

    def report_metric(self, metric: Metric | Mapping[str, Any]) -> None:
        """Report a metric, as the client's method of that name does."""
        self._put("metrics", accept(Metric, metric, name="metric"))

    def report_span(self, span: Span | Mapping[str, Any]) -> None:
        """Report a span that has ended, as the client's method of that name does."""
        self._put("spans", accept(Span, span, name="span"))

    def event(
        self,
        type: TelemetryEventType | str,
        data: Mapping[str, Any] | None = None,
        *,
        workflow_id: str | None = None,
        task_id: str | None = None,
        task_type: str | None = None,
        correlation_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        timestamp: datetime | str | None = None,
    ) -> None:
        """Report that something happened, now unless `timestamp` says otherwise.

        Within a span, its trace is the `correlation_id`.
        """
        around = current_span()
        if around is not None:
            correlation_id = correlation_id or around.trace_id
            around.event(str(type), data or {})
        made = TelemetryEvent(
            type=TelemetryEventType(type),
            timestamp=bodies.moment("timestamp", timestamp) or items.now(),
            data=dict(data or {}),
            workflow_id=workflow_id,
            task_id=task_id,
            task_type=task_type,
            correlation_id=correlation_id,
            tags=None if tags is None else dict(tags),
        )
        self._put("events", made)

    def metric(
        self,
        name: str,
        value: float,
        *,
        tags: Mapping[str, str] | None = None,
        timestamp: datetime | str | None = None,
    ) -> None:
        """Report a number, measured now unless `timestamp` says otherwise."""
        made = Metric(
            name=name,
            value=value,
            timestamp=bodies.moment("timestamp", timestamp) or items.now(),
            tags=None if tags is None else dict(tags),
        )
        self._put("metrics", made)

    def span(
        self,
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        trace_id: str | None = None,
        parent_id: str | None = None,
        traceparent: str | None = None,
    ) -> ActiveSpan:
        """Return a span for a `with` block, which is reported when the block ends.

        It stands within the span around it, else within the caller's that `traceparent`, the
        W3C header, names; else it begins a trace.
        """
        return ActiveSpan(self, name, tags, trace_id, parent_id, traceparent)

    def make_default(self) -> Self:
        """Have functions that are `traced` without a pipeline report here."""
        default_pipeline(self)
        return self

    def _put(self, kind: Kind, value: TelemetryEvent | Metric | Span) -> None:
        item = items.packed(kind, value, self._ids)
        worker = self._worker
        with worker.changed:
            self._refuse_if_closed()
            if not worker.queue.has_room(item) and not self._make_room(item):
                self._reported += 1
                worker.dropped += 1
                return
            self._reported += 1
            worker.put(item)
            _used.add(self)

    def _make_room(self, item: Item) -> bool:
        """Do what `overflow` says; False when the new report is the one that is dropped."""
        worker = self._worker
        if self._overflow == "drop_newest":
            return False
        if self._overflow == "drop_oldest":
            while not worker.queue.has_room(item):
                worker.queue.drop_oldest()
                worker.dropped += 1
            return True
        if self._overflow == "spool":
            worker.move_to_spool()
            self._refuse_if_closed()  # it may have been while this waited
            return worker.queue.has_room(item)
        if self._overflow == "block":
            worker.begin()
            left = self._block_timeout
            if worker.changed.wait_for(lambda: worker.queue.has_room(item) or self._closed, left):
                self._refuse_if_closed()
                return True
        self._reported += 1
        worker.dropped += 1
        raise TelemetryError(
            f"{len(worker.queue)} reports wait to be sent and memory is for no more of them; "
            f"this one is lost{worker.why()}"
        )

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClientStateError("the pipeline is closed; make another one")

    # --- what becomes of it

    @property
    def counters(self) -> TelemetryCounters:
        """How many reports were taken, sent, spooled, dropped."""
        worker = self._worker
        with worker.changed:
            return TelemetryCounters(
                reported=self._reported,
                sent=worker.sent,
                spooled=worker.spooled,
                replayed=worker.replayed,
                dropped=worker.dropped,
                rejected=worker.rejected,
                duplicates=worker.duplicates,
                queued=worker.queued,
                queued_bytes=worker.queued_bytes,
                waiting=worker.waiting,
                problem=worker.problem,
            )

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def flush(self, timeout: float | None = 5.0) -> bool:
        """Send what was reported before; False when it is not all with the server in time.

        What is not stays where it is, in memory or in the file.
        """
        deadline = _deadline(_seconds("timeout", timeout))
        worker = self._worker
        with worker.changed:
            mark = worker.ask()
            return worker.changed.wait_for(lambda: worker.passed(mark), _left(deadline))

    def close(self, timeout: float | None = 5.0) -> TelemetryCounters:
        """Send what there is, stop the thread, and return how it ended. Final.

        What cannot be sent in `timeout` seconds goes into the file; without one it is lost,
        counted as dropped, and a warning says so.
        """
        deadline = _deadline(_seconds("timeout", timeout))
        thread = self._begin_close(deadline)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_left(deadline))
        return self._end_close()

    def _begin_close(self, deadline: float | None) -> threading.Thread | None:
        with self._worker.changed:
            self._closed = True
            return self._worker.stop(deadline)

    def _end_close(self) -> TelemetryCounters:
        self._worker.put_away()
        _open.discard(self)
        _used.discard(self)
        return self.counters

    # For event loops. The thread does the work; these look whether it is done.

    async def aflush(self, timeout: float | None = 5.0) -> bool:
        """Do what `flush` does without holding up the event loop."""
        from ..._io import aio

        deadline = _deadline(_seconds("timeout", timeout))
        worker = self._worker
        with worker.changed:
            mark = worker.ask()
        while True:
            with worker.changed:
                if worker.passed(mark):
                    return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            await aio.async_sleep(_LOOK)

    async def aclose(self, timeout: float | None = 5.0) -> TelemetryCounters:
        """Do what `close` does without holding up the event loop."""
        from ..._io import aio

        deadline = _deadline(_seconds("timeout", timeout))
        thread = self._begin_close(deadline)
        while thread is not None and thread.is_alive():
            if deadline is not None and time.monotonic() >= deadline:
                break
            await aio.async_sleep(_LOOK)
        return self._end_close()

    def __enter__(self) -> Self:
        self._refuse_if_closed()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __reduce__(self) -> Any:
        raise ClientStateError("a pipeline stays in its process; make one where it is needed")

    def __repr__(self) -> str:
        if not hasattr(self, "_closed"):  # its constructor refused
            return "<TelemetryPipeline, not configured>"
        state = "closed" if self._closed else "open"
        return f"<TelemetryPipeline, {state}, {self._reported} reported>"

    # --- forks

    def _before_fork(self) -> None:
        self._worker.hold()

    def _after_fork_in_parent(self) -> None:
        self._worker.let_go()

    def _after_fork_in_child(self) -> None:
        self._worker = self._worker.anew(Queue(self._max_queue, self._max_bytes))
        self._ids = Ids()
        self._reported = 0


def _seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, bool) and isinstance(value, (int, float)) and value >= 0:
        return float(value)
    raise InvalidArgumentError(f"{name} is a number of seconds, or None")


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


_open: weakref.WeakSet[TelemetryPipeline] = weakref.WeakSet()
# Those that have something to send at the end, whether or not anybody still refers to them.
_used: set[TelemetryPipeline] = set()
_held: list[TelemetryPipeline] = []
_told_of: weakref.WeakSet[TelemetryPipeline] = weakref.WeakSet()


def _at_exit() -> None:
    deadline = time.monotonic() + _AT_EXIT
    for one in list(_open):
        one.close(max(deadline - time.monotonic(), 0.1))


def _before_fork() -> None:
    util = sys.modules.get("multiprocessing.util")
    # No lock of ours is held, and no file open, while the process is copied.
    for one in list(_open):
        if util is not None and one not in _told_of:
            # Its children end without what `atexit` has.
            _told_of.add(one)
            util.register_after_fork(one, _in_worker_process)
        one._before_fork()  # pyright: ignore[reportPrivateUsage]
        _held.append(one)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop()._after_fork_in_parent()  # pyright: ignore[reportPrivateUsage]


def _after_fork_in_child() -> None:
    while _held:
        _held.pop()._after_fork_in_child()  # pyright: ignore[reportPrivateUsage]


def _in_worker_process(pipeline: TelemetryPipeline) -> None:
    sys.modules["multiprocessing.util"].Finalize(pipeline, _at_exit, exitpriority=1)


atexit.register(_at_exit)
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
