"""The reports in memory: first in, first out, bounded in number and bytes. No lock, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import final

from .items import Item

__all__ = ["Queue"]


@final
class Queue:
    """Its owner holds a lock around every call."""

    __slots__ = ("_items", "bytes", "max_bytes", "max_items")

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._items: deque[Item] = deque()
        self.bytes = 0
        self.max_items = max_items
        self.max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._items)

    def has_room(self, item: Item) -> bool:
        """Whether one more would keep the bounds; an empty queue takes whatever comes."""
        return not self._items or (
            len(self._items) < self.max_items and self.bytes + len(item.data) <= self.max_bytes
        )

    def put(self, item: Item) -> None:
        """Add one at the end."""
        self._items.append(item)
        self.bytes += len(item.data)

    def take(self, most: int, most_bytes: int) -> list[Item]:
        """Remove from the front as many as go into one batch; one at least, if there is one."""
        taken: list[Item] = []
        size = 0
        while self._items and len(taken) < most:
            size += len(self._items[0].data)
            if taken and size > most_bytes:
                break
            taken.append(self._items.popleft())
        self.bytes -= sum(len(one.data) for one in taken)
        return taken

    def put_back(self, items: Sequence[Item]) -> None:
        """Add at the front what was taken from there; there is always room for that."""
        self._items.extendleft(reversed(items))
        self.bytes += sum(len(one.data) for one in items)

    def drop_oldest(self) -> None:
        """Remove the first."""
        self.bytes -= len(self._items.popleft().data)
