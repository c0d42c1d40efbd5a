"""One way to drive a client of either colour; scripted servers that end with the test."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Self

import pytest

from ostiary import _retry
from ostiary.governance import AsyncGovernanceClient, GovernanceClient
from tests.http.peer import Exchange, HttpPeer, Script, Step, script

COLOURS = ["sync", "asyncio", "uvloop"]


class Client:
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

    def run(self, *arguments: Any, **options: Any) -> Any:
        return self.wait(self._method(self.raw, "run")(*arguments, **options))

    def call(self, path: str, *arguments: Any, **options: Any) -> Any:
        """Call `chat.run`, `governance.trace`, ... by its sync name."""
        target = self.raw
        *spaces, name = path.split(".")
        for space in spaces:
            target = getattr(target, space)
        return self.wait(self._method(target, name)(*arguments, **options))

    def _method(self, target: Any, name: str) -> Any:
        return getattr(target, name if self._runner is None else f"{name}_async")

    def turn(self) -> None:
        """Let an event loop do what it has to do."""
        if self._runner is not None:
            self._runner.run(asyncio.sleep(0.01))

    def stream(self, *arguments: Any, **options: Any) -> Stream:
        return Stream(self, self.raw.run_stream(*arguments, **options))

    def close(self) -> None:
        self.wait(self.raw.close() if self._runner is None else self.raw.aclose())


class Stream:
    """A stream of either colour, read as a sync one."""

    def __init__(self, client: Client, raw: Any) -> None:
        self.raw = raw
        self._client = client

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if hasattr(self.raw, "__next__"):
            return next(self.raw)

        async def main() -> Any:
            return await anext(self.raw)

        try:
            return self._client.wait(main())
        except StopAsyncIteration:
            raise StopIteration from None

    def collect(self) -> Any:
        return self._client.wait(self.raw.collect())

    def close(self) -> None:
        self.raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's own server or key shows; retries come at once."""
    for name in ("URL", "API_KEY", "API_KEY_FILE"):
        monkeypatch.delenv(f"OSTIARY_GOVERNANCE_{name}", raising=False)
    monkeypatch.setattr(_retry.random, "random", lambda: 0.0)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """Sync, or async on one of the two loops."""
    if request.param == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    return str(request.param)


@pytest.fixture
def connect(colour: str) -> Iterator[Callable[..., Client]]:
    """Make clients that end with the test: `connect(peer or URL, **options)`."""
    made: list[Client] = []
    with ExitStack() as stack:
        runner: asyncio.Runner | None = None
        if colour != "sync":
            factory = asyncio.new_event_loop
            if colour == "uvloop":
                import uvloop

                factory = uvloop.new_event_loop
            runner = stack.enter_context(asyncio.Runner(loop_factory=factory))

        def make(where: HttpPeer | str, *arguments: Any, **options: Any) -> Client:
            url = where.url() if isinstance(where, HttpPeer) else where
            kind: Any = GovernanceClient if colour == "sync" else AsyncGovernanceClient
            made.append(Client(kind(url, *arguments, **options), runner))
            return made[-1]

        yield make
        for one in made:
            one.close()


@pytest.fixture
def peers() -> Iterator[Callable[..., HttpPeer]]:
    """Make servers that end with the test; each step answers one request, the last all others."""
    with ExitStack() as stack:

        def make(
            *steps: Step | Any, kind: str = "unix", serve: Script | None = None, **options: Any
        ) -> HttpPeer:
            ready = [one if isinstance(one, bytes) or callable(one) else says(one) for one in steps]
            chosen = serve if serve is not None else script(*ready)
            return stack.enter_context(HttpPeer(chosen, kind, **options))

        yield make


def says(value: Any, status: int = 200, *headers: tuple[str, str]) -> Callable[[Exchange], object]:
    """Answer with JSON."""
    return lambda exchange: exchange.json(value, status, *headers)


def streams(*pieces: bytes | str, ends: bool = True) -> Callable[[Exchange], object]:
    """Answer with an event stream of these chunks; without `ends` it stays open."""

    def answer(exchange: Exchange) -> None:
        exchange.start_events()
        for piece in pieces:
            exchange.chunk(piece)
        if ends:
            exchange.end_chunks()
        else:
            exchange.link.stall()

    return answer


def event(kind: str, data: Any = None, trace_id: str = "t-1", **more: Any) -> str:
    """Return an event as the server of the guide sends it."""
    body = {"type": kind, "data": {} if data is None else data, "trace_id": trace_id}
    body |= {"timestamp": "2031-02-03T04:05:06Z"} | more
    return f"data: {json.dumps(body)}\n\n"


RUN = {
    "result": "four chairs",
    "output": "four chairs",
    "mode": "ALLOW",
    "budget": 0.8,
    "trace_id": "5b1c0d4e-0f6a-4f53-9c36-0a2f6f7f9d11",
    "latency_ms": 12.5,
}
"""A run as the guide's server answers it."""
