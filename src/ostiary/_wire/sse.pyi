from collections.abc import Callable
from typing import Generic, TypeVar, final, overload

T = TypeVar("T")

@final
class Event(Generic[T]):
    """One event of a stream. It cannot be changed; it compares, hashes and pickles by value."""

    @overload
    def __init__(
        self: Event[str],
        event: str = "message",
        data: str = "",
        id: str = "",
        retry: int | None = None,
    ) -> None: ...
    @overload
    def __init__(self, event: str, data: T, id: str = "", retry: int | None = None) -> None:
        """Make an event as a decoder does."""

    @property
    def event(self) -> str:
        """The event's name; `message` when it has none."""

    @property
    def data(self) -> T:
        """Its data lines joined by LF, or what `decode` made of them."""

    @property
    def id(self) -> str:
        """The last id that the stream gave, in this event or before it; empty: none."""

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds, when this very event set one."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[Event[T]], tuple[str, T, str, int | None]]: ...

@final
class EventDecoder(Generic[T]):
    """Turn the bytes of one text/event-stream, cut anywhere, into events (WHATWG HTML, 9.2.6).

    One decoder reads one stream: a reconnected one needs a new decoder. What the end of the
    stream leaves unfinished is no event; `pending` tells whether something is.
    """

    @overload
    def __init__(
        self: EventDecoder[str],
        max_line: int = 1048576,
        max_event: int = 8388608,
        *,
        decode: None = None,
        terminator: bytes | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        max_line: int = 1048576,
        max_event: int = 8388608,
        *,
        decode: Callable[[bytes], T],
        terminator: bytes | None = None,
    ) -> None:
        """Set the limits, in bytes: `max_line` without its end, `max_event` of one event's data.

        `decode` makes each event's `data` from its bytes, with no str in between; a
        `msgspec.json.Decoder(...).decode` is meant. Without it, data is text; bytes that are
        no UTF-8 become U+FFFD.

        `terminator` is the data that ends the stream, such as `b"[DONE]"`. It is compared
        before `decode` sees it and comes back as no event: `done` turns true, and what
        follows it is passed over.
        """

    @property
    def max_line(self) -> int: ...
    @property
    def max_event(self) -> int: ...
    @property
    def last_event_id(self) -> str:
        """The id to resume from (`Last-Event-ID`): that of the last block that was whole."""

    @property
    def retry(self) -> int | None:
        """The last reconnection time the stream set, in milliseconds, at most 2**53-1."""

    @property
    def comments(self) -> int:
        """How many comment lines have come: heartbeats, which are no events."""

    @property
    def done(self) -> bool:
        """Whether the terminator has come."""

    @property
    def pending(self) -> int:
        """Bytes held back because their line or their event is not whole yet."""

    def feed(
        self, data: bytes | bytearray | memoryview, into: list[Event[T]] | None = None
    ) -> list[Event[T]]:
        """Take what the stream gave; return every event it completes, in order.

        `into` is appended to and returned. Give one to keep, when a feed raises, the events
        that stood before the fault: how the stream was cut then makes no difference.

        Raises `SizeLimitError` for a line or an event over its limit, before memory is set
        aside for the excess, and `ProtocolError` when `decode` fails as msgspec does; what
        else `decode` raises passes through. No feed is accepted after that: those errors are
        repeated, any other gives `ClientStateError`.
        """
