"""In-process HTTP work, by pytest-benchmark: read responses, write heads, build targets.

`python -m pytest benchmarks/test_http1.py`; `make test` does not collect it. The peers read
the same bytes in the same run: httptools to the same status, header list and body, h11 to its
events. Each case includes what a client does per response: ours asks for it, theirs is made
anew or begins a new cycle. Responses are read a hundred at a time, since a clock is coarse:
a figure of 60 us is 0.6 us for each.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest

from benchmarks.cases.responses import BODY, FIELDS, h11_reader, httptools_reader
from benchmarks.sample import Unavailable
from ostiary._wire.coding import decode
from ostiary._wire.parser import ResponseParser
from ostiary._wire.request import RequestHead
from ostiary._wire.target import Target

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


def sized(body: bytes) -> bytes:
    return FIELDS + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return FIELDS + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


LARGE = bytes(range(256)) * 256
MANY = b"".join(b"X-Header-%d: some value of it %d\r\n" % (n, n) for n in range(60))
RESPONSES = {
    "small": (sized(BODY), BODY),
    "chunked": (chunked(BODY, 100), BODY),
    "64 KiB": (sized(LARGE), LARGE),
    "64 KiB in 4 KiB chunks": (chunked(LARGE, 4096), LARGE),
    "60 headers": (FIELDS + MANY + sized(BODY)[len(FIELDS) :], BODY),
}


def ostiary_reader(parser: str) -> Callable[[bytes], bytes | memoryview]:
    one = ResponseParser(parser="h11" if parser == "h11" else "strict")

    def read(data: bytes) -> Any:
        one.expect("POST")
        response = one.feed(data)
        assert response is not None
        return response.body

    return read


def peer_reader(name: str) -> Callable[[bytes], bytes]:
    try:
        return httptools_reader() if name == "httptools" else h11_reader()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("peer", ["ostiary", "httptools", "h11", "ostiary by way of h11"])
@pytest.mark.parametrize("kind", list(RESPONSES))
def test_read_response(benchmark: BenchmarkFixture, kind: str, peer: str) -> None:
    benchmark.group = f"P11: 100 responses, {kind}"
    data, body = RESPONSES[kind]
    read: Callable[[bytes], Any]
    if peer in {"httptools", "h11"}:
        read = peer_reader(peer)
    else:
        read = ostiary_reader("strict" if peer == "ostiary" else "h11")

    def hundred() -> Any:
        for _ in range(99):
            read(data)
        return read(data)

    assert bytes(memoryview(benchmark(hundred))) == body


def test_read_response_and_headers(benchmark: BenchmarkFixture) -> None:
    """The index is lazy; this is what looking into it costs on top."""
    benchmark.group = "response, with two headers looked up"
    one = ResponseParser()
    data = sized(BODY)

    def read() -> tuple[str | None, str | None]:
        one.expect("POST")
        response = one.feed(data)
        assert response is not None
        return response.headers.get("content-type"), response.headers.get("content-encoding")

    assert benchmark(read) == ("application/json", None)


def test_read_stream(benchmark: BenchmarkFixture) -> None:
    """One token's event per chunk, 13 events to a read."""
    benchmark.group = "stream: 1,300 chunks of 300 bytes"
    event = b"data: " + b"x" * 292 + b"\n\n"
    whole = FIELDS + b"Transfer-Encoding: chunked\r\n\r\n" + b"12c\r\n%s\r\n" % event * 1300
    reads = [whole[at : at + 4096] for at in range(0, len(whole), 4096)]

    def read() -> int:
        one = ResponseParser()
        one.expect(stream=True)
        size = 0
        for data in reads:
            one.feed(data)
            for piece in one.read():
                size += len(piece)
        return size

    assert benchmark(read) == 300 * 1300


def test_write_head(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "request head, with one header of its own"
    fixed = {"Accept": "application/json", "User-Agent": "ostiary", "X-Client": "bench"}
    head = RequestHead("POST", "localhost", fixed)
    extra = {"Authorization": "Bearer 0123456789abcdef"}
    assert benchmark(head.render, b"/v1/agents/run", BODY, extra).endswith(BODY)


def test_build_target(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "target"
    target = Target("/v1/agents/{agent_id}/traces")
    query = {"limit": 10, "cursor": None, "status": "blocked", "q": "hello world"}
    built = benchmark(lambda: target.build("agent 7", query=query))
    assert built == b"/v1/agents/agent%207/traces?limit=10&status=blocked&q=hello%20world"


def test_build_target_with_urllib(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "target"
    query = {"limit": 10, "status": "blocked", "q": "hello world"}

    def build() -> str:
        path = f"/v1/agents/{quote('agent 7', safe='')}/traces"
        return f"{path}?{urlencode(query, quote_via=quote)}"

    assert benchmark(build).startswith("/v1/agents/agent%207/traces?")


def test_decode_gzip(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "gzip, 64 KiB of JSON"
    packed = gzip.compress(BODY * 800)
    assert benchmark(lambda: decode("gzip", packed, limit=1 << 20)) == BODY * 800


def test_decode_gzip_without_a_limit(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "gzip, 64 KiB of JSON"
    packed = gzip.compress(BODY * 800)
    assert benchmark(gzip.decompress, packed) == BODY * 800
