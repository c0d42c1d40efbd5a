"""Many connections on one event loop: all are read, and the loop watches one descriptor."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ostiary._io.aio_http import AsyncHttpPool
from ostiary._io.sockets import deadline_after
from ostiary._wire.request import RequestHead
from ostiary.config import DEFAULT_LIMITS, parse_address
from tests.conftest import Run
from tests.http.peer import Exchange, HttpPeer, Script, echo
from tests.transport.peer import Gone

GET = RequestHead("GET", "peer")

needs_epoll = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")


@pytest.fixture
def http() -> Iterator[Callable[..., HttpPeer]]:
    """Make peers that end with the test."""
    with ExitStack() as stack:
        yield lambda serve=echo: stack.enter_context(HttpPeer(serve))


def a_pool(where: str, connections: int) -> AsyncHttpPool:
    return AsyncHttpPool(
        parse_address(where),
        limits=DEFAULT_LIMITS,
        max_connections=connections,
        max_idle=connections,
        idle_expiry=30.0,
    )


async def together(pool: AsyncHttpPool, count: int) -> list[Any]:
    return await asyncio.gather(
        *(pool.fetch(GET, b"/%d" % n, None, None, deadline_after(20)) for n in range(count))
    )


def at_once(count: int) -> Script:
    """Answer each request with its own target, when `count` of them have come."""
    met = threading.Barrier(count, timeout=20)

    def serve(exchange: Exchange) -> None:
        while True:
            asked = exchange.request()
            met.wait()
            exchange.answer(200, asked.target)

    return serve


def epolls() -> int:
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found += "eventpoll" in os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:  # the one that listed them
            continue
    return found


def test_more_than_one_turn_can_take(run: Run, http: Callable[..., HttpPeer]) -> None:
    """All become readable together, more of them than are asked for at once."""
    peer = http(at_once(150))

    async def main() -> None:
        pool = a_pool(peer.where, 150)
        for _ in range(3):
            answers = await together(pool, 150)
            assert [one.read() for one in answers] == [b"/%d" % n for n in range(150)]
        assert pool.open_connections == pool.idle_connections == 150
        pool.close()

    run(main())


@needs_epoll
def test_the_loop_watches_one_descriptor(run: Run, http: Callable[..., HttpPeer]) -> None:
    peer = http(at_once(8))
    alone = http()

    async def main() -> None:
        before = epolls()
        single, pool = a_pool(alone.where, 4), a_pool(peer.where, 8)
        await together(single, 1)
        assert epolls() == before
        for _ in range(2):
            await together(pool, 8)
            assert pool.open_connections == 8
            assert epolls() == before + 1
        pool.close()
        single.close()
        assert epolls() == before

    run(main())


@needs_epoll
def test_a_peer_that_hangs_up_is_seen_on_any_of_them(
    run: Run, http: Callable[..., HttpPeer]
) -> None:
    met = threading.Barrier(4, timeout=20)

    def serve(exchange: Exchange) -> None:
        exchange.request()
        met.wait()
        exchange.answer(200, b"the last one")

    peer = http(serve)

    async def main() -> None:
        before = epolls()
        pool = a_pool(peer.where, 4)
        await together(pool, 4)
        async with asyncio.timeout(20):
            while pool.open_connections:
                await asyncio.sleep(0.001)
        assert epolls() == before
        pool.close()

    run(main())


def test_a_slow_reader_holds_its_own_peer_back(run: Run, http: Callable[..., HttpPeer]) -> None:
    total = 16 * 1024 * 1024
    sent = 0

    def serve(exchange: Exchange) -> None:
        nonlocal sent
        while exchange.request().target != "/big":
            exchange.answer(200, b"small")
        exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            exchange.raw(b"x" * 65536)
            sent += 65536
        with pytest.raises(Gone):
            exchange.request()

    peer = http(serve)

    async def main() -> None:
        pool = a_pool(peer.where, 3)
        stream = await pool.open(GET, b"/big", None, None, deadline_after(20))
        for _ in range(100):
            await together(pool, 2)
        assert pool.open_connections == 3
        assert sent < 4 * 1024 * 1024
        size = 0
        while (piece := await stream.next_piece(deadline_after(20))) is not None:
            size += len(piece)
            if size < 1024 * 1024:
                await together(pool, 2)
        assert size == total
        assert pool.open_connections == pool.idle_connections == 3
        pool.close()

    run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_leaves_those_of_its_parent_alone(
    run: Run, http: Callable[..., HttpPeer], tmp_path: Path
) -> None:
    peer = http(at_once(4))
    said = tmp_path / "said"

    async def main() -> None:
        pool = a_pool(peer.where, 4)
        await together(pool, 4)
        child = os.fork()
        if child == 0:
            try:
                asyncio.events._set_running_loop(None)
                answers = asyncio.Runner().run(together(pool, 4))
                said.write_bytes(b" ".join(one.read() for one in answers))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert said.read_bytes() == b"/0 /1 /2 /3"
        await together(pool, 4)
        assert pool.open_connections == 4
        pool.close()

    run(main())
    # four of the parent's, four of the child's
    assert len({asked.connection for asked in peer.asked}) == 8


NO_DESCRIPTOR_LEFT = """
import asyncio, os, resource, sys
from tests.transport.test_readers import a_pool, epolls, together

async def main():
    pool = a_pool(sys.argv[1], 2)
    await together(pool, 1)
    before = epolls()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        os.close(taken.pop())       # for the second connection
    answers = await together(pool, 2)
    connections = pool.open_connections
    for _ in range(3):
        answers += await together(pool, 2)
    pool.close()
    for one in taken:
        os.close(one)
    print(len(answers), connections, epolls() - before)

asyncio.run(main())
"""


@needs_epoll
def test_where_no_descriptor_is_left_the_loop_watches_each(
    http: Callable[..., HttpPeer], root: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NO_DESCRIPTOR_LEFT, http().where],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("8 2 0\n", "")
