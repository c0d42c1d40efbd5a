"""A running vault with two agents, and connections to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ostiary.devserver import RunningVault, running
from tests.devserver.wire import Hands, Wire

Connect = Callable[..., Wire]


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def vault(hands: Hands) -> Iterator[RunningVault]:
    """A vault on a clock that stands still, with agents demo (all) and guest (guest/*)."""
    with running(clock=hands.clock(), http_timeout=10.0) as server:
        server.put("maps/token", "hi", type="token")
        server.put("hook/key", "k1")
        server.put("guest/one", "for-the-guest")
        server.put("bin/blob", b"\xff\x00\xfe")
        server.add_agent("demo")
        server.add_agent("guest", allow=["guest/*"])
        yield server


@pytest.fixture
def connect(vault: RunningVault) -> Iterator[Connect]:
    """`connect()` is an open connection, `connect("demo")` a logged-in one; tcp=True by TCP."""
    with ExitStack() as stack:

        def make(agent: str | None = None, *, tcp: bool = False) -> Wire:
            assert vault.tcp is not None
            one = Wire(vault.tcp if tcp else vault.socket_path)
            stack.callback(one.close)
            return one if agent is None else one.login(agent, key_of(vault, agent))

        yield make


def key_of(vault: RunningVault, agent: str) -> Path:
    return vault.home / "keys" / f"{agent}.key"
