"""One way to call a pool of either colour, so that a test is written once.

An `AsyncPool` is driven by a loop of its own that runs only while a call does.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self

import pytest

from ostiary.http import AsyncPool, Pool

COLOURS = ["sync", "asyncio", "uvloop"]
PARSERS = ["strict", "h11"]


def loop_factory(colour: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if colour == "asyncio":
        return asyncio.new_event_loop
    if importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    import uvloop

    return uvloop.new_event_loop


def open_uvloop_once() -> None:
    """Have uvloop open what it keeps for good, before a test counts descriptors."""
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        uvloop.new_event_loop().close()


class Session:
    """One pool and, where it needs one, its event loop."""

    def __init__(self, colour: str, base_url: str, **options: Any) -> None:
        self.colour = colour
        self.closed = False
        self.runner: asyncio.Runner | None = None
        self.pool: Any
        if colour == "sync":
            self.pool = Pool(base_url, **options)
        else:
            self.runner = asyncio.Runner(loop_factory=loop_factory(colour))
            self.pool = AsyncPool(base_url, **options)

    def wait(self, result: Any) -> Any:
        """Return what a call gave, at once or after running the loop for it."""
        if self.runner is None:
            return result
        return self.runner.run(_awaited(result))

    def request(self, method: str, path: str | bytes, **options: Any) -> Any:
        return self.wait(self.pool.request(method, path, **options))

    def stream(self, method: str, path: str | bytes, **options: Any) -> Stream:
        return Stream(self, self.wait(self.pool.stream(method, path, **options)))

    def events(self, method: str, path: str | bytes, **options: Any) -> Stream:
        return Stream(self, self.wait(self.pool.events(method, path, **options)))

    def together(self, calls: list[tuple[str, str, dict[str, Any]]]) -> list[Any]:
        """Make all these requests at once: a task or a thread for each; errors are returned."""
        results: list[Any] = [None] * len(calls)
        if self.runner is not None:

            async def one(place: int) -> None:
                method, path, options = calls[place]
                try:
                    results[place] = await self.pool.request(method, path, **options)
                except Exception as error:  # noqa: BLE001 - the test looks at it
                    results[place] = error

            async def every() -> None:
                async with asyncio.TaskGroup() as group:
                    for place in range(len(calls)):
                        group.create_task(one(place))

            self.runner.run(every())
            return results

        def call(place: int) -> None:
            method, path, options = calls[place]
            try:
                results[place] = self.pool.request(method, path, **options)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                results[place] = error

        threads = [threading.Thread(target=call, args=(n,)) for n in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.wait(self.pool.close())
        if self.runner is not None:
            self.runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stream:
    """A response's pieces, or its events, as a plain iterator."""

    def __init__(self, session: Session, inner: Any) -> None:
        self.session = session
        self.inner = inner

    @property
    def status(self) -> int:
        return int(self.inner.status)

    @property
    def headers(self) -> Any:
        return self.inner.headers

    def __iter__(self) -> Iterator[Any]:
        if self.session.runner is None:
            yield from self.inner
            return
        items = aiter(self.inner)
        while True:
            try:
                item = self.session.runner.run(_awaited(anext(items)))
            except StopAsyncIteration:
                return
            yield item

    def next(self) -> Any:
        if self.session.runner is None:
            return next(iter(self.inner))
        return self.session.runner.run(_awaited(anext(aiter(self.inner))))

    def body(self) -> bytes:
        return b"".join(bytes(piece) for piece in self)

    def close(self) -> None:
        # Async streams may close by a plain call or by one to be awaited.
        done = self.inner.close()
        if done is not None:
            self.session.wait(done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _awaited(result: Any) -> Any:
    return await result


def run_on(colour: str, main: Coroutine[Any, Any, Any]) -> Any:
    """Run `main` to its end on a fresh loop of this colour."""
    with asyncio.Runner(loop_factory=loop_factory(colour)) as runner:
        return runner.run(main)
