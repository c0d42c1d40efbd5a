"""In-process work, by pytest-benchmark: split, encode, decode. No socket, no event loop.

`python -m pytest benchmarks/test_wire.py`; `make test` does not collect it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.cases.framed import PATH, SESSION, TTL, Retrieve, Retrieved
from ostiary._wire.framer import Framer
from ostiary._wire.rpc import Method, add_request, settle_reply

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

LIMIT = 4 << 20
RETRIEVE = Method("retrieve", Retrieved)
ANYTHING: Method[dict[str, Any]] = Method("use", dict[str, Any])
REPLY = (
    b'{"id":7,"result":{"path":"openai/api_key",'
    b'"value":"736b2d70726f6a2d4b3748515a3252314c394d5836543856304e345935553357",'
    b'"lease_id":"L-41d0c5a2e86b4f7000000001","ttl":300,"expires_at":"2031-05-06T07:08:09Z"}}'
)


@pytest.mark.parametrize("size", [0, 100, 1024, 65536])
def test_split(benchmark: BenchmarkFixture, size: int) -> None:
    frames = max(64, min(1000, (1 << 20) // max(size, 1)))
    buffer = Framer.wrap(b"x" * size) * frames
    splitter = Framer()
    assert len(benchmark(splitter.feed, buffer)) == frames


def test_split_byte_by_byte(benchmark: BenchmarkFixture) -> None:
    buffer = Framer.wrap(REPLY)
    pieces = [buffer[at : at + 1] for at in range(len(buffer))]
    splitter = Framer()

    def feed() -> list[bytes | memoryview]:
        found: list[bytes | memoryview] = []
        for piece in pieces:
            found += splitter.feed(piece)
        return found

    assert benchmark(feed) == [REPLY]


@pytest.mark.parametrize("size", [100, 65536])
def test_wrap(benchmark: BenchmarkFixture, size: int) -> None:
    assert len(benchmark(Framer.wrap, b"x" * size)) == size + 4


def test_encode_request(benchmark: BenchmarkFixture) -> None:
    frame = benchmark(add_request, RETRIEVE, 12345, Retrieve(SESSION, PATH, TTL), LIMIT)
    assert frame[4:].startswith(b'{"id":12345,"method":"retrieve"')


def test_decode_reply(benchmark: BenchmarkFixture) -> None:
    answered, found = benchmark(settle_reply, RETRIEVE, REPLY)
    assert (answered, found.path) == (7, PATH)


def test_decode_reply_to_dict(benchmark: BenchmarkFixture) -> None:
    answered, found = benchmark(settle_reply, ANYTHING, REPLY)
    assert (answered, found["path"]) == (7, PATH)


def test_decode_reply_whose_id_comes_last(benchmark: BenchmarkFixture) -> None:
    late = b'{"result"' + REPLY.partition(b'"result"')[2][:-1] + b',"id":7}'
    answered, found = benchmark(settle_reply, RETRIEVE, late)
    assert (answered, found.path) == (7, PATH)
