import ssl
from collections.abc import Iterator
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
class HttpPool:
    """The connections to one HTTP server: any number of threads, one exchange at a time on each."""

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

        At most `max_connections` are open; a thread that needs one more waits, at most
        `pool_timeout`. At most `max_idle` idle ones are kept, each for `idle_expiry`.
        """

    @property
    def open_connections(self) -> int: ...
    @property
    def idle_connections(self) -> int: ...
    @property
    def waiting(self) -> int:
        """How many calls wait for a connection."""

    def fetch(
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

    def open(
        self,
        head: RequestHead,
        target: bytes,
        body: bytes | None,
        extra: HeadersLike | None,
        deadline: float,
        /,
    ) -> ResponseStream:
        """Do what `fetch` does up to the response's head; the body is read from the result."""

    def close(self) -> None:
        """Close every connection; exchanges under way and waiting ones end with an error."""

    def abandon(self) -> None:
        """Forget the parent's connections in a forked child."""

@final
class ResponseStream:
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

    def next_piece(self, deadline: float, /) -> bytes | View | None:
        """Return the next bytes of the body, its content coding undone; None at its end."""

    def read(self, limit: int, deadline: float, /) -> bytes:
        """Return the rest of the body; `SizeLimitError` when it is more than `limit` bytes."""

    def events(
        self, decoder: EventDecoder[T], idle_timeout: float, deadline: float, /
    ) -> EventStream[T]:
        """Return the body's events; what was read of it before is not among them."""

    def finish(self, grace: float = ...) -> None:
        """Wait for the end of the body, which is thrown away, for `grace` seconds; then close.

        For a body of which nothing more is wanted: a connection whose response has ended can
        be used again.
        """

    def close(self) -> None:
        """Give the connection back if the body has ended, else close it at once."""

@final
class EventStream(Generic[T]):
    """The events of one response, as they come: an iterator, and a context manager that closes.

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
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __iter__(self) -> Iterator[Event[T]]: ...
    def __next__(self) -> Event[T]: ...
    def finish(self, grace: float = ...) -> None:
        """End the iteration; see `ResponseStream.finish`."""

    def close(self) -> None:
        """Close the stream; the connection goes too, unless the response has ended."""
