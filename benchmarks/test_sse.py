"""Event streams in process, by pytest-benchmark: ours beside the peers that are installed.

`python -m pytest benchmarks/test_sse.py`. A figure is of a whole stream; divide it by EVENTS.
Peers are given the same chunks by their public way in, so `httpx-sse` reads from a response
of `httpx` that has its body already. What a stream gave is kept until it has been read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.cases.events import CHUNK, DATA, DECODE, EVENTS, Chunk
from ostiary._wire.sse import EventDecoder

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

FORMS = {
    "lf": b"data: %s\n\n",
    "crlf": b"data: %s\r\n\r\n",
    "named": b"event: token\nid: 41\ndata: %s\n\n",
    "heartbeats": b": heartbeat\n\ndata: %s\n\n",
}


def pieces(stream: bytes, size: int = CHUNK) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


STREAMS = {name: pieces(form % DATA * EVENTS) for name, form in FORMS.items()}


def ours(chunks: list[bytes], **options: Any) -> list[Any]:
    decoder: EventDecoder[Any] = EventDecoder(**options)
    events: list[Any] = []
    for chunk in chunks:
        decoder.feed(chunk, events)
    return events


def with_httpx_sse(chunks: list[bytes]) -> list[Any]:
    httpx, httpx_sse = pytest.importorskip("httpx"), pytest.importorskip("httpx_sse")
    head = {"content-type": "text/event-stream"}
    response = httpx.Response(200, headers=head, content=iter(chunks))
    # Comments between blank lines are events to it.
    return [event for event in httpx_sse.EventSource(response).iter_sse() if event.data]


def with_sseclient(chunks: list[bytes]) -> list[Any]:
    sseclient = pytest.importorskip("sseclient")
    return list(sseclient.SSEClient(iter(chunks)).events())


READERS = {"ostiary": ours, "httpx-sse": with_httpx_sse, "sseclient-py": with_sseclient}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FORMS)
def test_to_text(benchmark: BenchmarkFixture, form: str, reader: str) -> None:
    benchmark.group = f"to text, {form}"
    events = benchmark(READERS[reader], STREAMS[form])
    assert [event.data for event in events] == [DATA.decode()] * EVENTS


@pytest.mark.parametrize("reader", READERS)
def test_to_struct(benchmark: BenchmarkFixture, reader: str) -> None:
    benchmark.group = "to a Struct"
    if reader == "ostiary":

        def read(chunks: list[bytes]) -> list[Chunk]:
            return [event.data for event in ours(chunks, decode=DECODE, terminator=b"[DONE]")]
    else:
        split: Callable[[list[bytes]], list[Any]] = READERS[reader]

        def read(chunks: list[bytes]) -> list[Chunk]:
            return [DECODE(event.data) for event in split(chunks)]

    found = benchmark(read, STREAMS["lf"])
    assert len(found) == EVENTS
    assert found[-1].choices[0].delta.content == " of the doorkeeper"


def test_the_decoding_alone(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "to a Struct"
    found = benchmark(lambda: [DECODE(DATA) for _ in range(EVENTS)])
    assert len(found) == EVENTS


@pytest.mark.parametrize("size", [1, 16, 256, 65536])
def test_chunks_of(benchmark: BenchmarkFixture, size: int) -> None:
    benchmark.group = "to text, by size of chunk"
    chunks = pieces(FORMS["lf"] % DATA * EVENTS, size)
    assert len(benchmark(ours, chunks)) == EVENTS


@pytest.mark.parametrize("lines", [1, 1000])
def test_one_event_of_a_megabyte(benchmark: BenchmarkFixture, lines: int) -> None:
    benchmark.group = "one event of about 1 MiB"
    line = b"data: " + b"x" * ((1 << 20) // lines - 6) + b"\n"
    (event,) = benchmark(ours, pieces(line * lines + b"\n"))
    assert len(event.data) == len(line) * lines - 6 * lines - 1
