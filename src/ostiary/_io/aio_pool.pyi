from collections.abc import Awaitable, Callable
from typing import final

from .aio import AsyncChannel

@final
class AsyncChannelPool:
    """The one multiplexed channel of a client, opened by whoever needs it first."""

    def __init__(self, opener: Callable[[float], Awaitable[AsyncChannel]], limit: int) -> None: ...
    def ready(self) -> AsyncChannel | None:
        """Return the channel if it is good on the running loop, without waiting."""

    async def open(self, deadline: float, /) -> AsyncChannel:
        """Open the channel, or wait for whoever is opening it."""

    def release(self, channel: AsyncChannel, /) -> None:
        """Nothing to do: the channel is shared."""

    def channels(self) -> list[AsyncChannel]:
        """Return the open channel, if there is one."""

    def close(self) -> None:
        """Close the channel; waiting calls end with an error."""

    def abandon(self) -> None:
        """Forget the parent's channel in a forked child."""
