"""One way to drive a client of either colour; scripted servers that end with the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ostiary import _retry
from ostiary.governance import AsyncGovernanceClient, GovernanceClient
from tests.colours import COLOURS, Driven, Reading, colour_of, loop_of
from tests.http.peer import Exchange, HttpPeer, Script, Step, script


class Client(Driven):
    """A governance client of any colour."""

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

    def stream(self, *arguments: Any, **options: Any) -> Reading:
        return Reading(self, self.raw.run_stream(*arguments, **options))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's own server or key shows; retries come at once."""
    for name in ("URL", "API_KEY", "API_KEY_FILE"):
        monkeypatch.delenv(f"OSTIARY_GOVERNANCE_{name}", raising=False)
    monkeypatch.setattr(_retry.random, "random", lambda: 0.0)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """Sync, or async on one of the loops."""
    return colour_of(request)


@pytest.fixture
def connect(colour: str) -> Iterator[Callable[..., Client]]:
    """Make clients that end with the test: `connect(peer or URL, **options)`."""
    made: list[Client] = []
    with ExitStack() as stack:
        runner = stack.enter_context(loop_of(colour))

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
        if ends:
            exchange.last_chunks(*pieces)
        else:
            for piece in pieces:
                exchange.chunk(piece)
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
