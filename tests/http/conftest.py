"""Peers that end with the test, and one way to drive a pool of either colour on either parser."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Self

import pytest

import ostiary
from ostiary import _retry
from ostiary.http import AsyncPool, Pool
from tests.http.peer import HttpPeer, Script, echo

# Where the loop makes a difference, a file asks for uvloop as well.
COLOURS = ["sync", "asyncio"]
PACKAGE = os.path.dirname(ostiary.__file__)
PARSERS = ["strict", "h11"]


class Driver:
    """A pool of any colour with the methods of the sync one.

    `raw` is the pool itself. What an async one returns to read from is driven here too.
    """

    def __init__(self, raw: Any, runner: asyncio.Runner | None) -> None:
        self.raw = raw
        self._runner = runner

    def run(self, outcome: Any) -> Any:
        """Wait for what a method returned."""
        if self._runner is None:
            return outcome

        async def main() -> Any:
            return await outcome

        return self._runner.run(main())

    def request(self, *arguments: Any, **options: Any) -> Any:
        return self.run(self.raw.request(*arguments, **options))

    def call(self, *arguments: Any, **options: Any) -> Any:
        return self.run(self.raw.call(*arguments, **options))

    def stream(self, *arguments: Any, **options: Any) -> Reading:
        return Reading(self, self.run(self.raw.stream(*arguments, **options)))

    def events(self, *arguments: Any, **options: Any) -> Reading:
        return Reading(self, self.run(self.raw.events(*arguments, **options)))

    def call_events(self, *arguments: Any, **options: Any) -> Reading:
        return Reading(self, self.run(self.raw.call_events(*arguments, **options)))

    def close(self) -> None:
        self.run(self.raw.close())


class Reading:
    """A stream of either colour, read as a sync one."""

    def __init__(self, driver: Driver, raw: Any) -> None:
        self.raw = raw
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if hasattr(self.raw, "__next__"):
            return next(self.raw)

        async def main() -> Any:
            return await anext(self.raw)

        try:
            return self._driver.run(main())
        except StopAsyncIteration:
            raise StopIteration from None

    def read(self, *arguments: Any) -> bytes:
        return self._driver.run(self.raw.read(*arguments))

    def close(self) -> None:
        outcome = self.raw.close()
        if hasattr(outcome, "__await__"):
            self._driver.run(outcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def recorded(error: BaseException | None) -> str:
    """Return all that an error reporter finds: texts, and the locals of the library's frames."""
    found: list[str] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        found += [str(one), repr(one), repr(getattr(one, "__notes__", ""))]
        at = one.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename.startswith(PACKAGE):
                found.append(repr(at.tb_frame.f_locals))
            at = at.tb_next
        waiting += [one.__cause__, one.__context__]
    return "\n".join(found)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """Sync, or async on one of the loops."""
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    return str(request.param)


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> str:
    """Who reads the responses."""
    return str(request.param)


@pytest.fixture
def pools(
    request: pytest.FixtureRequest, colour: str, parser: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Driver]]:
    """Make pools that end with the test: `pools(peer, prefix, **options)`."""
    # Delays are drawn from zero to a ceiling; the tests of the policy look at the drawing.
    monkeypatch.setattr(_retry.random, "random", lambda: 0.0)
    made: list[Driver] = []
    with ExitStack() as stack:
        runner: asyncio.Runner | None = None
        if colour != "sync":
            factory = asyncio.new_event_loop
            if colour == "uvloop":
                import uvloop

                factory = uvloop.new_event_loop
            runner = stack.enter_context(asyncio.Runner(loop_factory=factory))

        def make(peer: HttpPeer | str, prefix: str = "", **options: Any) -> Driver:
            options.setdefault("parser", parser)
            options.setdefault("timeout", 20)
            url = peer
            if isinstance(peer, HttpPeer):
                url = peer.url(prefix)
                if peer.client_context is not None:
                    options.setdefault("ssl_context", peer.client_context)
            kind: Any = Pool if colour == "sync" else AsyncPool
            driver = Driver(kind(url, **options), runner)
            made.append(driver)
            return driver

        yield make
        for driver in made:
            driver.close()


@pytest.fixture
def peers() -> Iterator[Callable[..., HttpPeer]]:
    """Make peers that end with the test: `peers(script, kind)`."""
    with ExitStack() as stack:

        def make(serve: Script = echo, kind: str = "unix", **options: Any) -> HttpPeer:
            return stack.enter_context(HttpPeer(serve, kind, **options))

        yield make
