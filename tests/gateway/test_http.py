"""The bare client: what it sends, when again, and that half a reply is never a whole one."""

from __future__ import annotations

import itertools
import json
import os
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary import _retry
from ostiary.gateway.errors import (
    ConfigurationError,
    GatewayArgumentError,
    GatewayConnectionLostError,
    GatewayDeadlineError,
    GatewayError,
    GatewayProtocolError,
    GatewaySizeLimitError,
    GatewayStateError,
    GatewayTransportError,
    GatewayUnavailableError,
    RateLimitError,
    SageSanctumError,
)
from ostiary.gateway.http import GatewayHttpClient, HttpResponse
from ostiary.secret import Secret
from tests.gateway.tokens import svid, trat
from tests.http.peer import Exchange, HttpPeer, Script, answer, head, lost, script, stall
from tests.transport.peer import Gone

CHAT = "/v1/chat/completions"
Peers = Callable[..., HttpPeer]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(_retry.random, "random", lambda: 0.0)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def peers(stack: ExitStack) -> Peers:
    """Make servers; each step answers one request, the last all others."""

    def make(*steps: Any, serve: Script | None = None, kind: str = "unix") -> HttpPeer:
        return stack.enter_context(HttpPeer(serve or script(*steps), kind))

    return make


@pytest.fixture
def to(stack: ExitStack) -> Callable[..., GatewayHttpClient]:
    """Make clients of a peer that end with the test."""

    def make(peer: HttpPeer, **options: Any) -> GatewayHttpClient:
        return stack.enter_context(GatewayHttpClient(peer.where, **options))

    return make


To = Callable[..., GatewayHttpClient]

GOOD = answer(200, b'{"ok": true}', [("Content-Type", "application/json"), ("X-Two", "a")])


# --- where to


def test_somewhere_has_to_be_named() -> None:
    with pytest.raises(GatewayError, match="socket_path, or host") as caught:
        GatewayHttpClient()
    assert caught.value.exit_code == 30
    with pytest.raises(GatewayArgumentError, match="not both"):
        GatewayHttpClient("/run/x.sock", "localhost")


@pytest.mark.parametrize(
    ("host", "port", "tls", "endpoint"),
    [
        ("gateway", 8080, None, "https://gateway:8080"),
        ("gateway", None, None, "https://gateway"),
        ("localhost", 8080, None, "http://localhost:8080"),
        ("localhost", None, None, "http://localhost"),
        ("127.0.0.1", 80, None, "http://127.0.0.1"),
        ("::1", 5, None, "http://[::1]:5"),
        ("localhost", None, True, "https://localhost"),
        ("10.0.0.1", 443, True, "https://10.0.0.1"),
    ],
)
def test_tcp_has_tls_but_on_this_machine(
    host: str, port: int | None, tls: bool | None, endpoint: str
) -> None:
    """The original sends both tokens in plain text to any host."""
    client = GatewayHttpClient(host=host, port=port, tls=tls)
    assert client.endpoint == endpoint
    assert not client.is_unix_socket
    assert client.host == host
    client.close()


@pytest.mark.parametrize("call", ["request", "request_stream", "health_check"])
def test_plain_text_stays_on_this_machine(call: str) -> None:
    for client in (
        GatewayHttpClient(host="gateway", port=8080, tls=False),
        GatewayHttpClient.from_endpoint("http://gateway:8080/v1"),
    ):
        with pytest.raises(ConfigurationError, match="plain http to gateway"):
            getattr(client, call)(*(() if call == "health_check" else ("GET", "/")))


@pytest.mark.parametrize(
    ("endpoint", "where", "socket", "host", "port"),
    [
        ("unix:///run/x.sock", "unix:///run/x.sock", "/run/x.sock", None, None),
        ("http+unix://%2Frun%2Fx.sock", "unix:///run/x.sock", "/run/x.sock", None, None),
        ("https://gw.example", "https://gw.example", None, "gw.example", 443),
        ("https://gw.example/v1", "https://gw.example", None, "gw.example", 443),
        (
            "https://gw.example:8443/llm/v1/",
            "https://gw.example:8443/llm",
            None,
            "gw.example",
            8443,
        ),
        ("http://localhost", "http://localhost", None, "localhost", 80),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080", None, "127.0.0.1", 8080),
        ("http://[::1]:9", "http://[::1]:9", None, "::1", 9),
    ],
)
def test_an_endpoint_keeps_scheme_port_and_path(
    endpoint: str, where: str, socket: str | None, host: str | None, port: int | None
) -> None:
    """The original drops all three."""
    client = GatewayHttpClient.from_endpoint(endpoint, 5, 1, 0.25)
    assert client.endpoint == where
    assert (client.socket_path, client.host, client.port) == (socket, host, port)
    assert client.is_unix_socket == (socket is not None)
    assert (client.timeout, client.max_retries, client.retry_backoff) == (5, 1, 0.25)
    assert repr(client) == f"GatewayHttpClient({where!r})"


@pytest.mark.parametrize(
    "options",
    [
        {"host": "a b"},
        {"host": "localhost", "port": 0},
        {"host": "localhost", "port": 99999},
        {"socket_path": "x" * 200},
        {"socket_path": "/x", "timeout": -1},
        {"socket_path": "/x", "max_retries": -1},
        {"socket_path": "/x", "retry_backoff": -1},
        {"socket_path": "/x", "ssl_context": object()},
    ],
)
def test_what_cannot_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(SageSanctumError) as caught:
        GatewayHttpClient(**options)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(GatewayArgumentError):
        GatewayHttpClient.from_endpoint("ftp://x")


# --- one request


def test_a_request_and_its_response(peers: Peers, to: To) -> None:
    peer = peers(GOOD)
    found = to(peer).request(
        "post",
        CHAT,
        headers={"Authorization": Secret(f"Bearer {svid()}"), "Txn-Token": "t", "X-Provider": "o"},
        body={"model": "gpt", "text": "caf\u00e9"},
    )
    assert found == HttpResponse(
        200,
        {"content-length": "12", "content-type": "application/json", "x-two": "a"},
        '{"ok": true}',
    )
    (asked,) = peer.asked
    assert (asked.method, asked.target) == ("POST", CHAT)
    assert asked.header("content-type") == "application/json"
    assert (asked.header("txn-token"), asked.header("x-provider")) == ("t", "o")
    assert json.loads(asked.body) == {"model": "gpt", "text": "caf\u00e9"}
    assert asked.header(
        "authorization",
    ).startswith("Bearer eyJ")  # type: ignore[union-attr]


def test_text_is_sent_as_it_is(peers: Peers, to: To) -> None:
    peer = peers(GOOD)
    to(peer).request("PUT", "/x", body="caf\u00e9")
    to(peer).request("GET", "/x")
    assert [asked.body for asked in peer.asked] == ["caf\u00e9".encode(), b""]
    assert all(asked.header("content-type") is None for asked in peer.asked)


@pytest.mark.parametrize("wrong", [5, b"bytes", ["x"], object()])
def test_other_bodies_are_our_error(peers: Peers, to: To, wrong: Any) -> None:
    with pytest.raises(GatewayArgumentError, match="text or an object"):
        to(peers(GOOD)).request("POST", "/x", body=wrong)
    with pytest.raises(GatewayArgumentError):
        to(peers(GOOD)).request("POST", "/x", body={"x": object()})


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET\r\nX: 1", "/", {}),
        ("GET", "/x\r\nX-Evil: 1", {}),
        ("GET", "/x", {"X-Provider": "openai\r\nX-Evil: 1"}),
        ("GET", "/x", {"X-Provider": "openai\nX-Evil: 1"}),
        ("GET", "/x", {"X\r\nY": "1"}),
        ("GET", "/x", {"Txn-Token": f"{trat()}\r\nX-Evil: 1"}),
        ("GET", "/x", {"Txn-Token": "\x00"}),
        ("GET", "/x", {"Host": "elsewhere"}),
        ("GET", "/x", {"Content-Length": "5"}),
        ("GET", "/x", {"Transfer-Encoding": "chunked"}),
        ("GET", "//elsewhere.example/x", {}),
        ("GET", "http://elsewhere.example/", {}),
        ("GET", "/a/../b", {}),
    ],
)
def test_nothing_can_be_injected(
    peers: Peers, to: To, method: str, path: str, headers: dict[str, str]
) -> None:
    """A line break in a token file or a model's provider begins no header here."""
    peer = peers(GOOD)
    client = to(peer)
    if path.startswith("//"):
        client.request(method, path, headers=headers)  # a path of this origin, as it stands
        assert peer.asked[0].target == path
        return
    with pytest.raises(GatewayArgumentError):
        client.request(method, path, headers=headers)
    with pytest.raises(GatewayArgumentError):
        next(client.request_stream(method, path, headers=headers))
    assert peer.asked == []


def test_one_connection_serves_many_requests(peers: Peers, to: To) -> None:
    """The original connects for every request and every retry."""
    peer = peers(GOOD)
    client = to(peer)
    for _ in range(5):
        client.request("GET", "/x")
    assert {asked.connection for asked in peer.asked} == {peer.asked[0].connection}
    assert client.open_connections == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced(peers: Peers, to: To) -> None:
    closed: queue.Queue[None] = queue.Queue()

    def once(exchange: Exchange) -> None:
        exchange.request()
        exchange.answer(200, b"x")
        exchange.link.close()
        closed.put(None)
        raise Gone

    peer = peers(serve=once)
    client = to(peer)
    for _ in range(3):
        assert client.request("POST", "/x", body="y").data == "x"
        closed.get(timeout=30)  # before the next is sent
    assert len(peer.asked) == 3


@pytest.mark.parametrize(
    "status", [200, 201, 204, 301, 304, 400, 401, 403, 404, 409, 413, 422, 500, 529]
)
def test_other_statuses_are_returned(peers: Peers, to: To, status: int) -> None:
    peer = peers(answer(status, b"" if status in {204, 304} else b"why"))
    assert to(peer).request("GET", "/x").status == status
    assert len(peer.asked) == 1


# --- whole replies alone


def body(exchange: Exchange, data: bytes, how: str, cuts: list[int]) -> None:
    """Send a body in pieces, framed in one of the ways HTTP has."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    if how == "chunked":
        exchange.raw(head(200, [("Transfer-Encoding", "chunked")]))
        for piece in filter(None, pieces):
            exchange.chunk(piece)
        exchange.raw(b"0\r\nX-Trailer: 1\r\n\r\n")
    elif how == "length":
        exchange.raw(head(200, [("Content-Length", str(len(data)))]))
        for piece in pieces:
            exchange.raw(piece)
    else:
        exchange.raw(head(200, [("Connection", "close")]))
        for piece in pieces:
            exchange.raw(piece)
        exchange.link.close()
        raise Gone


TEXTS = st.one_of(
    st.text(max_size=60),
    # What the original takes for the end of a chunked body.
    st.sampled_from(["0\r\n\r\n", "10\r\n\r\n", "x0\r\n", "data: 0\r\n\r\ndata: 1\n\n"]),
)


@settings(max_examples=25)
@given(
    text=TEXTS,
    how=st.sampled_from(["chunked", "length", "close"]),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
def test_a_body_is_the_same_however_it_is_framed_and_cut(
    text: str, how: str, cuts: list[int]
) -> None:
    """Chunks, trailers and replies without a length."""
    data = text.encode()

    def serve(exchange: Exchange) -> None:
        while True:
            exchange.request()
            body(exchange, data, how, cuts)

    with HttpPeer(serve, "unix") as peer, GatewayHttpClient(peer.where) as client:
        found = client.request("GET", "/x")
        assert found.data == text
        lines = list(client.request_stream("GET", "/x"))
        assert b"".join(lines) == data
        assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines[:-1])


@pytest.mark.parametrize(
    "sent",
    [
        answer(200, b"half", announced=40),
        head(200, [("Transfer-Encoding", "chunked")]) + b"4\r\nhal",
        head(200, [("Transfer-Encoding", "chunked")]) + b"4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"",
    ],
    ids=["short", "inside a chunk", "without the last", "inside the head", "nothing"],
)
@pytest.mark.parametrize("how", ["unary", "stream"])
def test_half_a_reply_is_an_error(peers: Peers, to: To, sent: bytes, how: str) -> None:
    """The original returns what has come as a success."""

    def cut(exchange: Exchange) -> None:
        exchange.raw(sent)
        exchange.link.close()
        raise Gone

    client = to(peers(cut), max_retries=0)
    with pytest.raises(GatewayTransportError) as caught:
        if how == "unary":
            client.request("POST", CHAT, body={})
        else:
            list(client.request_stream("POST", CHAT, body={}))
    assert caught.value.exit_code == 30
    assert caught.value.sent


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nxxxxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ],
    ids=["no HTTP", "no status", "negative", "two lengths", "both", "no size"],
)
def test_what_breaks_the_protocol_is_our_error(peers: Peers, to: To, raw: bytes) -> None:
    peer = peers(raw)
    with pytest.raises(GatewayProtocolError):
        to(peer).request("GET", "/x")
    assert len(peer.asked) == 1


def test_a_large_body_is_read_in_one_pass(peers: Peers, to: To) -> None:
    """The original joins all it has at each read; here the pieces are counted."""
    data = b"x" * (8 << 20)
    peer = peers(answer(200, data))
    client = to(peer)
    assert len(client.request("GET", "/x").data) == len(data)
    line = list(client.request_stream("GET", "/x"))
    assert [len(each) for each in line] == [len(data)]


def test_a_line_has_a_limit(peers: Peers, to: To) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.start_events()
        while True:
            exchange.chunk(b"x" * 65536)

    lines = to(peers(endless)).request_stream("GET", "/x")
    with pytest.raises(GatewaySizeLimitError, match="8388608 bytes"):
        next(lines)


# --- streams


def test_a_stream_is_its_lines(peers: Peers, to: To) -> None:
    text = 'data: {"a": 1}\n\n: comment\r\n\r\ndata: [DONE]\n\nrest'

    def serve(exchange: Exchange) -> None:
        exchange.start_events()
        for at in range(0, len(text), 3):  # an event lies across several chunks
            exchange.chunk(text[at : at + 3])
        exchange.end_chunks()

    peer = peers(serve)
    client = to(peer)
    lines = client.request_stream("POST", CHAT, {"Txn-Token": "t"}, {"stream": True})
    assert peer.asked == []  # nothing is sent before it is asked for
    assert list(lines) == text.encode().splitlines(keepends=True)
    (asked,) = peer.asked
    assert json.loads(asked.body) == {"stream": True}
    assert asked.header("txn-token") == "t"
    list(client.request_stream("POST", CHAT))
    assert {one.connection for one in peer.asked} == {asked.connection}


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        (401, GatewayError, 10),
        (403, GatewayError, 20),
        (500, GatewayError, 30),
        (429, RateLimitError, 31),
        (503, GatewayUnavailableError, 32),
        (204, GatewayError, 30),
    ],
)
def test_a_stream_that_is_refused(
    peers: Peers, to: To, status: int, kind: type[GatewayError], exit_code: int
) -> None:
    """By its framing, on a connection that stays open, and not by a timeout."""
    said = b"" if status == 204 else b'{"error": {"code": "no_entry", "message": "SECRET"}}'
    peer = peers(answer(status, said, [("X-Request-Id", "r-1"), ("Retry-After", "900")]))
    with pytest.raises(kind) as caught:
        next(to(peer, timeout=30).request_stream("POST", CHAT))
    error = caught.value
    assert (error.exit_code, error.status, error.request_id) == (exit_code, status, "r-1")
    assert error.code == (None if status == 204 else "no_entry")
    assert "SECRET" not in str(error)
    assert len(peer.asked) == 1


def test_leaving_a_stream_closes_its_connection(peers: Peers, to: To) -> None:
    gone = threading.Event()

    def serve(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk("data: 1\n\n")
        exchange.link.wait_gone()
        gone.set()

    client = to(peers(serve))
    lines = client.request_stream("GET", "/x")
    assert next(lines) == b"data: 1\n"
    lines.close()  # type: ignore[attr-defined]
    assert gone.wait(10)
    assert client.open_connections == 0


def test_a_silent_stream_ends_by_its_deadline(peers: Peers, to: To) -> None:
    def serve(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk("data: 1\n")
        exchange.link.stall()

    lines = to(peers(serve), timeout=1).request_stream("GET", "/x")
    assert next(lines) == b"data: 1\n"
    with pytest.raises(GatewayDeadlineError):
        next(lines)


# --- again


@pytest.mark.parametrize("status", [502, 503, 504])
def test_get_is_tried_again_and_the_last_response_returned(
    peers: Peers, to: To, status: int
) -> None:
    peer = peers(answer(status, b"busy"))
    found = to(peer, max_retries=2).request("GET", "/x")
    assert (found.status, found.data) == (status, "busy")
    assert len(peer.asked) == 3


@pytest.mark.parametrize("step", [answer(502), answer(503), answer(504), lost, stall])
def test_what_may_have_run_is_not_sent_twice(peers: Peers, to: To, step: Any) -> None:
    """One call of the original was billed four times after read timeouts."""
    peer = peers(step, GOOD)
    client = to(peer, timeout=1)
    if callable(step):
        with pytest.raises((GatewayDeadlineError, GatewayConnectionLostError)) as caught:
            client.request("POST", CHAT, body={})
        assert caught.value.sent
    else:
        assert client.request("POST", CHAT, body={}).status in {502, 503, 504}
    assert len(peer.asked) == 1


@pytest.mark.parametrize("step", [answer(503), lost])
def test_a_key_makes_a_repeat_harmless(peers: Peers, to: To, step: Any) -> None:
    peer = peers(step, GOOD)
    assert to(peer).request("POST", CHAT, body={}, idempotency_key=True).status == 200
    keys = {asked.header("idempotency-key") for asked in peer.asked}
    assert len(peer.asked) == 2
    assert len(keys) == 1
    assert None not in keys


def test_a_rate_limit_is_tried_again_and_then_raised(peers: Peers, to: To) -> None:
    peer = peers(answer(429), answer(429), GOOD)
    assert to(peer).request("POST", CHAT, body={}).status == 200
    assert len(peer.asked) == 3
    peer = peers(answer(429, b'{"error": {"code": "rate_limited"}}', [("Retry-After", "0")]))
    with pytest.raises(RateLimitError) as caught:
        to(peer, max_retries=1).request("POST", CHAT, body={})
    assert (caught.value.exit_code, caught.value.code) == (31, "rate_limited")
    assert caught.value.retry_after == 0
    assert len(peer.asked) == 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "tries"),
    [
        ("0", 4),
        ("900", 1),  # longer than the call may take: the caller's to decide
        ("99999999999", 1),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 1),
        ("Fri, 01 Jan 2010 00:00:00 GMT", 4),
        ("-5", 4),
        ("nan", 4),
        ("inf", 4),
        ("soon", 4),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(
    peers: Peers, to: To, status: int, asked: str, tries: int
) -> None:
    """Not followed without end, and neither `nan` nor a date makes a call fail."""
    peer = peers(answer(status, b"", [("Retry-After", asked)]))
    client = to(peer, retry_backoff=0.001)
    if status == 429:
        with pytest.raises(RateLimitError):
            client.request("GET", "/x")
    else:
        assert client.request("GET", "/x").status == 503
    assert len(peer.asked) == tries


def test_zero_retries_are_honoured(peers: Peers, to: To) -> None:
    peer = peers(answer(503))
    assert to(peer, max_retries=0).request("GET", "/x").status == 503
    assert len(peer.asked) == 1


def test_one_deadline_holds_for_all(peers: Peers, to: To) -> None:
    """Bytes that drip gain no time."""

    def drip(exchange: Exchange) -> None:
        exchange.link.drip(answer(200, b"x" * 500), 0.02)

    with pytest.raises(GatewayDeadlineError):
        to(peers(drip), timeout=0.2).request("GET", "/x")
    with pytest.raises(GatewayDeadlineError):
        to(peers(stall), timeout=30).request("GET", "/x", timeout=0.1)


def test_nobody_is_there(tmp_path: Path) -> None:
    with GatewayHttpClient(tmp_path / "no.sock", retry_backoff=0) as client:
        with pytest.raises(GatewayUnavailableError, match=r"no\.sock") as caught:
            client.request("POST", CHAT, body={})
        with pytest.raises(GatewayUnavailableError):
            next(client.request_stream("POST", CHAT))
    assert (caught.value.exit_code, caught.value.attempts) == (32, 4)


# --- health


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (204, False), (503, False)])
def test_health_is_a_200(peers: Peers, to: To, status: int, healthy: bool) -> None:
    peer = peers(answer(status))
    assert to(peer).health_check() is healthy
    assert to(peer).health_check({"Txn-Token": "t"}) is healthy
    first, second = peer.asked  # one attempt each
    assert (first.method, first.target) == ("GET", "/health")
    assert first.header("txn-token") is None
    assert second.header("txn-token") == "t"


def test_a_probe_does_not_wait(peers: Peers, to: To, tmp_path: Path) -> None:
    """The original takes 3.5 to 5 s to say that there is no socket."""
    with GatewayHttpClient(tmp_path / "no.sock") as client:
        assert client.health_check() is False
    for step in (stall, lost, b"garbage\r\n\r\n"):
        peer = peers(step)
        assert to(peer).health_check(timeout=1) is False
        assert len(peer.asked) == 1


# --- the rest


def test_sockets_are_closed(no_leaked_descriptors: None, tmp_path: Path) -> None:
    """Also when a connection cannot be made."""
    with HttpPeer(script(GOOD), "unix") as peer:
        for _ in range(3):
            with GatewayHttpClient(peer.where) as client:
                client.request("GET", "/x")
                client.health_check()
    client = GatewayHttpClient(tmp_path / "no.sock", max_retries=0)
    with client, pytest.raises(GatewayUnavailableError):
        client.request("GET", "/x")


def test_closed_is_closed(peers: Peers, to: To) -> None:
    client = to(peers(GOOD))
    client.request("GET", "/x")
    client.close()
    with pytest.raises(GatewayStateError):
        client.request("GET", "/x")


def test_a_server_of_somebody_else(peers: Peers, to: To) -> None:
    peer = peers(GOOD)
    with pytest.raises(GatewayUnavailableError):
        to(peer, expected_uid=os.geteuid() + 1, max_retries=0).request("GET", "/x")
    assert to(peer, expected_uid=os.geteuid()).request("GET", "/x").status == 200
    assert to(peer, expected_uid=os.geteuid() + 1).health_check() is False


def test_tls_is_verified(stack: ExitStack) -> None:
    """Https means TLS, by a certificate that somebody vouches for."""
    authority = pytest.importorskip("trustme").CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    peer = stack.enter_context(HttpPeer(script(GOOD), "tls", server_context=serving))
    port = peer.where[1]
    url = f"https://localhost:{port}/v1"
    with GatewayHttpClient.from_endpoint(url, max_retries=0) as client:
        with pytest.raises(GatewayUnavailableError):
            client.request("GET", "/x")
        assert client.health_check() is False
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with GatewayHttpClient.from_endpoint(url, ssl_context=trusting) as client:
        assert client.request("GET", "/x").status == 200
        assert client.health_check() is True
    wrong_name = GatewayHttpClient(
        host="127.0.0.1", port=port, tls=True, max_retries=0, ssl_context=trusting
    )
    with wrong_name, pytest.raises(GatewayUnavailableError):
        wrong_name.request("GET", "/x")
    assert [asked.target for asked in peer.asked] == ["/x", "/health"]


def test_many_threads_share_one_client(peers: Peers, to: To) -> None:
    client = to(peers(GOOD))
    found: list[int] = []

    def work() -> None:
        found.extend(client.request("GET", "/x").status for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 80
    assert client.open_connections <= 8
