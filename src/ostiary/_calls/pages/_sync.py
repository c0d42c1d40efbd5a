# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""What comes in pages, one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Self, TypeVar, final

from ..colours import Turn

__all__ = ["Pages", "numbered"]

T = TypeVar("T")
P = TypeVar("P")


def numbered(page: Any, number: int) -> int | None:
    """Return the number of the page behind one that says whether there is another."""
    return number + 1 if page.pagination.has_next else None


@final
class Pages(Generic[T]):
    """An iterator over all items of a listing; it fetches a page when it needs one.

    What moved to the next page meanwhile comes once, not twice. It can be iterated over once
    and holds no connection in between.
    """

    __slots__ = ("_following", "_items", "_key", "_last", "_mark", "_more", "_ready", "_turn")

    def __init__(
        self,
        turn: Turn[Any],
        items: Callable[[Any], Sequence[T]],
        key: Callable[[T], str] | None,
        following: Callable[[Any, Any], Any] = numbered,
        first: Any = 1,
    ) -> None:
        """`turn` fetches the page of a mark, `items` are what is on it.

        `key` tells items apart, None where a page never repeats one. `following` names the
        mark behind a page and its own mark, or None behind the last.
        """
        self._turn = turn
        self._items = items
        self._key = key
        self._following = following
        self._mark = first
        self._more = True
        self._last: frozenset[str] = frozenset()
        self._ready: deque[T] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Return the next item."""
        while not self._ready:
            if not self._more:
                raise StopIteration
            self._take(self._turn(self._mark))
        return self._ready.popleft()

    def _take(self, page: Any) -> None:
        fresh = self._items(page)
        if self._key is not None:
            keys = [self._key(one) for one in fresh]
            last, self._last = self._last, frozenset(keys)
            fresh = [one for one, key in zip(fresh, keys, strict=True) if key not in last]
        self._ready.extend(fresh)
        mark, self._mark = self._mark, self._following(page, self._mark)
        # A server that gives the same page again and again has no more.
        moved = self._mark != mark and (bool(fresh) or self._key is None)
        self._more = moved and self._mark is not None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {'more to read' if self._more else 'read'}>"
