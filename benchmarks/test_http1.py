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

from ostiary._wire.coding import decode
from ostiary._wire.parser import ResponseParser
from ostiary._wire.request import RequestHead
from ostiary._wire.target import Target

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

BODY = b'{"id":"abc-123-def","decision":"allow","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}'
FIELDS = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 05 May 2031 10:00:00 GMT\r\nServer: some\r\n"
    b"Content-Type: application/json\r\nConnection: keep-alive\r\n"
)


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


def httptools_reader() -> Callable[[bytes], bytes]:
    httptools = pytest.importorskip("httptools")

    class Message:
        def __init__(self) -> None:
            self.headers: list[tuple[bytes, bytes]] = []
            self.parts: list[bytes] = []

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.append((name, value))

        def on_body(self, data: bytes) -> None:
            self.parts.append(data)

    def read(data: bytes) -> bytes:
        message = Message()
        httptools.HttpResponseParser(message).feed_data(data)
        return b"".join(message.parts)

    return read


def h11_reader() -> Callable[[bytes], bytes]:
    h11 = pytest.importorskip("h11")
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="POST", target="/", headers=[("Host", "x")])

    def read(data: bytes) -> bytes:
        connection.send(request)
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        parts: list[bytes] = []
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                parts.append(event.data)
            elif isinstance(event, h11.EndOfMessage):
                connection.start_next_cycle()
                return b"".join(parts)

    return read


@pytest.mark.parametrize("peer", ["ostiary", "httptools", "h11", "ostiary by way of h11"])
@pytest.mark.parametrize("kind", list(RESPONSES))
def test_read_response(benchmark: BenchmarkFixture, kind: str, peer: str) -> None:
    benchmark.group = f"P11: 100 responses, {kind}"
    data, body = RESPONSES[kind]
    read: Callable[[bytes], Any]
    if peer == "httptools":
        read = httptools_reader()
    elif peer == "h11":
        read = h11_reader()
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
