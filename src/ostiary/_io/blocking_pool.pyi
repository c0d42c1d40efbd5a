from collections.abc import Callable
from typing import final

from .blocking import Channel

@final
class ChannelPool:
    """A client's connections: idle ones last in, first out; waiters first come, first served."""

    def __init__(
        self,
        opener: Callable[[float], Channel],
        limit: int,
        *,
        max_idle: int | None = None,
        expiry: float = ...,
        patience: float | None = None,
    ) -> None:
        """`opener` takes a deadline and returns a connection that is ready for calls.

        At most `max_idle` are kept, each for `expiry` seconds; one that has grown too old is
        closed when another comes back. `patience` bounds, in seconds, the wait for one.
        """

    @property
    def counts(self) -> tuple[int, int, int]:
        """Connections open, how many of them are idle, and threads waiting for one."""

    def ready(self) -> Channel | None:
        """Take an idle channel that is still good, without waiting."""

    def open(self, deadline: float, /) -> Channel:
        """Open a channel, or wait for one when `limit` are in use."""

    def release(self, channel: Channel, /) -> None:
        """Give back what `ready` or `open` returned, whatever became of it."""

    def channels(self) -> list[Channel]:
        """Return every open connection, busy ones too."""

    def close(self) -> None:
        """Close every connection; calls under way and waiting ones end with an error."""

    def abandon(self) -> None:
        """Forget the parent's connections in a forked child."""
