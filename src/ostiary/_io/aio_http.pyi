import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar, final

from .._wire.headers import Headers
from .._wire.http1 import Response
from .._wire.request import HeadersLike, RequestHead
from .._wire.slab import View
from .._wire.sse import Event, EventDecoder
from ..config import Address, Limits

T = TypeVar("T")

@final
class AsyncHttpPool:
    """The connections to one HTTP server, on one event loop: one exchange at a time on each.

    It works on the loop of its first call, and on another once that one has ended.
    """

    def __init__(
        self,
        address: Address,
        *,
        limits: Limits,
        parser: str = "strict",
        ssl_context: ssl.SSLContext | None = None,
        expected_uid: int | None = None,
        max_connections: int,
        max_idle: int,
        idle_expiry: float,
        pool_timeout: float | None = None,
    ) -> None:
        """Describe a pool; nothing is opened. Times are seconds.

        At most `max_connections` are open; a request that needs one more waits, at most
        `pool_timeout`. At most `max_idle` idle ones are kept, each for `idle_expiry`.
        """

    @property
    def open_connections(self) -> int: ...
    @property
    def idle_connections(self) -> int: ...
    @property
    def waiting(self) -> int:
        """How many calls wait for a connection."""

    async def fetch(
        self,
        head: RequestHead,
        target: bytes,
        body: bytes | None,
        extra: HeadersLike | None,
        deadline: float,
        /,
    ) -> Response:
        """Send one request, once, and return its response, whatever its status.

        `extra` are headers of this request alone. The body's content coding is undone.
        Raises `TransportError` with `sent` set, and `InvalidArgumentError` for a target or
        header that cannot be sent; nothing was, then.
        """

    async def open(
        self,
        head: RequestHead,
        target: bytes,
        body: bytes | None,
        extra: HeadersLike | None,
        deadline: float,
        /,
    ) -> AsyncResponseStream:
        """Do what `fetch` does up to the response's head; the body is read from the result."""

    def close(self) -> None:
        """Close every connection; exchanges under way and waiting ones end with an error."""

    def abandon(self) -> None:
        """Forget the parent's connections in a forked child."""

@final
class AsyncResponseStream:
    """A response whose body is read as it comes. It holds a connection until its end."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def trailers(self) -> Headers:
        """What followed a chunked body; empty before its end."""

    @property
    def informational(self) -> tuple[Response, ...]:
        """The 1xx responses that came before this one."""

    @property
    def closed(self) -> bool:
        """Whether the connection was given back or closed."""

    async def next_piece(self, deadline: float, /) -> bytes | View | None:
        """Return the next bytes of the body, its content coding undone; None at its end.

        While nobody reads, no more than about 256 KiB of it are received.
        """

    async def read(self, limit: int, deadline: float, /) -> bytes:
        """Return the rest of the body; `SizeLimitError` when it is more than `limit` bytes."""

    def events(
        self, decoder: EventDecoder[T], idle_timeout: float, deadline: float, /
    ) -> AsyncEventStream[T]:
        """Return the body's events; what was read of it before is not among them."""

    def finish(self, grace: float = ...) -> None:
        """Have the rest of the body thrown away; close if its end takes more than `grace` seconds.

        It returns at once. For a body of which nothing more is wanted: a connection whose
        response has ended can be used again.
        """

    def close(self) -> None:
        """Give the connection back if the body has ended, else close it at once."""

@final
class AsyncEventStream(Generic[T]):
    """The events of one response, as they come: an async iterator, and a context manager.

    Each wait for the next event is bounded by the idle timeout, which comments do not feed.
    A response that ends before the terminator its decoder was given raises
    `ConnectionLostError`, behind the last event.
    """

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def last_event_id(self) -> str:
        """The id to resume from."""

    @property
    def retry(self) -> int | None:
        """The last reconnection time the stream set, in milliseconds."""

    @property
    def comments(self) -> int:
        """How many comment lines have come."""

    @property
    def done(self) -> bool:
        """Whether the terminator has come."""

    @property
    def closed(self) -> bool: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __aiter__(self) -> AsyncIterator[Event[T]]: ...
    async def __anext__(self) -> Event[T]: ...
    def finish(self, grace: float = ...) -> None:
        """End the iteration; see `AsyncResponseStream.finish`."""

    def close(self) -> None:
        """Close the stream; the connection goes too, unless the response has ended."""
