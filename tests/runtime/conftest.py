"""One way to drive a runtime client of either colour; scripted servers that end with the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ostiary import _retry
from ostiary.runtime._async import AsyncRuntimeClient
from ostiary.runtime._sync import RuntimeClient
from tests.colours import COLOURS, Driven, Reading, colour_of, loop_of
from tests.http.peer import Asked, Exchange, HttpPeer, Script, Step, script

PREFIX = "/api/v1"


class Client(Driven):
    """A runtime client of any colour."""

    def call(self, path: str, *arguments: Any, **options: Any) -> Any:
        """Call `health_check`, `schedules.list`, ..."""
        target = self.raw
        *spaces, name = path.split(".")
        for space in spaces:
            target = getattr(target, space)
        return self.wait(getattr(target, name)(*arguments, **options))

    def read(self, name: str, *arguments: Any, **options: Any) -> Reading:
        """Call what returns an iterator."""
        return Reading(self, getattr(self.raw, name)(*arguments, **options))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the caller's own server, key or .env shows; retries come at once."""
    for name in list(os.environ):
        if name.startswith(("SYMBIONT_", "OSTIARY_RUNTIME_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
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

        def make(where: HttpPeer | str, api_key: Any = None, **options: Any) -> Client:
            url = where.url(PREFIX) if isinstance(where, HttpPeer) else where
            kind: Any = RuntimeClient if colour == "sync" else AsyncRuntimeClient
            made.append(Client(kind(api_key, url, **options), runner))
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


def refuses(status: int, code: str = "", *headers: tuple[str, str]) -> Callable[[Exchange], object]:
    """Answer with a refusal of the handlers' form; without a code, of the middleware's: empty."""
    if not code:
        return lambda exchange: exchange.answer(status, b"", headers)
    return says({"error": "the reason", "code": code, "details": None}, status, *headers)


def routed(answers: dict[str, Any], otherwise: Step | None = None) -> Script:
    """Answer by verb and path: `{"GET /health": ...}`; what is not there gets an empty 404."""

    def serve(exchange: Exchange) -> None:
        while True:
            asked = exchange.request()
            path = asked.target.removeprefix(PREFIX).partition("?")[0]
            found = answers.get(f"{asked.method} {path}", otherwise)
            if found is None:
                exchange.answer(404)
            elif callable(found):
                found(exchange)
            elif isinstance(found, bytes):
                exchange.raw(found)
            else:
                exchange.json(found)

    return serve


def shown(asked: Asked) -> str:
    """Return a request as `GET /health`, without the prefix."""
    assert asked.target.startswith(PREFIX + "/")
    return f"{asked.method} {asked.target.removeprefix(PREFIX)}"


STATUS = {
    "agent_id": "agent-7",
    "state": "idle",
    "last_activity": "2031-02-03T04:05:06Z",
    "resource_usage": {"memory_bytes": 1048576, "cpu_percent": 0.5, "active_tasks": 0},
}
"""An agent's status, as the guide's server answers it."""

TOOL = {
    "name": "adder",
    "description": "adds",
    "schema": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    "provider": {"name": "acme"},
}


def review(status: str, review_id: str = "rv-1", **more: Any) -> dict[str, Any]:
    """Return a review as the guide's server answers it."""
    return {
        "review_id": review_id,
        "tool": TOOL,
        "status": status,
        "state": {"type": status, "analysis_id": "an-1", "critical_findings": []},
        "submitted_by": "dev@acme.test",
        "submitted_at": "2031-02-03T04:05:06Z",
        "priority": "normal",
    } | more
