"""Responses read as they come, and event streams, through pools of both colours."""

from __future__ import annotations

import contextlib
import gc
import gzip
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ostiary._route import Route
from ostiary._wire.sse import EventDecoder
from ostiary.config import Limits
from ostiary.errors import (
    APIError,
    ClientStateError,
    ConnectionLostError,
    DeadlineError,
    InvalidArgumentError,
    NotFoundError,
    OstiaryError,
    ProtocolError,
    RateLimitError,
    SizeLimitError,
    UnavailableError,
)
from ostiary.http import ResponseInfo
from tests.frames import recorded
from tests.http.conftest import COLOURS, Driver
from tests.http.peer import Exchange, HttpPeer, answer, head, lost, script

Pools = Callable[..., Driver]
Peers = Callable[..., HttpPeer]


pytestmark = pytest.mark.parametrize("colour", [*COLOURS, "uvloop"], indirect=True)


class Token(msgspec.Struct):
    n: int
    text: str = ""


TOKENS: Route[Token] = Route("POST", "/tokens/{id}", Token)
PLAIN: Route[None] = Route("GET", "/plain", None)


def chunks(*pieces: bytes, end: bool = True, headers: Any = ()) -> Callable[[Exchange], None]:
    """Answer with these pieces, one chunk each; then end, or hold on until the client goes."""

    def serve(exchange: Exchange) -> None:
        exchange.raw(head(200, [("Transfer-Encoding", "chunked"), *headers]))
        for piece in pieces:
            exchange.chunk(piece)
        if end:
            exchange.end_chunks()
        else:
            exchange.link.wait_gone()

    return serve


def events(*texts: str, end: bool = True, **options: Any) -> Callable[[Exchange], None]:
    kind = [("Content-Type", "text/event-stream")]
    return chunks(*(one.encode() for one in texts), end=end, headers=kind, **options)


def gone(peer: HttpPeer) -> None:
    """Wait until the peer has seen every connection go; the suite's own timeout bounds it."""
    for link in peer.links:
        while link.sock.fileno() >= 0:
            time.sleep(0.001)


# --- bodies


def test_pieces_come_as_they_are_sent(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(script(chunks(b"one", b"two" * 1000, b"three"))))
    for _ in range(2):
        with pool.stream("GET", "/") as stream:
            assert stream.status == 200
            assert stream.headers["transfer-encoding"] == "chunked"
            assert b"".join(stream) == b"one" + b"two" * 1000 + b"three"
            assert stream.closed
            assert list(stream) == []


def test_the_first_piece_is_there_before_the_last(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(script(chunks(b"one", end=False))))
    with pool.stream("GET", "/") as stream:
        assert bytes(next(stream)) == b"one"
        assert not stream.closed
    assert stream.closed


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_the_rest_at_once(pools: Pools, peers: Peers, size: int) -> None:
    body = b"0123456789" * (size // 10)
    peer = peers(script(answer(200, body)))
    pool = pools(peer)
    for _ in range(2):
        with pool.stream("GET", "/") as stream:
            assert stream.read() == body
            assert stream.read() == b""
    assert {one.connection for one in peer.asked} == {0}


def test_read_is_limited(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(200, b"x" * 1000)))
    pool = pools(peer, limits=Limits(decompressed_body=500))
    with pool.stream("GET", "/") as stream:
        assert len(stream.read(1000)) == 1000
    for limit in ((), (999,)):
        with pool.stream("GET", "/") as stream, pytest.raises(SizeLimitError):
            stream.read(*limit)
        assert stream.closed


def test_a_stream_is_longer_than_any_limit_of_a_body(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(script(chunks(*[b"x" * 1000] * 100))), limits=Limits(body=10))
    with pool.stream("GET", "/") as stream:
        assert sum(len(piece) for piece in stream) == 100_000


def test_a_compressed_stream_is_undone(pools: Pools, peers: Peers) -> None:
    whole = gzip.compress(b"<text>" * 50_000)
    halves = whole[: len(whole) // 2], whole[len(whole) // 2 :]
    pool = pools(peers(script(chunks(*halves, headers=[("Content-Encoding", "gzip")]))))
    with pool.stream("GET", "/") as stream:
        assert b"".join(stream) == b"<text>" * 50_000


def test_closed_early_the_connection_goes_at_once(pools: Pools, peers: Peers) -> None:
    peer = peers(script(chunks(b"one", end=False)))
    pool = pools(peer)
    stream = pool.stream("GET", "/")
    assert pool.raw.open_connections == 1
    stream.close()
    stream.close()
    gone(peer)
    assert pool.raw.open_connections == 0


def test_forgotten_the_connection_goes_too(pools: Pools, peers: Peers) -> None:
    peer = peers(script(chunks(b"one", end=False)))
    pool = pools(peer)
    stream = pool.stream("GET", "/")
    del stream
    gc.collect()
    gone(peer)
    assert pool.raw.open_connections == 0


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_refusal_is_read_and_raised(pools: Pools, peers: Peers, status: int) -> None:
    peer = peers(script(answer(status, '{"code":"X"}')))
    pool = pools(peer)
    for _ in range(2):
        with pytest.raises(APIError) as caught:
            pool.stream("GET", "/")
        assert (caught.value.status, caught.value.code) == (status, "X")
    assert {one.connection for one in peer.asked} == {0}
    with pool.stream("GET", "/", check=False) as stream:
        assert stream.status == status
        assert stream.read() == b'{"code":"X"}'


def test_an_endless_refusal_is_cut(pools: Pools, peers: Peers) -> None:
    def pour(exchange: Exchange) -> None:
        exchange.raw(head(404, [("Transfer-Encoding", "chunked")]))
        while True:
            exchange.chunk(b"x" * 10_000)

    peer = peers(script(pour))
    with pytest.raises(NotFoundError) as caught:
        pools(peer).stream("GET", "/")
    assert caught.value.body == b"x" * 65_536
    gone(peer)


def test_a_refusal_that_breaks_off_is_still_one(pools: Pools, peers: Peers) -> None:
    def half(exchange: Exchange) -> None:
        exchange.answer(404, b"half", announced=100)
        lost(exchange)

    with pytest.raises(NotFoundError) as caught:
        pools(peers(script(half))).stream("GET", "/")
    assert caught.value.body == b"half"


def test_a_silent_refusal_costs_no_more_than_the_call(pools: Pools, peers: Peers) -> None:
    def half(exchange: Exchange) -> None:
        exchange.answer(404, b"half", announced=100)
        exchange.link.wait_gone()

    began = time.monotonic()
    with pytest.raises(NotFoundError):
        pools(peers(script(half))).stream("GET", "/", timeout=0.05)
    assert time.monotonic() - began < 8


def test_a_stream_is_opened_again_until_its_head_has_come(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(503, b"x" * 100), lost, chunks(b"good")))
    with pools(peer).stream("GET", "/") as stream:
        assert stream.read() == b"good"
    assert len(peer.asked) == 3


def test_unchecked_it_is_opened_again_too(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(503, b"x" * 100), answer(503, b"last")))
    with pools(peer, max_retries=1).stream("GET", "/", check=False) as stream:
        assert (stream.status, stream.read()) == (503, b"last")
    assert len(peer.asked) == 2


def test_what_is_opened_again_was_closed_first(pools: Pools, peers: Peers) -> None:
    def half(exchange: Exchange) -> None:
        exchange.answer(503, b"half", announced=100)
        exchange.link.wait_gone()

    open_ones: list[int] = []
    pool = pools(
        peers(script(half, answer(200))),
        on_retry=lambda info: open_ones.append(pool.raw.open_connections),
    )
    with pool.stream("GET", "/", check=False) as stream:
        assert stream.status == 200
    assert open_ones == [0]


def test_and_never_after(pools: Pools, peers: Peers) -> None:
    def half(exchange: Exchange) -> None:
        exchange.answer(200, b"half", announced=100)
        lost(exchange)

    peer = peers(script(half))
    with pools(peer).stream("GET", "/") as stream, pytest.raises(ConnectionLostError) as caught:
        stream.read()
    assert caught.value.sent
    assert stream.closed
    assert len(peer.asked) == 1


def test_the_timeout_ends_with_the_head(pools: Pools, peers: Peers) -> None:
    def late(exchange: Exchange) -> None:
        exchange.raw(head(200, [("Content-Length", "4")]))
        exchange.link.stall(0.15)
        exchange.raw(b"late")

    with pools(peers(script(late))).stream("GET", "/", timeout=0.1) as stream:
        assert stream.read() == b"late"


@pytest.mark.parametrize("option", ["idle_timeout", "total_timeout"])
@pytest.mark.parametrize("of", ["pool", "call"])
def test_times_of_a_stream(pools: Pools, peers: Peers, option: str, of: str) -> None:
    peer = peers(script(chunks(b"one", end=False)))
    given = {option: 0.05}
    pool = pools(peer, **given if of == "pool" else {})
    with pool.stream("GET", "/", **given if of == "call" else {}) as stream:
        assert bytes(next(stream)) == b"one"
        with pytest.raises(DeadlineError) as caught:
            next(stream)
        assert caught.value.sent
        assert stream.closed
    gone(peer)


def test_the_total_bounds_the_head_as_well(pools: Pools, peers: Peers) -> None:
    peer = peers(script(lambda exchange: exchange.link.wait_gone()))
    pool = pools(peer)
    for open_one in (pool.stream, pool.events):
        with pytest.raises(DeadlineError):
            open_one("GET", "/", total_timeout=0.05)


@pytest.mark.parametrize("option", ["timeout", "idle_timeout", "total_timeout"])
def test_times_that_are_refused(pools: Pools, peers: Peers, option: str) -> None:
    peer = peers()
    pool = pools(peer)
    for open_one in (pool.stream, pool.events):
        with pytest.raises(InvalidArgumentError):
            open_one("GET", "/", **{option: 0})
    assert pool.raw.open_connections == 0


def test_hooks_hear_of_the_head(pools: Pools, peers: Peers) -> None:
    told: list[ResponseInfo] = []
    pool = pools(peers(script(chunks(b"x" * 1000))), on_response=told.append)
    with pool.stream("GET", "/a?b"):
        (info,) = told
    assert (info.path, info.status, info.bytes) == ("/a", 200, None)


def test_what_a_stream_shows(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(200, b"hunter2"), chunks(end=False)))
    pool = pools(peer)
    with pool.stream("GET", "/") as stream:
        assert stream.informational == ()
        stream.read()
        assert len(stream.trailers) == 0
        assert "200, closed" in repr(stream.raw)
    with pool.stream("GET", "/") as stream:
        assert "200, open" in repr(stream.raw)


# --- events


def test_events_as_text(pools: Pools, peers: Peers) -> None:
    said = "event: a\nid: 1\ndata: one\ndata: more\n\n: beat\n\ndata: two\nretry: 30\n\ndata: cut"
    peer = peers(script(events(said)))
    pool = pools(peer)
    with pool.events("GET", "/", last_event_id="0") as stream:
        first, second = stream
        assert (first.event, first.data, first.id) == ("a", "one\nmore", "1")
        assert (second.event, second.data, second.id, second.retry) == ("message", "two", "1", 30)
        assert (stream.last_event_id, stream.retry, stream.comments) == ("1", 30, 1)
        assert stream.status == 200
        assert stream.closed
    (asked,) = peer.asked
    assert asked.header("accept") == "text/event-stream"
    assert asked.header("last-event-id") == "0"
    assert asked.header("accept-encoding") is None


def test_events_as_structs(pools: Pools, peers: Peers) -> None:
    peer = peers(
        script(events('data: {"n":1,"text":"a"}\n\n', 'data: {"n":2}\n\n', "data: END\n\n"))
    )
    pool = pools(peer)
    expected = [Token(1, "a"), Token(2)]
    with pool.events("POST", "/", type=Token, terminator=b"END", json={"a": 1}) as stream:
        assert [one.data for one in stream] == expected
        assert stream.done
    with pool.call_events(
        TOKENS, "a/b", body={"a": 1}, terminator=b"END", query={"q": 1}
    ) as stream:
        assert [one.data for one in stream] == expected
    asked, called = peer.asked
    assert asked.body == called.body == b'{"a":1}'
    assert called.target == "/tokens/a%2Fb?q=1"
    assert called.header("accept") == "text/event-stream"
    assert called.header("content-type") == "application/json"


def test_events_of_a_route_without_a_type_are_text(pools: Pools, peers: Peers) -> None:
    with pools(peers(script(events("data: x\n\n")))).call_events(PLAIN) as stream:
        assert [one.data for one in stream] == ["x"]


def test_a_decoder_of_ones_own(pools: Pools, peers: Peers) -> None:
    decoder = EventDecoder(decode=lambda data: len(bytes(data)))
    with pools(peers(script(events("data: abc\n\n", "data: cut")))).call_events(
        TOKENS, "x", decoder=decoder
    ) as stream:
        assert [one.data for one in stream] == [3]
    assert [one.data for one in decoder.feed(b"\n\n")] == [3]


def test_a_stream_without_its_end_mark(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(script(events('data: {"n":1}\n\n'))))
    with pool.events("GET", "/", type=Token, terminator=b"[DONE]") as stream:
        assert next(stream).data == Token(1)
        with pytest.raises(ConnectionLostError):
            next(stream)
        assert not stream.done


@pytest.mark.parametrize("terminator", [None, b"[DONE]"])
def test_a_stream_that_breaks_off(pools: Pools, peers: Peers, terminator: bytes | None) -> None:
    def half(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk("data: one\n\n")
        lost(exchange)

    peer = peers(script(half))
    with pools(peer).events("GET", "/", terminator=terminator) as stream:
        assert next(stream).data == "one"
        with pytest.raises(ConnectionLostError):
            next(stream)
    assert len(peer.asked) == 1, "what an event has come of is not asked again"


def test_events_are_asked_for_again_until_the_head(pools: Pools, peers: Peers) -> None:
    peer = peers(script(answer(429), lost, answer(503), events("data: good\n\n")))
    with pools(peer).events("GET", "/") as stream:
        assert [one.data for one in stream] == ["good"]
    assert len(peer.asked) == 4
    # A post that may have run is not.
    peer = peers(script(answer(503), events("data: good\n\n")))
    with pytest.raises(UnavailableError):
        pools(peer).call_events(TOKENS, "x")
    assert len(peer.asked) == 1


@pytest.mark.parametrize(
    "reply", [answer(404, '{"code":"X"}'), answer(429, b"", [("Retry-After", "99")])]
)
def test_events_that_are_refused(pools: Pools, peers: Peers, reply: bytes) -> None:
    pool = pools(peers(script(reply)))
    for open_one in (lambda: pool.events("GET", "/"), lambda: pool.call_events(TOKENS, "x")):
        with pytest.raises((NotFoundError, RateLimitError)) as caught:
            open_one()
        assert caught.value.code == "X" or caught.value.retry_after == 99.0
    assert pool.raw.open_connections == pool.raw.idle_connections == 1


@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8", ""])
def test_what_is_no_event_stream(pools: Pools, peers: Peers, kind: str) -> None:
    peer = peers(script(answer(200, b"data: hunter2\n\n", [("Content-Type", kind)])))
    pool = pools(peer)
    with pytest.raises(ProtocolError, match="text/event-stream") as caught:
        pool.events("GET", "/a?hunter2")
    assert "hunter2" not in str(caught.value)
    # A domain knows what it asked for, whatever the response calls itself.
    with pool.call_events(PLAIN) as stream:
        assert [one.data for one in stream] == ["hunter2"]


def test_an_unnamed_stream_is_one(pools: Pools, peers: Peers) -> None:
    with pools(peers(script(answer(200, b"data: x\n\n")))).events("GET", "/") as stream:
        assert [one.data for one in stream] == ["x"]


@pytest.mark.parametrize("reply", [head(204, []), answer(200)])
def test_no_events_at_all(pools: Pools, peers: Peers, reply: bytes) -> None:
    pool = pools(peers(script(reply)))
    with pool.events("GET", "/") as stream:
        assert list(stream) == []
    with pool.events("GET", "/", terminator=b"END") as stream, pytest.raises(ConnectionLostError):
        next(stream)


@pytest.mark.parametrize("beats", [False, True])
def test_heartbeats_do_not_feed_the_idle_time(pools: Pools, peers: Peers, beats: bool) -> None:
    def serve(exchange: Exchange) -> None:
        exchange.start_events()
        exchange.chunk("data: one\n\n")
        with contextlib.suppress(Exception):
            while beats:
                exchange.chunk(": beat\n\n")
                exchange.link.stall(0.01)
        exchange.link.wait_gone()

    peer = peers(script(serve))
    began = time.monotonic()
    with pools(peer).events("GET", "/", idle_timeout=0.06) as stream:
        assert next(stream).data == "one"
        with pytest.raises(DeadlineError):
            next(stream)
        assert stream.closed
    assert time.monotonic() - began < 10
    gone(peer)


def test_the_total_time_of_events(pools: Pools, peers: Peers) -> None:
    def serve(exchange: Exchange) -> None:
        exchange.start_events()
        while True:
            exchange.chunk("data: x\n\n")
            exchange.link.stall(0.01)

    seen = 0
    pool = pools(peers(script(serve)))
    with pool.events("GET", "/", total_timeout=0.08) as stream, pytest.raises(DeadlineError):
        for _ in stream:
            seen += 1
    assert seen > 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("hunter2", "cannot be read"),
        ('{"n":"hunter2"}', "Expected `int`, got `str` - at `$.n`"),
        ('{"n":1,"text":"hunter2', "cannot be read"),
    ],
)
def test_an_event_of_the_wrong_shape(pools: Pools, peers: Peers, data: str, said: str) -> None:
    peer = peers(script(events('data: {"n":1}\n\n', f"data: {data}\n\n", end=False)))
    with pools(peer).call_events(TOKENS, "x") as stream:
        assert next(stream).data == Token(1)
        with pytest.raises(ProtocolError) as caught:
            next(stream)
    assert said in str(caught.value)
    assert "hunter2" not in recorded(caught.value)
    gone(peer)


def test_events_have_limits(pools: Pools, peers: Peers) -> None:
    peer = peers(script(events("data: " + "x" * 200 + "\n\n"), events("data: xx\n" * 100 + "\n")))
    pool = pools(peer, limits=Limits(sse_line=150, sse_event=150))
    for _ in range(2):
        with pool.events("GET", "/") as stream, pytest.raises(SizeLimitError):
            next(stream)


def test_leaving_early_closes_the_connection_at_once(pools: Pools, peers: Peers) -> None:
    peer = peers(script(events("data: one\n\ndata: two\n\n", end=False)))
    pool = pools(peer)
    with pool.events("GET", "/") as stream:
        for event in stream:
            assert event.data == "one"
            break
    gone(peer)
    assert stream.closed
    assert pool.raw.open_connections == 0


@pytest.mark.parametrize("given", ["a\nb", "a\0", "ä", " a"])
def test_an_id_that_no_header_can_hold(pools: Pools, peers: Peers, given: str) -> None:
    peer = peers()
    with pytest.raises(InvalidArgumentError):
        pools(peer).events("GET", "/", last_event_id=given)
    assert peer.asked == []


def test_a_closed_pool_opens_nothing(pools: Pools, peers: Peers) -> None:
    pool = pools(peers())
    pool.close()
    attempts: list[Callable[[], object]] = [
        lambda: pool.stream("GET", "/"),
        lambda: pool.events("GET", "/"),
        lambda: pool.call_events(TOKENS, "x"),
    ]
    for attempt in attempts:
        with pytest.raises(ClientStateError):
            attempt()


def test_closing_the_pool_ends_its_streams(pools: Pools, peers: Peers) -> None:
    peer = peers(script(events("data: one\n\n", end=False)))
    pool = pools(peer)
    stream = pool.events("GET", "/")
    assert next(stream).data == "one"
    pool.close()
    with pytest.raises(OstiaryError):
        next(stream)
    gone(peer)
