import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar, final

from .._wire.rpc import Method
from ..config import Address, Limits
from ..errors import OstiaryError

T = TypeVar("T")

AsyncLock = asyncio.Lock

Done: TypeAlias = Awaitable[None]
"""What a function returns that this colour waits for and that has no result."""

async def async_sleep(seconds: float) -> None:
    """Let other tasks run for that long."""

class holding:
    """Hold the lock for an `async with` block; `DeadlineError` when time runs out first."""

    def __init__(self, lock: asyncio.Lock, deadline: float) -> None: ...
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *exc_info: object) -> None: ...

async def run_slow(function: Callable[..., T], *arguments: object) -> T:
    """Run on a thread what would stop the loop for milliseconds."""

async def within(awaitable: Awaitable[T], deadline: float) -> T:
    """Wait for what has to come before anything is sent; `DeadlineError` when time runs out."""

async def connect(
    address: Address,
    *,
    deadline: float,
    limits: Limits,
    ssl_context: ssl.SSLContext | None = None,
    expected_uid: int | None = None,
) -> AsyncChannel:
    """Open a framed channel on the running loop; see `blocking.connect`."""

@final
class AsyncChannel:
    """A framed RPC connection that carries any number of calls at once, matched by id.

    Requests made in one turn of the loop leave in one piece. A call that is cancelled or
    runs out of time leaves the channel usable: its late reply is thrown away.
    """

    session: str
    logins: int
    """How often whoever owns it has logged in on it; the owner counts."""

    on_orphan: Callable[[AsyncChannel, Any], None] | None
    """Called with this channel and the result of a `grants` method whose caller has gone."""

    @property
    def closed(self) -> bool: ...
    @property
    def pending(self) -> int:
        """How many ids wait for a reply, abandoned ones too."""

    def call(self, method: Method[T], params: object, deadline: float, /) -> asyncio.Future[T]:
        """Queue one request; the future gives its result. See `blocking.Channel.call`."""

    async def obtain(self, method: Method[T], params: object, deadline: float, /) -> T:
        """Do what `call` does, and offer the result to `on_orphan` if it reaches nobody."""

    async def call_many(
        self, method: Method[T], params: Sequence[object], deadline: float, /
    ) -> list[T | OstiaryError]:
        """Send all requests in one piece; return results or refusals in their order."""

    def disown(self, method: Method[T], results: Sequence[T | OstiaryError], /) -> None:
        """Offer to `on_orphan` what a `grants` method gave to a caller who has gone."""

    def post(self, method: Method[object], params: object, deadline: float, /) -> None:
        """Send one request and throw its reply away."""

    def send_only(self, method: Method[object], params: Sequence[object], /) -> None:
        """Send requests whose replies nobody will read; needs no running loop."""

    def usable(self) -> bool:
        """Whether a call may be made on it now.

        Raises `ClientStateError` when it belongs to another loop that is still running.
        """

    def close(self) -> None:
        """Close it; every waiting call ends with `ConnectionLostError`."""

    def abandon(self) -> None:
        """Drop the descriptor in a forked child; the parent's connection lives on."""
