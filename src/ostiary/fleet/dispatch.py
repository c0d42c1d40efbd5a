"""Which inputs go out next, and what becomes of those whose worker died. No clock, no I/O.

Whoever was aboard when a worker died is sent again, by itself; whoever was aboard too often is
at last sent while nothing else runs. Only what brings its worker down then is given up: so an
input that kills every worker takes no other down with it. Neighbour: `_stream`, which asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .item import Item

__all__ = ["Dispatch"]


class Dispatch:
    """The items in hand: at most `window`, out in batches of at most `batch`.

    `retries` is how often an item is sent again in company, once alone not counted.
    """

    def __init__(self, *, window: int, batch: int, retries: int) -> None:
        self.window = window
        self.batch = batch
        self._patience = max(retries, 1)
        self._fresh: deque[Item] = deque()
        self._again: deque[Item] = deque()
        self._alone: deque[Item] = deque()
        self._out: dict[int, bool] = {}  # by index; whether it runs alone
        self.ended = False
        """Whether no further item will be added; set by whoever adds them."""

    @property
    def room(self) -> int:
        """How many items may be added now."""
        waiting = len(self._fresh) + len(self._again) + len(self._alone)
        return 0 if self.ended else self.window - len(self._out) - waiting

    @property
    def out(self) -> int:
        """How many items are with workers."""
        return len(self._out)

    @property
    def over(self) -> bool:
        """Whether every item that there will be has been settled."""
        return self.ended and not (self._out or self._fresh or self._again or self._alone)

    def add(self, item: Item) -> None:
        """Take in a new item; `room` says whether one may come."""
        self._fresh.append(item)

    def take(self) -> list[Item] | None:
        """Return what is to be sent now; None when nothing is."""
        alone = next(iter(self._out.values()), False)  # then it is the only one out
        if alone:
            return None
        if self._again:
            found = [self._again.popleft()]
        elif self._fresh and (
            len(self._fresh) >= self.batch or self.ended or not self._out or not self.room
        ):
            found = [self._fresh.popleft() for _ in range(min(self.batch, len(self._fresh)))]
        elif self._alone and not self._out and not self._fresh:
            found, alone = [self._alone.popleft()], True
        else:
            return None
        self._out.update((item.index, alone) for item in found)
        return found

    def done(self, items: Sequence[Item]) -> None:
        """Note that items have come back."""
        for item in items:
            del self._out[item.index]

    def lost(self, items: Sequence[Item]) -> list[Item]:
        """Note that the worker of these died; return those that are given up."""
        given_up: list[Item] = []
        for item in items:
            alone = self._out.pop(item.index)
            item.lost += 1
            if alone:
                given_up.append(item)
            elif item.lost >= self._patience:
                self._alone.append(item)
            else:
                self._again.append(item)
        return given_up
