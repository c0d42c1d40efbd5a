"""Bodies, streams and the connection: pieces that stay what they were, ends, reuse."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Literal

import pytest

from ostiary._wire.http1 import Response
from ostiary._wire.parser import ResponseParser
from ostiary._wire.slab import View, free_slabs
from ostiary.errors import (
    ClientStateError,
    ConnectionLostError,
    InvalidArgumentError,
    ProtocolError,
)
from tests.http.normal import by_h11

OK = b"HTTP/1.1 200 OK\r\n"
FIVE = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PARSERS: list[Literal["strict", "h11"]] = ["strict", "h11"]


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> ResponseParser:
    """A reader on each setting of the switch."""
    return ResponseParser(parser=request.param)


def read(data: bytes) -> Response:
    one = ResponseParser()
    one.expect()
    found = one.feed(data)
    assert found is not None
    return found


# --- bodies ---------------------------------------------------------------------------------------


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def chunks(body: bytes, size: int) -> bytes:
    """Encode a body in chunks of that size."""
    coded = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in pieces_of(body, size))
    return CHUNKED + coded + b"0\r\n\r\n"


BIG = bytes(range(256)) * 1200  # larger than one slab


@pytest.mark.parametrize("cut", [1000, 4096, 65536, 400_000])
@pytest.mark.parametrize("size", [700, 5000, 400_000])
def test_large_chunked_bodies(parser: ResponseParser, size: int, cut: int) -> None:
    for _ in range(2):
        parser.expect()
        found = None
        for piece in pieces_of(chunks(BIG, size), cut):
            found = parser.feed(piece)
        assert found is not None
        assert bytes(memoryview(found.body)) == BIG


def test_large_bodies_are_views_and_small_ones_bytes() -> None:
    assert type(read(FIVE).body) is bytes
    large = OK + b"Content-Length: 2000\r\n\r\n" + b"x" * 2000
    assert type(read(large).body) is View
    assert type(read(chunks(b"y" * 3000, 100)).body) is View


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_bodies_that_are_kept_stay_what_they_were(stream: bool) -> None:
    """A byte that a View can see is never moved, overwritten or freed."""
    one = ResponseParser()
    kept: list[tuple[bytes, list[bytes | View]]] = []
    for number in range(300):
        body = b"%06d" % number * 400
        data = chunks(body, 1500) if number % 2 else OK + b"Content-Length: 2400\r\n\r\n" + body
        one.expect(stream=stream)
        parts: list[bytes | View] = []
        found = None
        for piece in pieces_of(data, 1 + number * 37 % 3000):
            found = one.feed(piece) or found
            parts += one.read()
        assert found is not None
        assert one.reusable
        if not stream:
            parts = [found.body]
        assert b"".join(memoryview(part) for part in parts) == body
        kept.append((body, parts))
    assert any(type(part) is View for _, parts in kept for part in parts)
    del one
    gc.collect()
    for body, parts in kept:
        assert b"".join(memoryview(part) for part in parts) == body


@pytest.mark.parametrize("cut", [1500, 9000, 70_000])
@pytest.mark.parametrize("coded", [chunks(BIG, 3000), b"Content-Length"], ids=["chunked", "sized"])
def test_pieces_that_are_kept_while_the_buffer_fills_up(coded: bytes, cut: int) -> None:
    """A stream longer than its buffer: what was given out is never moved to make room."""
    if coded == b"Content-Length":
        coded = OK + b"Content-Length: %d\r\n\r\n" % len(BIG) + BIG
    one = ResponseParser()
    one.expect(stream=True)
    kept: list[bytes | View] = []
    for piece in pieces_of(coded, cut):
        one.feed(piece)
        kept += one.read()
    assert one.done
    assert sum(type(part) is View for part in kept) > 4
    assert b"".join(memoryview(part) for part in kept) == BIG


def test_pieces_that_are_kept_while_something_is_left_over() -> None:
    """Each read ends inside the framing, so the buffer is never empty and never put back."""
    one = ResponseParser()
    one.expect(stream=True)
    one.feed(CHUNKED)
    kept: list[bytes | View] = []
    bodies = [b"%06d" % number * 500 for number in range(60)]
    for number, body in enumerate(bodies):
        one.feed(b"\n" * (number > 0) + b"bb8\r\n" + body + b"\r")
        kept += one.read()
    assert [bytes(memoryview(part)) for part in kept] == bodies


def test_a_buffer_is_held_only_while_a_response_is_on_its_way() -> None:
    one = ResponseParser()
    one.expect()
    one.feed(FIVE)
    gc.collect()
    before = free_slabs()
    assert before >= 1
    one.expect()
    one.feed(FIVE[:-1])
    assert free_slabs() == before - 1
    one.feed(FIVE[-1:])
    assert free_slabs() == before


@pytest.mark.parametrize(
    "data",
    [
        OK + b"X: %s\r\nContent-Length: 0\r\n\r\n" % (b"a" * 3_000_000),
        CHUNKED + b"1;%s\r\na\r\n0\r\n\r\n" % (b"a" * 3_000_000),
        chunks(b"a" * 300_000, 1),
    ],
    ids=["head", "extension", "chunks"],
)
def test_one_byte_at_a_time_is_linear(data: bytes) -> None:
    """If each byte searched all before it again, this would take minutes and time out."""
    one = ResponseParser(head=1 << 22, body=1 << 20)
    one.expect()
    found = None
    for byte in memoryview(data).cast("c"):
        found = one.feed(byte)
    assert found is not None


def test_an_idle_reader_keeps_no_body() -> None:
    one = ResponseParser()
    one.expect()
    found = one.feed(OK + b"Content-Length: 2000\r\n\r\n" + b"x" * 2000)
    assert found is not None
    body = found.body
    assert sys.getrefcount(body) == 3  # the response's, this name's, the argument's
    del found
    assert sys.getrefcount(body) == 2


def test_two_byte_chunks_through_h11_do_not_multiply() -> None:
    one = ResponseParser()
    one.expect()
    data = b"HTTP/1.1 100 x\r\n\r\n" + chunks(b"ab" * 100_000, 2)
    one.feed(data[:-5])
    tracemalloc.start()
    try:
        found = one.feed(data[-5:])
        one.expect()
        for piece in pieces_of(data, 4096):
            found = one.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found.body == b"ab" * 100_000
    assert peak < 2_000_000


class TestStreams:
    @pytest.mark.parametrize("body", [FIVE, chunks(b"hello", 2), OK + b"\r\nhello"])
    def test_the_head_may_decide(self, parser: ResponseParser, body: bytes) -> None:
        """An error's body is wanted whole where a success would be a stream."""
        parser.expect(stream=lambda head: head.status == 201)
        found = [parser.feed(b"%c" % byte) for byte in body]
        last = found[-1] or parser.feed_eof()
        assert last is not None
        assert last.body == b"hello"
        assert parser.read() == []
        if parser.reusable:
            parser.expect(stream=lambda head: head.status == 200)
            heads = [one for byte in body if (one := parser.feed(b"%c" % byte)) is not None]
            assert [one.body for one in heads] == [b""]
            assert b"".join(memoryview(one) for one in parser.read()) == b"hello"
            assert parser.done

    def test_a_body_gathered_after_all_is_limited(self) -> None:
        for data in (FIVE, chunks(b"hello", 2), OK + b"\r\nhello"):
            one = ResponseParser(body=4)
            one.expect(stream=lambda _: False)
            with pytest.raises(ProtocolError) as caught:
                one.feed(data)
            assert caught.value.rule == "body-size"

    def test_pieces_come_as_they_arrive(self, parser: ResponseParser) -> None:
        parser.expect(stream=True)
        assert parser.feed(CHUNKED[:-1]) is None
        head = parser.feed(CHUNKED[-1:] + b"5\r\nhel")
        assert head is not None
        assert (head.status, head.body) == (200, b"")
        assert parser.read() == [b"hel"]
        assert parser.feed(b"lo\r\n1") is None
        assert parser.read() == [b"lo"]
        parser.feed(b"\r\n!\r\n2\r\n??\r\n")
        assert b"".join(memoryview(one) for one in parser.read()) == b"!??"
        early = parser.done
        assert not early
        parser.feed(b"0\r\nX-Sum: 9\r\n\r\n")
        assert parser.read() == []
        assert parser.done
        assert parser.reusable
        assert head.trailers["x-sum"] == "9"

    def test_many_small_chunks_of_one_read_are_one_piece(self) -> None:
        one = ResponseParser()
        one.expect(stream=True)
        one.feed(chunks(b"data: x\n\n" * 20, 9)[:-5])
        assert one.read() == [b"data: x\n\n" * 20]

    def test_until_the_end_of_the_connection(self, parser: ResponseParser) -> None:
        parser.expect(stream=True)
        parser.feed(OK + b"\r\nab")
        parser.feed(b"c")
        assert b"".join(memoryview(one) for one in parser.read()) == b"abc"
        early = parser.done
        assert not early
        parser.feed_eof()
        assert parser.done
        assert not parser.reusable

    def test_a_stream_cut_short_raises(self, parser: ResponseParser) -> None:
        parser.expect(stream=True)
        parser.feed(CHUNKED + b"5\r\nhello\r\n")
        with pytest.raises(ConnectionLostError, match="body") as caught:
            parser.feed_eof()
        assert caught.value.sent
        assert not parser.reusable


# --- the connection -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [FIVE, chunks(b"hello", 2), OK + b"Content-Length: 5\r\n\r\nhe"])
@pytest.mark.parametrize("name", PARSERS)
def test_an_early_end_raises_at_every_byte(name: Literal["strict", "h11"], data: bytes) -> None:
    for at in range(len(data)):
        one = ResponseParser(parser=name)
        one.expect()
        if one.feed(data[:at]) is not None:
            continue
        with pytest.raises(ConnectionLostError) as caught:
            one.feed_eof()
        assert caught.value.sent
        assert ("head" in str(caught.value)) == (b"\r\n\r\n" not in data[:at])


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: CLOSE\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: a ,close, b\r\n\r\n", False),
        (
            b"HTTP/1.1 200 OK\r\nConnection: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            False,
        ),
        (b"HTTP/1.1 204 x\r\nConnection: close\r\nConnection: x\r\n\r\n", False),
        (OK + b"Connection: close\r\nContent-Length: 0\r\nConnection: x\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: closed\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: clos\r\n\r\n", True),
        (b"HTTP/1.1 204 x\r\n\r\n", True),
        (b"HTTP/1.1 204 x\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 103 x\r\nConnection: close\r\n\r\nHTTP/1.1 204 x\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_reuse(parser: ResponseParser, head: bytes, reusable: bool) -> None:
    parser.expect()
    assert not parser.reusable
    assert parser.feed(head) is not None
    assert parser.reusable == reusable
    oracle = by_h11(head, "GET").normal
    assert oracle is not None
    assert oracle.reusable == reusable


def test_both_roads_follow_one_another_on_a_connection(parser: ResponseParser) -> None:
    for data, method in [
        (FIVE, "GET"),
        (b"HTTP/1.1 204 x\r\n\r\n", "DELETE"),
        (chunks(b"hello", 2), "POST"),
        (b"HTTP/1.1 103 x\r\n\r\n" + FIVE, "GET"),
        (OK + b"Content-Length: 5\r\n\r\n", "HEAD"),
        (FIVE, "GET"),
    ]:
        parser.expect(method)
        found = parser.feed(data)
        assert found is not None
        assert found.body == (b"" if method in {"HEAD", "DELETE"} else b"hello")
        assert len(found.informational) == data.count(b" 103 ")
        assert parser.reusable


def test_one_response_at_a_time(parser: ResponseParser) -> None:
    parser.expect()
    with pytest.raises(ClientStateError):
        parser.expect()


def test_a_refusal_ends_the_connection(parser: ResponseParser) -> None:
    parser.expect()
    with pytest.raises(ProtocolError):
        parser.feed(b"nonsense")
    with pytest.raises(ClientStateError):
        parser.feed(FIVE)
    with pytest.raises(ClientStateError):
        parser.expect()
    assert not parser.reusable


@pytest.mark.parametrize("method", ["", "CONNECT", "connect", "G T", "GET\r\n", "\xe9", "a:b"])
def test_methods_that_cannot_be(parser: ResponseParser, method: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parser.expect(method)


def test_head_is_told_from_its_likes(parser: ResponseParser) -> None:
    parser.expect("HEADS")
    assert parser.feed(OK + b"Content-Length: 5\r\n\r\n") is None


def test_what_is_no_http_is_refused_at_once() -> None:
    """A TLS alert, for one: without this only the deadline would end the wait."""
    for data in (b"\x15\x03\x01\x00\x02\x02", b"SSH-2.0", b"HTTQ", b"\0"):
        one = ResponseParser()
        one.expect()
        with pytest.raises(ProtocolError) as caught:
            one.feed(data)
        assert caught.value.rule == "status-line"


def test_any_buffer_may_be_fed(parser: ResponseParser) -> None:
    for kind in (bytearray, memoryview):
        parser.expect()
        found = parser.feed(kind(FIVE))
        assert found is not None
        assert found.body == b"hello"


def test_a_response_shows_nothing_it_carries() -> None:
    found = read(OK + b"Set-Cookie: S3CRET\r\nContent-Length: 6\r\n\r\nS3CRET")
    assert repr(found) == "<Response 200, 6 bytes>"
    assert "S3CRET" not in repr(found.headers)
    with pytest.raises(TypeError):
        Response()
