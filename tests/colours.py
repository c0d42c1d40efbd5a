"""One way to drive what has two colours: sync, and async on either event loop."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

COLOURS = ["sync", "asyncio", "uvloop"]


def colour_of(request: pytest.FixtureRequest) -> str:
    """Return the colour that a fixture is asked for; skip where its loop is not installed."""
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    return str(request.param)


@contextmanager
def loop_of(colour: str) -> Iterator[asyncio.Runner | None]:
    """Hold the event loop of a colour; None for sync."""
    if colour == "sync":
        yield None
        return
    factory = asyncio.new_event_loop
    if colour == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


class Driven:
    """A client of any colour, with the methods of the sync one. `raw` is the client itself."""

    def __init__(self, raw: Any, runner: asyncio.Runner | None) -> None:
        self.raw = raw
        self._runner = runner

    def wait(self, outcome: Any) -> Any:
        """Wait for what a method returned."""
        if self._runner is None:
            return outcome

        async def main() -> Any:
            return await outcome

        return self._runner.run(main())

    def turn(self) -> None:
        """Let an event loop do what it has to do."""
        if self._runner is not None:
            self._runner.run(asyncio.sleep(0.01))

    def close(self) -> None:
        self.wait(self.raw.close() if self._runner is None else self.raw.aclose())


class Reading:
    """A stream of either colour, read as a sync one."""

    def __init__(self, driven: Driven, raw: Any) -> None:
        self.raw = raw
        self._driven = driven

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if hasattr(self.raw, "__next__"):
            return next(self.raw)

        async def main() -> Any:
            return await anext(self.raw)

        try:
            return self._driven.wait(main())
        except StopAsyncIteration:
            raise StopIteration from None

    def collect(self) -> Any:
        return self._driven.wait(self.raw.collect())

    def close(self) -> None:
        self.raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
