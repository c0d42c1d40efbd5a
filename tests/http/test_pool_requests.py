"""One request at a time through a pool: what is sent, what comes back, what is refused.

Every test runs on both colours and on both parsers, against a scripted peer.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ostiary._route import FailedReply, Route
from ostiary.config import Limits
from ostiary.errors import (
    APIError,
    AuthenticationError,
    ClientStateError,
    ConnectError,
    InvalidArgumentError,
    NotFoundError,
    OstiaryError,
    ProtocolError,
    ServerError,
    SizeLimitError,
    UnprocessableError,
    error_for_status,
)
from ostiary.secret import Secret
from tests.http.conftest import Driver
from tests.http.peer import Exchange, HttpPeer, answer, echo, head, script

Pools = Callable[..., Driver]
Peers = Callable[..., HttpPeer]


class Thing(msgspec.Struct):
    id: str
    count: int = 0


GET_THING = Route("GET", "/things/{id}", Thing)
FIND_THING = Route("GET", "/things/{id}", Thing, missing=True)
PUT_THING = Route("PUT", "/things/{id}", Thing)
MAKE_THING = Route("POST", "/things", Thing)
DROP_THING = Route("DELETE", "/things/{id}", None)
LIST_THINGS = Route("GET", "/things", list[Thing])


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- what is sent


def test_a_request_as_it_leaves(pools: Pools, peers: Peers, kind: str) -> None:
    peer = peers(echo, kind)
    pool = pools(peer)
    reply = pool.request("GET", "/a", query={"q": ["1", "b c"], "none": None, "yes": True})
    assert reply.status == 200
    assert reply.json()["target"] == "/a?q=1&q=b%20c&yes=true"
    (asked,) = peer.asked
    assert asked.header("host") == ("localhost" if kind == "unix" else peer.url()[7:])
    assert (asked.header("user-agent") or "").startswith("ostiary/")
    assert asked.header("accept") == "*/*"
    assert asked.header("content-length") is None
    assert asked.header("content-type") is None
    # Compressing pays over a network only.
    assert ("gzip" in (asked.header("accept-encoding") or "")) is (kind == "tcp")


def test_compression_can_be_turned(pools: Pools, peers: Peers, kind: str) -> None:
    peer = peers(echo, kind)
    pools(peer, compression=True).request("GET", "/")
    pools(peer, compression=False).request("GET", "/")
    asking, silent = peer.asked
    assert "gzip" in (asking.header("accept-encoding") or "")
    assert silent.header("accept-encoding") is None


def test_the_prefix_stands_before_every_path(pools: Pools, peers: Peers, kind: str) -> None:
    peer = peers(script(answer(200, '{"id":"x"}')), kind)
    pool = pools(peer, "/v1//deep/")
    pool.request("GET", "/a?b=1")
    pool.request("GET", b"/a")
    assert pool.call(GET_THING, "x") == Thing("x")
    assert pool.call(MAKE_THING, body=Thing("x")) == Thing("x")
    assert [one.target for one in peer.asked] == [
        "/v1//deep/a?b=1",
        "/v1//deep/a",
        "/v1//deep/things/x",
        "/v1//deep/things",
    ]


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/a", {}, "/a"),
        ("/a?", None, "/a?"),
        ("/a?b=1", {"c": 2}, "/a?b=1&c=2"),
        ("/a?b=..", {"c": None}, "/a?b=.."),
        ("/a", {"c": "/../"}, "/a?c=%2F..%2F"),
        ("//a", None, "//a"),
        ("/a/...", None, "/a/..."),
        ("/%41", None, "/%41"),
    ],
)
def test_targets(
    pools: Pools, peers: Peers, path: str, query: dict[str, Any] | None, target: str
) -> None:
    peer = peers()
    assert pools(peer).request("GET", path, query=query).json()["target"] == target


@pytest.mark.parametrize(
    "path",
    [
        *("", "a", "http://elsewhere/", "*", "?a", "/a b", "/a#b", "/ä", "/a\r\nX: y", "/a\0"),
        *("/../a", "/a/..", "/a/./b", "/.", "/%2e%2E/a", "/a/.%2e?b", "/..?a=b"),
        *(None, 7, ["/"], bytearray(b"/")),
    ],
)
def test_paths_that_are_refused(pools: Pools, peers: Peers, path: Any) -> None:
    peer = peers()
    pool = pools(peer)
    with pytest.raises(InvalidArgumentError):
        pool.request("GET", path)
    assert pool.request("GET", "/good").json()["target"] == "/good"
    assert len(peer.asked) == 1


@pytest.mark.parametrize("method", ["", "G T", "GET\r\n", "CONNECT", "connect", "ü", None, b"GET"])
def test_methods_that_are_refused(pools: Pools, peers: Peers, method: Any) -> None:
    peer = peers()
    with pytest.raises(InvalidArgumentError):
        pools(peer).request(method, "/")
    assert peer.asked == []


def test_a_method_is_sent_in_capitals(pools: Pools, peers: Peers) -> None:
    assert pools(peers()).request("patch", "/").json()["method"] == "PATCH"


@pytest.mark.parametrize(
    ("options", "body", "content_type"),
    [
        ({"json": {"a": [1, None]}}, '{"a":[1,null]}', "application/json"),
        ({"json": None}, "null", "application/json"),
        ({"json": Thing("x", 2)}, '{"id":"x","count":2}', "application/json"),
        ({"body": b"raw"}, "raw", None),
        ({"body": b""}, "", None),
        ({"body": bytearray(b"raw")}, "raw", None),
        ({"body": memoryview(b"raw")}, "raw", None),
        ({"json": 1, "headers": {"content-type": "a/b"}}, "1", "a/b"),
        ({"body": b"x", "headers": {"Content-Type": "a/b"}}, "x", "a/b"),
        ({}, "", None),
    ],
)
def test_bodies(
    pools: Pools, peers: Peers, options: dict[str, Any], body: str, content_type: str | None
) -> None:
    peer = peers()
    assert pools(peer).request("POST", "/", **options).json()["body"] == body
    (asked,) = peer.asked
    assert asked.header("content-length") == str(len(body))
    assert asked.header("content-type") == content_type


@pytest.mark.parametrize(
    "options",
    [
        {"json": 1, "body": b"1"},
        {"body": "text"},
        {"body": 5},
        {"json": object()},
        {"json": "\ud800"},
        {"json": Secret("hunter2")},
        {"json": {"k": Secret("hunter2")}},
        {"headers": ["a"]},
        {"headers": {"a": 1}},
        {"headers": {1: "a"}},
        {"headers": {"a b": "c"}},
        {"headers": {"a": "hunter2\r\nX: y"}},
        {"headers": {"a": " hunter2"}},
        {"headers": {"a": Secret(b"hunter2\n")}},
        {"headers": {"a": Secret(b"hunter2\xff")}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"headers": {"Host": "elsewhere"}},
        {"query": {"a": object()}},
        {"query": {1: "a"}},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "soon"},
        {"timeout": float("nan")},
        {"idempotency_key": ""},
        {"idempotency_key": 7},
        {"idempotency_key": "hunter2\n"},
        {"idempotency_key": "a", "headers": {"IDEMPOTENCY-KEY": "b"}},
    ],
)
def test_arguments_that_are_refused(pools: Pools, peers: Peers, options: dict[str, Any]) -> None:
    peer = peers()
    pool = pools(peer)
    with pytest.raises(InvalidArgumentError) as caught:
        pool.request("POST", "/", **options)
    assert "hunter2" not in str(caught.value)
    assert pool.request("POST", "/").status == 200
    assert len(peer.asked) == 1


def test_headers_by_precedence(pools: Pools, peers: Peers) -> None:
    peer = peers()
    pool = pools(
        peer,
        headers={"X-One": "pool", "X-Two": "pool", "X-Three": Secret("pool"), "accept": "a/b"},
        credentials=lambda: {"x-two": Secret("credentials"), "X-Four": "credentials"},
    )
    pool.request("GET", "/", headers={"x-one": "request", "X-TWO": "request"})
    pool.request("GET", "/")
    first, second = peer.asked
    names = ("x-one", "x-two", "x-three", "x-four", "accept")
    assert [first.header(name) for name in names] == [
        *("request", "credentials", "pool", "credentials", "a/b")
    ]
    assert [second.header(name) for name in names] == [
        *("pool", "credentials", "pool", "credentials", "a/b")
    ]


def test_a_user_agent_may_be_made_up_late(pools: Pools, peers: Peers) -> None:
    asked: list[None] = []

    def agent() -> str:
        asked.append(None)
        return "late/1"

    peer = peers()
    pool = pools(peer, user_agent=agent)
    assert asked == []
    pool.request("GET", "/")
    pool.request("GET", "/")
    assert [one.header("user-agent") for one in peer.asked] == ["late/1"] * 2
    assert len(asked) == 1
    pools(peer, user_agent="mine/2").request("GET", "/")
    assert peer.asked[-1].header("user-agent") == "mine/2"


def test_environment_proxies_are_never_used(
    pools: Pools, peers: Peers, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    trap = peers(echo, "tcp")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, trap.url())
        monkeypatch.setenv(name.upper(), trap.url())
    monkeypatch.delenv("no_proxy", raising=False)
    assert pools(peers(echo, kind)).request("GET", "/").status == 200
    assert trap.links == []


# --- what comes back


def test_a_response(pools: Pools, peers: Peers, kind: str) -> None:
    peer = peers(
        script(answer(201, '{"id":"x"}', [("X-Two", "a"), ("x-two", "b"), ("Empty", "")])), kind
    )
    reply = pools(peer).request("POST", "/")
    assert reply.status == 201
    assert reply.headers["X-TWO"] == "a, b"
    assert reply.headers["empty"] == ""
    assert reply.json(Thing) == Thing("x")
    assert reply.text() == '{"id":"x"}'
    assert reply.read() == b'{"id":"x"}'


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
def test_a_head_has_no_body(pools: Pools, peers: Peers, status: int) -> None:
    peer = peers(script(head(status, [("Content-Length", "1000")])))
    pool = pools(peer)
    for _ in range(2):
        reply = pool.request("HEAD", "/", check=False)
        assert (reply.status, reply.read()) == (status, b"")
    assert {one.connection for one in peer.asked} == {0}


@pytest.mark.parametrize("status", [204, 304])
def test_nothing_follows_some_statuses(pools: Pools, peers: Peers, status: int) -> None:
    pool = pools(peers(script(head(status, []))))
    for _ in range(2):
        assert pool.request("GET", "/").read() == b""


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 3_000_000])
def test_sizes_both_ways(pools: Pools, peers: Peers, size: int, kind: str) -> None:
    body = (b"0123456789" * (size // 10 + 1))[:size]

    def serve(exchange: Exchange) -> None:
        while True:
            exchange.answer(200, exchange.request().body)

    pool = pools(peers(serve, kind))
    for _ in range(2):
        assert pool.request("PUT", "/", body=body).read() == body


def test_a_large_body_outlives_the_next_ones(pools: Pools, peers: Peers) -> None:
    def serve(exchange: Exchange) -> None:
        while True:
            exchange.answer(200, exchange.request().body)

    pool = pools(peers(serve))
    sent = [bytes([65 + n]) * 50_000 for n in range(20)]
    kept = [pool.request("PUT", "/", body=one) for one in sent]
    assert [bytes(memoryview(one.body)) for one in kept] == sent


def test_a_compressed_body_is_undone(pools: Pools, peers: Peers, kind: str) -> None:
    body = b"<text>" * 50_000
    peer = peers(script(answer(200, gzip.compress(body), [("Content-Encoding", "gzip")])), kind)
    assert pools(peer).request("GET", "/").read() == body


def test_limits(pools: Pools, peers: Peers) -> None:
    peer = peers(
        script(
            answer(200, b"x" * 101),
            answer(200, gzip.compress(b"x" * 1001), [("Content-Encoding", "gzip")]),
            answer(200, b"", [("Long", "x" * 300)]),
            answer(200, b"x" * 100),
        )
    )
    pool = pools(peer, limits=Limits(body=100, decompressed_body=1000, head=300))
    for _ in range(3):
        with pytest.raises(SizeLimitError):
            pool.request("GET", "/")
    assert len(peer.asked) == 3, "a peer that sends too much is not asked again"
    assert len(pool.request("GET", "/").read()) == 100


# --- what is refused


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 409, 410, 413, 418, 422, 423, 500, 501]
)
def test_every_refusal_has_its_class(pools: Pools, peers: Peers, status: int) -> None:
    body = json.dumps({"code": "NO_WAY", "message": "hunter2"})
    peer = peers(script(answer(status, body, [("X-Request-Id", "r-7"), ("Retry-After", "11")])))
    with pytest.raises(error_for_status(status)) as caught:
        pools(peer).request("GET", "/a/b?token=hunter2", query={"key": "hunter2"})
    error: Any = caught.value
    assert type(error) is error_for_status(status)
    assert (error.status, error.code, error.request_id, error.retry_after) == (
        *(status, "NO_WAY", "r-7", 11.0),
    )
    assert error.body == body.encode()
    assert f"GET /a/b was refused with status {status} (NO_WAY)" in str(error)
    assert "hunter2" not in repr(error) + str(error)
    assert len(peer.asked) == 1


def test_a_long_refusal_is_cut(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(script(answer(500, b"x" * 200_000), answer(200, b"y"))))
    with pytest.raises(ServerError) as caught:
        pool.request("GET", "/")
    assert caught.value.body == b"x" * 65_536
    assert pool.request("GET", "/").read() == b"y"


def test_unchecked_every_status_returns(pools: Pools, peers: Peers) -> None:
    statuses = [200, 301, 304, 400, 404, 500, 599]
    pool = pools(peers(script(*(answer(status) for status in statuses if status != 304))))
    for status in statuses:
        if status != 304:
            assert pool.request("GET", "/", check=False).status == status


@pytest.mark.parametrize(
    ("locations", "said"),
    [
        (["https://elsewhere.example/hunter2?hunter2#hunter2"], "https://elsewhere.example;"),
        (["https://user:hunter2@elsewhere.example/"], "https://elsewhere.example;"),
        (["/hunter2"], "another path of "),
        ([], "no single place"),
        (["https://a.example/", "https://b.example/"], "no single place"),
        (["https://h\xe4\xfchunter2/"], "cannot be read"),
        (["https://" + "hunter2." * 5000], "cannot be read"),
    ],
    ids=lambda value: str(value)[:50],
)
@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_names_an_origin_alone(
    pools: Pools, peers: Peers, status: int, locations: list[str], said: str
) -> None:
    peer = peers(script(answer(status, b"", [("Location", one) for one in locations])))
    with pytest.raises(APIError) as caught:
        pools(peer, headers={"Authorization": "Bearer hunter2"}).request("GET", "/a?hunter2")
    error = caught.value
    assert type(error) is APIError
    assert error.status == status
    assert said in str(error)
    assert "hunter2" not in str(error)
    assert len(peer.asked) == 1, "it was followed"


@pytest.mark.parametrize("status", [300, 302, 303, 305, 308, 399])
def test_no_redirect_is_followed(pools: Pools, peers: Peers, status: int) -> None:
    elsewhere = peers(echo, "tcp")
    peer = peers(script(answer(status, b"", [("Location", elsewhere.url("/x"))])))
    pool = pools(peer)
    with pytest.raises(APIError, match=elsewhere.url()):
        pool.request("GET", "/")
    with pytest.raises(APIError, match=elsewhere.url()):
        pool.call(GET_THING, "x")
    assert elsewhere.links == []


# --- calls


def test_a_call_both_ways(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(200, '{"id":"x","count":3,"unknown":[]}')))
    pool = pools(peer)
    assert pool.call(GET_THING, "a/b c") == Thing("x", 3)
    assert pool.call(PUT_THING, 7, body=Thing("x"), query={"v": 1}) == Thing("x", 3)
    assert pool.call(MAKE_THING, body={"id": "x"}, headers={"X-A": "b"}) == Thing("x", 3)
    got, put, made = peer.asked
    assert (got.method, got.target, got.body) == ("GET", "/things/a%2Fb%20c", b"")
    assert (put.method, put.target, put.body) == ("PUT", "/things/7?v=1", b'{"id":"x","count":0}')
    assert (made.method, made.target, made.body) == ("POST", "/things", b'{"id":"x"}')
    assert [one.header("content-type") for one in peer.asked] == [
        *(None, "application/json", "application/json")
    ]
    assert {one.header("accept") for one in peer.asked} == {"application/json"}
    assert made.header("x-a") == "b"


@pytest.mark.parametrize("identifier", ["", ".", "..", "\ud800", None, 1.5, b"x"])
def test_ids_that_are_refused(pools: Pools, peers: Peers, identifier: Any) -> None:
    peer = peers()
    with pytest.raises(InvalidArgumentError):
        pools(peer).call(GET_THING, identifier)
    assert peer.asked == []


def test_ids_are_counted(pools: Pools, peers: Peers) -> None:
    pool = pools(peers())
    for ids in ((), ("a", "b")):
        with pytest.raises(InvalidArgumentError, match="takes 1 values"):
            pool.call(GET_THING, *ids)
    with pytest.raises(InvalidArgumentError, match="takes 0 values"):
        pool.call(LIST_THINGS, "a")


@pytest.mark.parametrize("reply", [head(204, []), answer(200, b"<html>"), answer(202, b"{}")])
def test_a_reply_nobody_reads(pools: Pools, peers: Peers, reply: bytes) -> None:
    pool = pools(peers(script(reply)))
    for _ in range(2):
        assert pool.call(DROP_THING, "x") is None


def test_missing(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(script(answer(404, b"nothing"), answer(200, '{"id":"x"}'), answer(404))))
    assert pool.call(FIND_THING, "x") is None
    assert pool.call(FIND_THING, "x") == Thing("x")
    with pytest.raises(NotFoundError):
        pool.call(GET_THING, "x")


@pytest.mark.parametrize("status", [400, 405, 410, 500])
def test_missing_is_404_alone(pools: Pools, peers: Peers, status: int) -> None:
    with pytest.raises(APIError):
        pools(peers(script(answer(status)))).call(FIND_THING, "x")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("null", "Expected `object`, got `null`"),
        ('{"id":7}', "Expected `str`, got `int` - at `$.id`"),
        ('{"count":1}', "missing required field `id`"),
        ('["hunter2"]', "Expected `object`, got `array`"),
        ('"hunter2"', "Expected `object`, got `str`"),
        ("", "has no body"),
        ("hunter2", "not JSON"),
        ('{"id":"hunter2', "not JSON"),
        (b'{"id":"hunter2\xff"}', "not JSON"),
        ('{"id":"hunter2"} hunter2', "not JSON"),
        ('{"x":' + "[" * 100_000, "not JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_reply_of_the_wrong_shape(pools: Pools, peers: Peers, body: str, said: str) -> None:
    peer = peers(script(answer(200, body), answer(200, '{"id":"x"}')))
    pool = pools(peer)
    with pytest.raises(ProtocolError) as caught:
        pool.call(GET_THING, "x")
    assert said in str(caught.value)
    assert "GET /things/{id}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert caught.value.sent
    assert pool.call(GET_THING, "x") == Thing("x")
    assert {one.connection for one in peer.asked} == {0}, "the connection was good"


def test_a_304_is_no_reply_to_a_call(pools: Pools, peers: Peers) -> None:
    with pytest.raises(APIError, match="304"):
        pools(peers(script(head(304, [])))).call(GET_THING, "x")


class HouseError(OstiaryError):
    pass


class HouseNotFound(HouseError, NotFoundError):
    pass


class HouseAPIError(HouseError, APIError):
    pass


class HouseConnect(HouseError, ConnectError):
    pass


class HouseProtocol(HouseError, ProtocolError):
    pass


class HouseArgument(HouseError, InvalidArgumentError):
    pass


class HouseState(HouseError, ClientStateError):
    pass


FAMILY: dict[type[OstiaryError], type[OstiaryError]] = {
    NotFoundError: HouseNotFound,
    APIError: HouseAPIError,
    ConnectError: HouseConnect,
    ProtocolError: HouseProtocol,
    InvalidArgumentError: HouseArgument,
    ClientStateError: HouseState,
}


def test_every_error_is_of_the_family(pools: Pools, peers: Peers) -> None:
    peer = peers(
        script(
            *(answer(404, '{"code":"X"}'), answer(422), answer(302), answer(200, "null")),
            *(b"HTTP/3 200\r\n\r\n", answer(200, "x", announced=2)),
        )
    )
    pool = pools(peer, family=FAMILY, max_retries=0)
    with pytest.raises(HouseNotFound) as caught:
        pool.call(GET_THING, "x")
    assert caught.value.code == "X"
    assert caught.value.body == b'{"code":"X"}'
    with pytest.raises(HouseAPIError) as refused:
        pool.call(GET_THING, "x")
    assert refused.value.status == 422
    with pytest.raises(HouseAPIError):
        pool.request("GET", "/")
    for _ in range(2):
        with pytest.raises(HouseProtocol):
            pool.call(GET_THING, "x")
    with pytest.raises(HouseArgument):
        pool.call(GET_THING, "..")
    with pytest.raises(HouseArgument):
        pool.request("GET", "..")
    with pytest.raises(HouseArgument):
        pool.stream("GET", "..")
    with pytest.raises(HouseArgument):
        pool.events("GET", "..")
    with pytest.raises(HouseArgument):
        pool.call_events(GET_THING, "..")
    with pytest.raises(HouseConnect):
        pools("unix:///nowhere/at/all", family=FAMILY, max_retries=0).request("GET", "/")
    pool.close()
    with pytest.raises(HouseState):
        pool.request("GET", "/")


def test_a_route_makes_its_own_errors(pools: Pools, peers: Peers) -> None:
    told: list[FailedReply] = []

    def fail(reply: FailedReply) -> OstiaryError:
        told.append(reply)
        return HouseNotFound("mine", status=reply.status, request_id=reply.request_id)

    route = Route("GET", "/things/{id}", Thing, fail=fail)
    peer = peers(
        script(answer(400, b"hunter2", [("X-Request-ID", "r"), ("Retry-After", "3"), ("A", "b")]))
    )
    with pytest.raises(HouseNotFound, match="mine") as caught:
        pools(peer, family=FAMILY).call(route, "x")
    assert (caught.value.status, caught.value.request_id) == (400, "r")
    (reply,) = told
    assert (reply.status, reply.body, reply.retry_after) == (400, b"hunter2", 3.0)
    assert reply.headers["a"] == "b"
    assert reply.endpoint == "GET /things/{id}"
    assert "hunter2" not in repr(reply)


def test_a_route_may_decode_for_itself(pools: Pools, peers: Peers) -> None:
    route: Route[int] = Route("GET", "/", int, decode=lambda data: len(bytes(data)))
    assert pools(peers(script(answer(200, b"<html>")))).call(route) == 6


# --- where to


def test_over_tls(pools: Pools, peers: Peers, request: pytest.FixtureRequest, colour: str) -> None:
    trustme = pytest.importorskip("trustme")
    import ssl

    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    peer = peers(echo, "tls", server_context=server, client_context=client)
    assert pools(peer).request("POST", "/", body=b"x" * 100_000).json()["method"] == "POST"
    # Who is not trusted gets nothing, the key least of all.
    stranger = pools(peer.url(), headers={"Authorization": "Bearer hunter2"}, max_retries=0)
    with pytest.raises(ConnectError):
        stranger.request("GET", "/")
    assert [one.header("authorization") for one in peer.asked] == [None]


def test_a_tls_context_needs_https(pools: Pools) -> None:
    import ssl

    for url in ("http://localhost", "unix:///run/s"):
        with pytest.raises(InvalidArgumentError, match="https"):
            pools(url, ssl_context=ssl.create_default_context())


def test_a_stranger_on_a_socket(pools: Pools, peers: Peers) -> None:
    peer = peers()
    assert pools(peer, expected_uid=os.getuid()).request("GET", "/").status == 200
    with pytest.raises(ConnectError):
        pools(peer, expected_uid=os.getuid() + 1, max_retries=0).request("GET", "/")
    assert len(peer.asked) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"a b": "c"}},
        {"headers": {"Authorization": "Bearer hunter2\n"}},
        {"headers": {"Authorization": b"Bearer hunter2"}},
        {"headers": {"X-Key": Secret("hunter2\n")}},
        {"headers": "hunter2"},
        {"headers": {"Host": "h"}},
        {"credentials": {"Authorization": "hunter2"}},
        {"user_agent": "a\r\nb"},
        {"user_agent": 7},
        {"timeout": 0},
        {"timeout": "hunter2"[:0]},
        {"idle_timeout": -1},
        {"total_timeout": 0},
        {"pool_timeout": 0},
        {"idle_expiry": 0},
        {"max_retries": -1},
        {"max_retries": True},
        {"max_connections": 0},
        {"max_idle": -1},
        {"max_idle": 1.5},
        {"limits": 5},
        {"parser": "lenient"},
        {"expected_uid": -1},
        {"on_request": 5},
        {"on_retry": "x"},
    ],
    ids=str,
)
def test_settings_that_are_refused(pools: Pools, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        pools("http://localhost", **options)
    assert "hunter2" not in str(caught.value)


def test_a_hook_that_would_have_to_be_awaited(pools: Pools) -> None:
    async def hook(info: object) -> None:
        raise AssertionError

    with pytest.raises(InvalidArgumentError, match="plain function"):
        pools("http://localhost", on_response=hook)


def test_the_parser_comes_from_the_environment(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTIARY_HTTP_PARSER", "h11")
    assert pools("http://h", parser=None).raw.settings.parser == "h11"
    assert pools("http://h", parser="strict").raw.settings.parser == "strict"
    monkeypatch.setenv("OSTIARY_HTTP_PARSER", "hunter2")
    with pytest.raises(InvalidArgumentError, match="OSTIARY_HTTP_PARSER") as caught:
        pools("http://h", parser=None)
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("OSTIARY_HTTP_PARSER")
    assert pools("http://h", parser=None).raw.settings.parser == "strict"


def test_a_reply_that_is_refused_by_rule(pools: Pools, peers: Peers) -> None:
    peer = peers(script(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"))
    with pytest.raises(ProtocolError) as caught:
        pools(peer).request("GET", "/")
    assert caught.value.rule is not None
    assert len(peer.asked) == 1


def test_names_of_classes_are_public() -> None:
    import ostiary.http

    for name in ostiary.http.__all__:
        assert getattr(ostiary.http, name) is not None
    assert {AuthenticationError, UnprocessableError} <= set(APIError.__subclasses__())
