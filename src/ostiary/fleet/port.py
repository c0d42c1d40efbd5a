"""Where a fleet waits: for the next input, or for a batch that comes back. Twins.

`AsyncPort` waits on the caller's event loop, `Port` on its thread. Neighbour: `_stream`, which
is written once over both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .item import Item, Outcome

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .crews import Crew
    from .errors import FleetError

__all__ = ["END", "AsyncPort", "Back", "Port", "Taken"]


@dataclass(frozen=True, slots=True)
class Taken:
    """An input that was taken from the source."""

    input: Any


@dataclass(frozen=True, slots=True)
class Back:
    """A batch that came back, or what is said of one whose worker died."""

    items: Sequence[Item]
    outcomes: list[Outcome] | str


END: Final = "the source has ended"
Event: TypeAlias = "Taken | Back | str"
_Returned: TypeAlias = "tuple[Sequence[Item], Future[Any]]"


class Port:
    """Between one crew and a thread that takes its results."""

    def __init__(self, crew: Crew, inputs: Iterable[Any]) -> None:
        self._crew = crew
        self._source: Iterator[Any] | None = iter(inputs)
        self._returned: SimpleQueue[_Returned] = SimpleQueue()

    def open(self) -> None:
        """Have the crew ready."""
        self._crew.open(None)

    def prepare(self, item: Item) -> FleetError | None:
        """Make an item ready to go; return why it cannot."""
        return self._crew.prepare(item)

    def submit(self, items: Sequence[Item]) -> None:
        """Send a batch."""
        answer = self._crew.submit(items)
        answer.add_done_callback(lambda done: self._returned.put((items, done)))

    def next(self, room: bool) -> Event:
        """Return what is next: a batch, or with `room` an input or `END`."""
        try:
            return self._back(self._returned.get_nowait())
        except Empty:
            pass
        if room and self._source is not None:
            for taken in self._source:
                return Taken(taken)
            self._source = None
            return END
        return self._back(self._returned.get())

    def _back(self, returned: _Returned) -> Back:
        items, answer = returned
        return Back(items, self._crew.read(items, answer))

    def close(self, early: bool) -> None:
        """End the crew."""
        self._crew.close(early)


class AsyncPort:
    """Between one crew and a task that takes its results."""

    def __init__(self, crew: Crew, inputs: Iterable[Any] | AsyncIterable[Any]) -> None:
        self._crew = crew
        self._source: Iterator[Any] | AsyncIterator[Any] | None
        self._source = aiter(inputs) if isinstance(inputs, AsyncIterable) else iter(inputs)
        self._returned: deque[_Returned] = deque()
        self._arrived = asyncio.Event()
        self._asked: asyncio.Future[Any] | None = None

    async def open(self) -> None:
        """Have the crew ready, the loop going on meanwhile."""
        if self._crew.here:
            self._crew.open(asyncio.get_running_loop())
        else:
            await asyncio.to_thread(self._crew.open, None)

    def prepare(self, item: Item) -> FleetError | None:
        """Make an item ready to go; return why it cannot."""
        return self._crew.prepare(item)

    async def submit(self, items: Sequence[Item]) -> None:
        """Send a batch."""
        loop = asyncio.get_running_loop()
        if self._crew.here:
            answer = self._crew.submit(items)
        else:
            # A new executor may have to be made in place of a broken one.
            answer = await asyncio.to_thread(self._crew.submit, items)

        def done(answer: Future[Any]) -> None:
            try:
                loop.call_soon_threadsafe(self._come, items, answer)
            except RuntimeError:
                pass  # the loop has ended, and with it whoever waited

        answer.add_done_callback(done)

    def _come(self, items: Sequence[Item], answer: Future[Any]) -> None:
        self._returned.append((items, answer))
        self._arrived.set()

    async def next(self, room: bool) -> Event:
        """Return what is next: a batch, or with `room` an input or `END`."""
        while True:
            if self._returned:
                items, answer = self._returned.popleft()
                return Back(items, self._crew.read(items, answer))
            self._arrived.clear()
            if not room or self._source is None:
                await self._arrived.wait()
            elif isinstance(self._source, AsyncIterator):
                if (found := await self._asked_of(self._source)) is not None:
                    return found
            else:
                for taken in self._source:
                    return Taken(taken)
                self._source = None
                return END

    async def _asked_of(self, source: AsyncIterator[Any]) -> Event | None:
        """Return the next input, or None when a batch is there before it."""
        if self._asked is None:
            self._asked = asyncio.ensure_future(_first(source))
        arrived = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait({self._asked, arrived}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
        if not self._asked.done():
            return None
        asked, self._asked = self._asked, None
        found = asked.result()
        if found == END:
            self._source = None
        return found  # type: ignore[no-any-return]

    async def aclose(self, early: bool) -> None:
        """End the crew; with it what was asked of an async source."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.wait({self._asked})
        await self._crew.aclose(early)


async def _first(source: AsyncIterator[Any]) -> Taken | str:
    async for taken in source:
        return Taken(taken)
    return END
