"""Certificates and peers of every kind."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.transport.peer import Handler, Peer, echo

KINDS = ["unix", "tcp", "tls"]


@pytest.fixture(scope="session")
def authority() -> Any:
    """A certificate authority that only these tests trust."""
    return pytest.importorskip("trustme").CA()


@pytest.fixture(scope="session")
def server_context(authority: Any) -> ssl.SSLContext:
    """A server that is `localhost`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_context(authority: Any) -> ssl.SSLContext:
    """A client that trusts the authority and checks names."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def has_v6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def peers(request: pytest.FixtureRequest) -> Iterator[Callable[..., Peer]]:
    """Make peers that end with the test: `peers(handler, kind)`."""
    with ExitStack() as stack:

        def make(handler: Handler = echo, kind: str = "unix", **options: Any) -> Peer:
            if kind == "tcp6" and not has_v6():
                pytest.skip("this machine has no IPv6")
            if kind == "tls":
                options.setdefault("server_context", request.getfixturevalue("server_context"))
                options.setdefault("client_context", request.getfixturevalue("client_context"))
            return stack.enter_context(Peer(handler, kind, **options))

        yield make


@pytest.fixture(params=[*KINDS, "tcp6"])
def any_kind(request: pytest.FixtureRequest) -> str:
    """The same and TCP v6, which differs only until it is connected."""
    return str(request.param)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Every way to reach a peer."""
    return str(request.param)
