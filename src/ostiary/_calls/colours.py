"""Types of the calls, those above all that differ between the colours in more than a name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from msgspec import UnsetType

__all__ = ["AsyncPoll", "AsyncTurn", "Key", "Poll", "Timeout", "Turn"]

T = TypeVar("T")
P = TypeVar("P")

Timeout: TypeAlias = float | UnsetType | None
"""Seconds for a whole call, retries included; None is no limit, left out is the client's."""

Key: TypeAlias = str | bool | None
"""An idempotency key: text of the caller's, or True for a new one."""

Poll: TypeAlias = Callable[[float], T]
AsyncPoll: TypeAlias = Callable[[float], Awaitable[T]]
"""Ask once, within so many seconds."""

Turn: TypeAlias = Callable[[Any], P]
AsyncTurn: TypeAlias = Callable[[Any], Awaitable[P]]
"""Fetch the page of that number, or behind that cursor."""
