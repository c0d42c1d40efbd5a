"""Peers that end with the test, and one way to drive a pool of either colour on either parser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ostiary import _retry
from ostiary.http import AsyncPool, Pool
from tests.colours import Driven, colour_of, loop_of
from tests.colours import Reading as Stream
from tests.http.peer import HttpPeer, Script, echo

# Where the loop makes a difference, a file asks for uvloop as well.
COLOURS = ["sync", "asyncio"]
PARSERS = ["strict", "h11"]


class Driver(Driven):
    """A pool of any colour; what an async one returns to read from is driven too."""

    run = Driven.wait

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
        self.wait(self.raw.close())


class Reading(Stream):
    """A response of either colour, read as a sync one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def read(self, *arguments: Any) -> bytes:
        return self._driven.wait(self.raw.read(*arguments))  # type: ignore[no-any-return]

    def close(self) -> None:
        outcome = self.raw.close()
        if hasattr(outcome, "__await__"):
            self._driven.wait(outcome)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """Sync, or async on one of the loops."""
    return colour_of(request)


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
        runner = stack.enter_context(loop_of(colour))

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
