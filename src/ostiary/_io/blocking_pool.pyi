from collections.abc import Callable
from typing import final

from .blocking import Channel

@final
class ChannelPool:
    """A client's channels: idle ones last in, first out; waiters first come, first served."""

    def __init__(self, opener: Callable[[float], Channel], limit: int) -> None:
        """`opener` takes a deadline and returns a channel that is logged in."""

    def ready(self) -> Channel | None:
        """Take an idle channel that is still good, without waiting."""

    def open(self, deadline: float, /) -> Channel:
        """Open a channel, or wait for one when `limit` are in use."""

    def release(self, channel: Channel, /) -> None:
        """Give back what `ready` or `open` returned, whatever became of it."""

    def channels(self) -> list[Channel]:
        """Return every open channel, busy ones too."""

    def close(self) -> None:
        """Close every channel; calls under way and waiting ones end with an error."""

    def abandon(self) -> None:
        """Forget the parent's channels in a forked child."""
