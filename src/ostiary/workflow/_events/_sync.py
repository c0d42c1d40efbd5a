# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""A workflow's events as they happen, whatever becomes of the connections they come over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, final

from ..._calls.colours import Timeout
from ..._io import blocking
from ...errors import ConnectionLostError as AnyConnectionLostError
from ...errors import OstiaryError, adopt
from .. import _routes as routes
from ..errors import FAMILY, ConnectionLostError
from ..models import WorkflowEvent

if TYPE_CHECKING:
    from ..._io.blocking_http import EventStream
    from ..._wire.sse import Event
    from ...http._sync import Pool

__all__ = ["WorkflowEvents"]

# Connections that bring no event, one after the other, before it is given up: with the pool's
# own attempts at each, a server may be away for a quarter of a minute.
_FRUITLESS = 10
_FIRST_PAUSE = 0.05
_LAST_PAUSE = 2.0


@final
class WorkflowEvents:
    """One run's events: an iterator of `WorkflowEvent`, and a context manager that closes.

    `client.stream_workflow` makes it. Each event comes once and in order. It ends behind the
    last event of the run, and can be iterated over once. `ConnectionLostError` is for a server
    that has no more to tell of a run that has not ended.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_fruitless",
        "_idle_timeout",
        "_last_event_id",
        "_pool",
        "_quiet",
        "_reconnects",
        "_sequence",
        "_source",
        "_timeout",
        "_told",
        "_workflow_id",
    )

    def __init__(
        self,
        pool: Pool,
        workflow_id: str,
        last_event_id: str | None,
        idle_timeout: float | None,
        timeout: Timeout,
    ) -> None:
        self._pool = pool
        self._workflow_id = workflow_id
        self._last_event_id = last_event_id
        self._sequence = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
        self._idle_timeout = idle_timeout
        self._timeout = timeout
        self._source: EventStream[WorkflowEvent] | None = None
        self._closed = False
        self._fruitless = 0
        self._quiet = 0
        self._reconnects = 0
        self._told = False

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event; give it to `stream_workflow` to go on behind it."""
        return self._last_event_id

    @property
    def reconnects(self) -> int:
        """How often the connection was lost and made anew."""
        return self._reconnects

    @property
    def closed(self) -> bool:
        """Whether it was closed, has failed, or came to its end."""
        return self._closed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WorkflowEvent:
        """Return the next event."""
        if self._closed:
            raise StopIteration
        try:
            while True:
                found = self._next()
                if found is None:
                    break
                sequence = found.data.sequence
                if found.id:
                    self._last_event_id = found.id
                # A server that begins anew tells again what is known already.
                if sequence and sequence <= self._sequence:
                    continue
                self._sequence = sequence or self._sequence
                self._told = True
                if found.data.is_final:
                    self.close()
                return found.data
        except BaseException as error:
            # Cancelled and interrupted ones too: a stream that was half read is never resumed.
            self.close()
            if isinstance(error, OstiaryError):
                raise adopt(error, FAMILY) from error.__cause__
            raise
        self.close()
        raise StopIteration

    def _next(self) -> Event[WorkflowEvent] | None:
        """Return the next event of any connection; None when there are no more."""
        while True:
            trouble: OstiaryError | None = None
            try:
                source = self._source
                if source is None:
                    source = self._source = self._open()
                found = source.__next__()
            except StopIteration:
                self._quiet += 1
            except OstiaryError as error:
                # What is wrong with the first request is told; later, the server is away.
                lost = isinstance(error, AnyConnectionLostError) and self._source is not None
                if not (lost or (error.retryable and self._reconnects)):
                    raise
                trouble = error
            else:
                self._fruitless = self._quiet = 0
                return found
            self._let_go()
            # A server that goes away ends its streams in order too. One that has no more to
            # tell ends the next one at once.
            if trouble is None and self._quiet > 1:
                if self._told:
                    raise ConnectionLostError(
                        "the server ends the stream before the run has ended; ask for the run's "
                        "status, or stream again behind last_event_id",
                        sent=True,
                    )
                return None
            self._fruitless += 1
            if trouble is not None and self._fruitless > _FRUITLESS:
                try:
                    raise trouble
                finally:
                    del trouble  # a frame that refers to what it raised is a circle
            self._reconnects += 1
            blocking.sleep(min(_FIRST_PAUSE * 2.0 ** (self._fruitless - 1), _LAST_PAUSE))

    def _open(self) -> EventStream[WorkflowEvent]:
        return self._pool.call_events(
            routes.EVENT_STREAM,
            self._workflow_id,
            last_event_id=self._last_event_id,
            timeout=self._timeout,
            total_timeout=None,
            idle_timeout=self._idle_timeout,
        )

    def _let_go(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def close(self) -> None:
        """Close the stream and its connection at once."""
        self._closed = True
        self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not begun" if self._source is None else "open"
        return f"<{type(self).__name__} of {self._workflow_id!r}, {state}>"
