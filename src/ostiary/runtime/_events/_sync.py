# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""The runtime's events as they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, final

from ..._calls.colours import Timeout
from ...errors import OstiaryError, adopt
from .. import _routes as routes
from ..errors import FAMILY, ConnectionFailedError
from ..models import RuntimeEvent

if TYPE_CHECKING:
    from ..._io.blocking_http import EventStream
    from ...http._sync import Pool

__all__ = ["Events"]


@final
class Events:
    """Events as they happen: an iterator of `RuntimeEvent`, and a context manager that closes.

    `client.events` makes it. It can be iterated over once, and ends when it is closed.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_idle_timeout",
        "_last_event_id",
        "_pool",
        "_query",
        "_source",
        "_timeout",
    )

    def __init__(
        self,
        pool: Pool,
        query: dict[str, Any],
        last_event_id: str | None,
        idle_timeout: float | None,
        timeout: Timeout,
    ) -> None:
        self._pool = pool
        self._query = query
        self._last_event_id = last_event_id
        self._idle_timeout = idle_timeout
        self._timeout = timeout
        self._source: EventStream[RuntimeEvent] | None = None
        self._closed = False

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event; give it to `client.events` to go on behind it."""
        return self._last_event_id

    @property
    def closed(self) -> bool:
        """Whether it was closed or has failed."""
        return self._closed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RuntimeEvent:
        """Return the next event; `ConnectionFailedError` when the server ends the stream."""
        if self._closed:
            raise StopIteration
        try:
            source = self._source
            if source is None:
                source = self._source = self._pool.call_events(
                    routes.EVENTS,
                    query=self._query,
                    last_event_id=self._last_event_id,
                    timeout=self._timeout,
                    total_timeout=None,
                    idle_timeout=self._idle_timeout,
                )
            try:
                found = source.__next__()
            except StopIteration:
                found = None
            if found is None:
                raise ConnectionFailedError(
                    "the server ended the event stream; ask for it again with last_event_id "
                    "to go on where it ended",
                    sent=True,
                )
        except BaseException as error:
            # Cancelled and interrupted ones too: a stream that was half read is never resumed.
            self.close()
            if isinstance(error, OstiaryError):
                raise adopt(error, FAMILY) from error.__cause__
            raise
        if found.id:
            self._last_event_id = found.id
        return found.data

    def close(self) -> None:
        """Close the stream and its connection at once."""
        self._closed = True
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not begun" if self._source is None else "open"
        return f"<{type(self).__name__}, {state}>"
