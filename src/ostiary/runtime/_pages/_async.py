"""What comes in pages, one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Self, TypeVar, final

from .._colours import AsyncTurn

__all__ = ["AsyncPages"]

T = TypeVar("T")
P = TypeVar("P")


@final
class AsyncPages(Generic[T]):
    """An iterator over all items of a listing; it fetches a page when it needs one.

    What moved to the next page meanwhile comes once, not twice. It can be iterated over once
    and holds no connection in between.
    """

    __slots__ = ("_items", "_key", "_last", "_more", "_number", "_ready", "_turn")

    def __init__(
        self,
        turn: AsyncTurn[Any],
        items: Callable[[Any], Sequence[T]],
        key: Callable[[T], str],
    ) -> None:
        """`turn` fetches a page, `items` are what is on it, `key` is what tells them apart."""
        self._turn = turn
        self._items = items
        self._key = key
        self._number = 0
        self._more = True
        self._last: frozenset[str] = frozenset()
        self._ready: deque[T] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Return the next item."""
        while not self._ready:
            if not self._more:
                raise StopAsyncIteration
            page = await self._turn(self._number + 1)
            self._number += 1
            self._take(self._items(page), has_next=page.pagination.has_next)
        return self._ready.popleft()

    def _take(self, items: Sequence[T], *, has_next: bool) -> None:
        keys = [self._key(one) for one in items]
        fresh = [one for one, key in zip(items, keys, strict=True) if key not in self._last]
        self._last = frozenset(keys)
        self._ready.extend(fresh)
        # A server that gives the same page again and again has no more.
        self._more = has_next and bool(fresh)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self._number} pages read>"
