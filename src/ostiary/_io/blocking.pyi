import ssl
import threading
from collections.abc import Callable, Sequence
from time import sleep as sleep
from typing import TypeAlias, TypeVar, final

from .._wire.rpc import Method
from ..config import Address, Limits
from ..errors import OstiaryError
from .stream import Stream

T = TypeVar("T")

Lock = threading.Lock

Done: TypeAlias = None
"""What a function returns that this colour waits for and that has no result."""

def run_slow(function: Callable[..., T], *arguments: object) -> T:
    """Run it here: nobody else waits for this thread."""

class holding:
    """Hold the lock for a `with` block; `DeadlineError` when the time runs out first."""

    def __init__(self, lock: threading.Lock, deadline: float) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exc_info: object) -> None: ...

def connect(
    address: Address,
    *,
    deadline: float,
    limits: Limits,
    ssl_context: ssl.SSLContext | None = None,
    expected_uid: int | None = None,
) -> Channel:
    """Open a framed channel: connect, check the peer's uid if asked, agree on TLS if asked.

    `deadline` is a monotonic time (`sockets.deadline_after`). Raises `ConnectError`,
    `DeadlineError` or `ConnectionLostError`; nothing of a request was sent.
    """

@final
class Channel(Stream):
    """A framed RPC connection that carries one call at a time.

    A call that does not end with its own whole reply closes the channel.
    """

    session: str
    logins: int
    """How often whoever owns it has logged in on it; the owner counts."""

    def call(self, method: Method[T], params: object, deadline: float, /) -> T:
        """Send one request and return its result.

        Raises what the method makes of an error reply, `UnexpectedShape` for a result of the
        wrong type (the channel stays open after both), and any other `TransportError` with
        `sent` set (the channel is closed then).
        """

    def obtain(self, method: Method[T], params: object, deadline: float, /) -> T:
        """Do what `call` does; here nothing can come between a grant and its caller."""

    def call_many(
        self, method: Method[T], params: Sequence[object], deadline: float, /
    ) -> list[T | OstiaryError]:
        """Send all requests in one piece; return results or refusals in their order."""

    def disown(self, method: Method[T], results: Sequence[T | OstiaryError], /) -> None:
        """Close, since what a `grants` method gave has reached nobody."""

    def send_only(self, method: Method[object], params: Sequence[object], /) -> None:
        """Send requests whose replies nobody will read, then close: for the end of a process."""
