"""Gateway clients of both colours that end with the test, and scripted gateways for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ostiary import _retry
from ostiary.devserver import running
from ostiary.gateway import (
    AsyncGatewayClient,
    DirectProviderClient,
    GatewayAccess,
    GatewayClient,
    JWTSource,
    SpiffeGatewayClient,
    TransactionTokenClient,
    access_from_environment,
)
from tests.colours import COLOURS, colour_of, loop_of
from tests.gateway.clients import Access, Client, Connect, Peers, scripted
from tests.gateway.tokens import svid, trat, write
from tests.http.peer import HttpPeer


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """Sync, or async on one of the loops."""
    return colour_of(request)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have retries come without a pause."""
    monkeypatch.setattr(_retry.random, "random", lambda: 0.0)


@pytest.fixture
def access(tmp_path: Path) -> Access:
    """Make access to a scripted gateway by real token files: `access(peer, **claims)`."""

    def make(peer: HttpPeer | str, **claims: Any) -> GatewayAccess:
        files = write(tmp_path / "svid", svid()), write(tmp_path / "trat", trat(**claims))
        socket = peer if isinstance(peer, str) else peer.where
        return SpiffeGatewayClient(JWTSource(files[0]), TransactionTokenClient(files[1]), socket)

    return make


@pytest.fixture
def connect(colour: str, access: Access) -> Iterator[Connect]:
    """Make clients that end with the test: `connect(peer or access object, **options)`.

    The model of a client of a scripted gateway is `openai:gpt-test-1`.
    """
    made: list[Client] = []
    with ExitStack() as stack:
        runner = stack.enter_context(loop_of(colour))

        def make(where: HttpPeer | GatewayAccess, **options: Any) -> Client:
            if isinstance(where, HttpPeer):
                where = access(where, tctx=TCTX)
            kind: Any = GatewayClient if colour == "sync" else AsyncGatewayClient
            made.append(Client(kind(where, **options), runner))
            return made[-1]

        yield make
        for one in made:
            one.close()


TCTX = {
    "run_id": "run_8841",
    "org_id": "77",
    "allowed_models": {
        "triage": ["openai:gpt-test-mini"],
        "analysis": ["openai:gpt-test-1", "anthropic:claude-test", "openai:gpt-test-2"],
        "reasoning": [],
        "embeddings": ["openai:embed-test-small"],
    },
    "allowed_providers": ["openai", "anthropic"],
}


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Make servers that end with the test; each step answers one request, the last all others."""
    with ExitStack() as stack:

        def make(*steps: Any, kind: str = "unix", serve: Any = None, **options: Any) -> HttpPeer:
            chosen = scripted(*steps) if serve is None else serve
            return stack.enter_context(HttpPeer(chosen, kind, **options))

        yield make


@pytest.fixture
def direct(connect: Connect) -> Callable[..., Client]:
    """Make a client in direct mode: every provider is the same scripted server."""

    def make(peer: HttpPeer, **options: Any) -> Client:
        names = ("openai", "anthropic", "google")
        reached = DirectProviderClient(
            allow=True,
            api_keys={name: f"key-of-{name}" for name in names},
            base_urls={name: peer.url("/v1" if name == "openai" else "") for name in names},
        )
        return connect(reached, **options)

    return make


@pytest.fixture(scope="module")
def gateway() -> Iterator[Any]:
    """The embedded gateway, with its demonstration run."""
    with running(demo=True, tcp=False) as server:
        yield server.gateway


@pytest.fixture
def embedded(connect: Connect, gateway: Any) -> Client:
    """A client of the embedded gateway."""
    return connect(access_from_environment(gateway.environment))
