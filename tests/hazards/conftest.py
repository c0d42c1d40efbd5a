"""Peers and pools for tests of what goes wrong."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.hazards.scripted import Script, echo, url
from tests.peers.driver import COLOURS, PARSERS, Session, open_uvloop_once
from tests.transport.peer import Handler, Peer


@pytest.fixture(scope="session", autouse=True)
def _uvloop_is_warm() -> None:
    open_uvloop_once()


@pytest.fixture(scope="session")
def authority() -> Any:
    """A certificate authority that only these tests trust."""
    return pytest.importorskip("trustme").CA()


@pytest.fixture(scope="session")
def server_context(authority: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_context(authority: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_kind(request: pytest.FixtureRequest) -> str:
    """The colours that have an event loop."""
    return str(request.param)


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Stage:
    """Makes peers and pools that end with the test."""

    def __init__(self, stack: ExitStack, request: pytest.FixtureRequest) -> None:
        self._stack = stack
        self._request = request

    def peer(self, handler: Handler = echo, kind: str = "unix", **options: Any) -> Peer:
        if kind == "tls":
            options.setdefault("server_context", self._request.getfixturevalue("server_context"))
            options.setdefault("client_context", self._request.getfixturevalue("client_context"))
        return self._stack.enter_context(Peer(handler, kind, **options))

    def script(self, *handlers: Handler, kind: str = "unix") -> tuple[Peer, Script]:
        made = Script(*handlers)
        return self.peer(made, kind), made

    def session(self, peer: Peer, colour: str, **options: Any) -> Session:
        options = self.options(peer, **options)
        return self._stack.enter_context(Session(colour, url(peer), **options))

    @staticmethod
    def options(peer: Peer, **options: Any) -> dict[str, Any]:
        """What a pool for this peer is made with; no retries unless a test asks for them."""
        if peer.client_context is not None:
            options.setdefault("ssl_context", peer.client_context)
        options.setdefault("max_retries", 0)
        options.setdefault("timeout", 20)
        return options


@pytest.fixture
def stage(request: pytest.FixtureRequest, no_leaked_descriptors: None) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, request)


Make = Callable[..., Any]
