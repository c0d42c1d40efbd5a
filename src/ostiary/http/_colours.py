"""Types of the rooms here, those above all that differ between the colours in more than a name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias, TypeVar

from .._wire.request import RequestHead
from ..errors import OstiaryError
from ..secret import Secret
from ._heads import HeaderLines

__all__ = [
    "AsyncCredentials",
    "AsyncHeldKey",
    "AsyncSend",
    "Credentials",
    "Family",
    "HeldKey",
    "Send",
    "Shown",
]

R = TypeVar("R")

Family: TypeAlias = Mapping[type[OstiaryError], type[OstiaryError]]
"""A domain's own classes by the shared ones; see `errors.adopt`."""

Shown: TypeAlias = Mapping[str, str | Secret] | HeaderLines
"""Headers that show who is asking; as lines, from a domain that makes them once."""


class HeldKey(Protocol):
    """Credentials that are kept for a while, and fetched anew after a 401."""

    def headers(self, deadline: float, /) -> HeaderLines:
        """Return the headers that show who is asking; asked for before every attempt."""
        ...

    def renewed(self, shown: HeaderLines, deadline: float, /) -> bool:
        """Fetch others in place of what was refused; return whether there are any."""
        ...


class AsyncHeldKey(Protocol):
    """The same for tasks."""

    async def headers(self, deadline: float, /) -> HeaderLines:
        """Return the headers that show who is asking; asked for before every attempt."""
        ...

    async def renewed(self, shown: HeaderLines, deadline: float, /) -> bool:
        """Fetch others in place of what was refused; return whether there are any."""
        ...


Credentials: TypeAlias = Callable[[], Shown] | HeldKey
"""Return the headers that show who is asking; called for every attempt."""

AsyncCredentials: TypeAlias = Callable[[], Shown | Awaitable[Shown]] | AsyncHeldKey
"""The same, or a coroutine function that returns them."""

# One attempt: head, target, body, headers of this request alone, deadline.
Send: TypeAlias = Callable[[RequestHead, bytes, bytes | None, HeaderLines | None, float], R]
AsyncSend: TypeAlias = Callable[
    [RequestHead, bytes, bytes | None, HeaderLines | None, float], Awaitable[R]
]
