"""A name that is dialled at another address: who is asked for, and who must answer."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from ostiary.config import TcpAddress
from ostiary.errors import ConnectError, InvalidArgumentError
from ostiary.http import Pool
from tests.http.peer import HttpPeer, echo

Pools = Callable[..., Any]
Peers = Callable[..., HttpPeer]


def test_the_name_stays_and_the_address_is_another(pools: Pools, peers: Peers) -> None:
    peer = peers(echo, "tcp")
    host, port = peer.where
    pool = pools("http://service.example/v1", connect_to=f"{host}:{port}")
    assert pool.request("GET", "/x").status == 200
    (asked,) = peer.asked
    assert asked.header("host") == "service.example"
    assert pool.raw.base_url == "http://service.example/v1"


def test_the_certificate_is_of_the_name(pools: Pools, peers: Peers) -> None:
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("service.example").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    peer = peers(echo, "tls", server_context=server)
    where = peer.where
    named = pools("https://service.example", connect_to=where, ssl_context=client)
    assert named.request("GET", "/").status == 200
    other = pools("https://another.example", connect_to=where, ssl_context=client, max_retries=0)
    with pytest.raises(ConnectError, match="certificate"):
        other.request("GET", "/")
    assert len(peer.asked) == 1


def test_a_port_left_out_is_the_url_s() -> None:
    with Pool("https://service.example:8443", connect_to="127.0.0.1") as pool:
        found = pool.settings.connect_to
        assert found == TcpAddress("127.0.0.1", 8443, True, "service.example")
        assert pickle.loads(pickle.dumps(pool)).settings.connect_to == found


@pytest.mark.parametrize("where", ["unix:///run/s", "tls://127.0.0.1:1", "/run/s", ":80"])
def test_what_is_no_host_is_refused(where: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Pool("https://service.example", connect_to=where)


def test_a_socket_has_no_name_to_keep() -> None:
    with pytest.raises(InvalidArgumentError, match="Unix socket"):
        Pool("unix:///run/s", connect_to="127.0.0.1:80")
