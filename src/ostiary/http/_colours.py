"""Types of the rooms here, those above all that differ between the colours in more than a name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar

from .._wire.request import RequestHead
from ..errors import OstiaryError
from ..secret import Secret
from ._heads import HeaderLines

__all__ = ["AsyncCredentials", "AsyncSend", "Credentials", "Family", "Send", "Shown"]

R = TypeVar("R")

Family: TypeAlias = Mapping[type[OstiaryError], type[OstiaryError]]
"""A domain's own classes by the shared ones; see `errors.adopt`."""

Shown: TypeAlias = Mapping[str, str | Secret] | HeaderLines
"""Headers that show who is asking; as lines, from a domain that makes them once."""

Credentials: TypeAlias = Callable[[], Shown]
"""Return the headers that show who is asking; called for every attempt."""

AsyncCredentials: TypeAlias = Callable[[], Shown | Awaitable[Shown]]
"""The same, or a coroutine function that returns them."""

# One attempt: head, target, body, headers of this request alone, deadline.
Send: TypeAlias = Callable[[RequestHead, bytes, bytes | None, HeaderLines | None, float], R]
AsyncSend: TypeAlias = Callable[
    [RequestHead, bytes, bytes | None, HeaderLines | None, float], Awaitable[R]
]
