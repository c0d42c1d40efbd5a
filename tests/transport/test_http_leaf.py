"""The two HTTP leaves over real sockets: what they do with a connection when all is not well.

Laws under test: a connection whose response was not read to its end is closed, whoever gave
up on it; a slot that frees goes to whoever has waited longest; nobody buffers without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ostiary._io.aio_http import AsyncHttpPool
from ostiary._io.blocking_http import HttpPool
from ostiary._io.sockets import deadline_after
from ostiary._wire.request import RequestHead
from ostiary._wire.sse import EventDecoder
from ostiary.config import DEFAULT_LIMITS, parse_address
from ostiary.errors import (
    ClientStateError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    InvalidArgumentError,
    OstiaryError,
    ProtocolError,
)
from tests.http.peer import Exchange, HttpPeer, Script, answer, echo, script
from tests.transport.peer import Gone

GET = RequestHead("GET", "peer")
POST = RequestHead("POST", "peer")


def until(done: Callable[[], object]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)


class Leaf:
    """A leaf pool of either colour, driven as the sync one."""

    def __init__(self, kind: str, peer: HttpPeer | str, **options: Any) -> None:
        options = {
            "limits": DEFAULT_LIMITS,
            "max_connections": 4,
            "max_idle": 4,
            "idle_expiry": 30.0,
            **options,
        }
        if isinstance(peer, HttpPeer):
            if peer.client_context is not None:
                options["ssl_context"] = peer.client_context
                address = parse_address(("localhost", peer.where[1]))
            else:
                address = parse_address(peer.where)
        else:
            address = parse_address(peer)
        self.runner: asyncio.Runner | None = None
        if kind == "sync":
            self.raw: Any = HttpPool(address, **options)
        else:
            factory = asyncio.new_event_loop
            if kind == "uvloop":
                import uvloop

                factory = uvloop.new_event_loop
            self.runner = asyncio.Runner(loop_factory=factory)
            self.raw = AsyncHttpPool(address, **options)

    def run(self, outcome: Any) -> Any:
        if self.runner is None:
            return outcome

        async def main() -> Any:
            return await outcome

        return self.runner.run(main())

    def pause(self, seconds: float) -> None:
        """Let time pass, and the loop run."""
        if self.runner is None:
            time.sleep(seconds)
        else:
            self.runner.run(asyncio.sleep(seconds))

    def fetch(self, head: RequestHead = GET, body: bytes | None = None, seconds: float = 10) -> Any:
        return self.run(self.raw.fetch(head, b"/", body, None, deadline_after(seconds)))

    def open(self, seconds: float = 10) -> Any:
        return self.run(self.raw.open(GET, b"/", None, None, deadline_after(seconds)))

    def piece(self, stream: Any, seconds: float = 10) -> Any:
        return self.run(stream.next_piece(deadline_after(seconds)))

    def event(self, events: Any) -> Any:
        if self.runner is None:
            return next(events, None)

        async def main() -> Any:
            return await anext(events, None)

        return self.runner.run(main())

    def until(self, done: Callable[[], object]) -> None:
        until(lambda: self.pause(0.002) or done())

    def end(self) -> None:
        if self.runner is None:
            self.raw.close()
            return

        async def close() -> None:
            self.raw.close()

        self.runner.run(close())
        self.runner.close()


@pytest.fixture(params=["sync", "asyncio", "uvloop"])
def colour(request: pytest.FixtureRequest) -> str:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)


@pytest.fixture
def http(request: pytest.FixtureRequest) -> Iterator[Callable[..., HttpPeer]]:
    """Make peers that end with the test."""
    with ExitStack() as stack:

        def make(serve: Script = echo, kind: str = "unix") -> HttpPeer:
            options = {}
            if kind == "tls":
                options["server_context"] = request.getfixturevalue("server_context")
                options["client_context"] = request.getfixturevalue("client_context")
            return stack.enter_context(HttpPeer(serve, kind, **options))

        yield make


@pytest.fixture
def leaf(colour: str) -> Iterator[Callable[..., Leaf]]:
    """Make leaf pools that end with the test."""
    made: list[Leaf] = []

    def make(peer: HttpPeer | str, **options: Any) -> Leaf:
        made.append(Leaf(colour, peer, **options))
        return made[-1]

    yield make
    for one in made:
        one.end()


def together(leaf: Leaf, count: int, seconds: float = 10) -> list[Any]:
    """Fetch that often at once; results or errors, in the order of asking."""
    if leaf.runner is not None:

        async def main() -> list[Any]:
            calls = [
                asyncio.ensure_future(
                    leaf.raw.fetch(GET, b"/%d" % n, None, None, deadline_after(seconds))
                )
                for n in range(count)
            ]
            return await asyncio.gather(*calls, return_exceptions=True)

        return leaf.runner.run(main())
    results: list[Any] = [None] * count

    def one(n: int) -> None:
        try:
            results[n] = leaf.raw.fetch(GET, b"/%d" % n, None, None, deadline_after(seconds))
        except OstiaryError as error:
            results[n] = error

    threads = []
    for n in range(count):
        threads.append(threading.Thread(target=one, args=(n,)))
        threads[-1].start()
        if n:  # so that they queue in this order
            until(lambda n=n: leaf.raw.waiting + leaf.raw.open_connections > min(n, 4) or True)
    for thread in threads:
        thread.join()
    return results


class TestRequests:
    @pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
    @pytest.mark.parametrize("size", [0, 1, 8 * 1024, 8 * 1024 + 1, 3_000_000])
    def test_a_body_of_any_size_arrives_whole(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer], kind: str, size: int
    ) -> None:
        def measure(exchange: Exchange) -> None:
            while True:
                asked = exchange.request()
                exchange.answer(200, f"{len(asked.body)} {sum(asked.body[::4096])}")

        body = bytes(range(256)) * (size // 256 + 1)
        body = body[:size]
        pool = leaf(http(measure, kind))
        for _ in range(2):
            response = pool.fetch(POST, body)
            assert response.text() == f"{size} {sum(body[::4096])}"
        assert pool.raw.open_connections == 1

    def test_a_peer_that_refuses_a_body_early_is_heard(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        def refuse(exchange: Exchange) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += exchange.link.read_exactly(1)
            exchange.answer(413, b"too much")
            exchange.link.stall()  # and does not read the rest

        pool = leaf(http(refuse))
        response = pool.fetch(POST, b"x" * 8_000_000)
        assert (response.status, response.text()) == (413, "too much")
        pool.pause(0)
        assert pool.raw.open_connections == 0

    def test_a_header_that_cannot_be_sent_costs_no_connection(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        peer = http()
        pool = leaf(peer)
        pool.fetch()
        for extra in [{"X": "a\r\nb"}, {"Host": "other"}, {"X": "ok", "Bad name": "x"}]:
            with pytest.raises(InvalidArgumentError):
                pool.run(pool.raw.fetch(GET, b"/", None, extra, deadline_after(5)))
        with pytest.raises(InvalidArgumentError):
            pool.run(pool.raw.fetch(GET, b"no-slash", None, None, deadline_after(5)))
        assert pool.fetch().status == 200
        assert [asked.connection for asked in peer.asked] == [0, 0]
        assert [asked.target for asked in peer.asked] == ["/", "/"]


class TestThePool:
    def test_whoever_waits_longest_is_served_first(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        peer = http()
        pool = leaf(peer, max_connections=1)
        if pool.runner is None:
            pytest.skip("threads start in no order; the blocking pool has its own test")
        results = together(pool, 50)
        assert [asked.target for asked in peer.asked] == [f"/{n}" for n in range(50)]
        assert [result.json()["target"] for result in results] == [f"/{n}" for n in range(50)]
        assert peer.asked[-1].connection == 0

    def test_a_failure_to_connect_ends_every_waiter(
        self, leaf: Callable[..., Leaf], tmp_path: Any
    ) -> None:
        pool = leaf(str(tmp_path / "nobody.sock"), max_connections=2)
        results = together(pool, 20)
        assert all(isinstance(result, ConnectError) for result in results)
        assert pool.raw.waiting == pool.raw.open_connections == 0

    def test_connections_beyond_max_idle_are_closed(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        gate = threading.Barrier(4)

        def meet(exchange: Exchange) -> None:
            exchange.request()
            gate.wait(10)
            exchange.answer()
            while True:
                exchange.request()
                exchange.answer()

        pool = leaf(http(meet), max_idle=1)
        assert [result.status for result in together(pool, 4)] == [200] * 4
        pool.until(lambda: pool.raw.open_connections == pool.raw.idle_connections == 1)

    def test_an_idle_connection_grows_old(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        peer = http()
        pool = leaf(peer, idle_expiry=0.05)
        first = [pool.open(), pool.open()]
        for stream in first:
            while pool.piece(stream) is not None:
                pass
        pool.pause(0.1)
        pool.fetch()
        pool.fetch()
        assert pool.raw.open_connections == 1

    @pytest.mark.parametrize("ending", ["closes", "speaks"])
    def test_an_idle_connection_on_which_anything_happened_is_not_used(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer], ending: str
    ) -> None:
        read, done = threading.Event(), threading.Event()

        def serve(exchange: Exchange) -> None:
            exchange.request()
            exchange.answer(200, b"good")
            if exchange.link.number == 0:
                assert read.wait(10)
                if ending == "speaks":
                    exchange.answer(200, b"another caller's")
                    done.set()
                    exchange.link.read_exactly(1)
                exchange.link.close()
                done.set()
                raise Gone
            exchange.link.stall()

        pool = leaf(http(serve))
        assert pool.fetch().text() == "good"
        read.set()
        assert done.wait(10)
        assert pool.fetch().text() == "good"

    def test_a_pool_that_is_closed_ends_what_runs_and_what_waits(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        peer = http(script(lambda exchange: exchange.link.stall()))
        pool = leaf(peer, max_connections=1)
        if pool.runner is not None:

            async def main() -> list[Any]:
                calls = [
                    asyncio.ensure_future(pool.raw.fetch(GET, b"/", None, None, deadline_after(30)))
                    for _ in range(3)
                ]
                while not peer.asked:
                    await asyncio.sleep(0.001)
                pool.raw.close()
                return await asyncio.gather(*calls, return_exceptions=True)

            results = pool.runner.run(main())
        else:
            closer = threading.Thread(
                target=lambda: (until(lambda: peer.asked and pool.raw.waiting == 2), pool.end())
            )
            closer.start()
            results = together(pool, 3, 30)
            closer.join()
        assert sorted(type(result).__name__ for result in results) == [
            "ClientStateError",
            "ClientStateError",
            "ConnectionLostError",
        ]
        with pytest.raises(ClientStateError):
            pool.fetch()

    def test_a_pool_that_is_dropped_closes_its_connections(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        gone = threading.Event()

        def serve(exchange: Exchange) -> None:
            exchange.request()
            exchange.answer()
            try:
                exchange.request()
            except Gone:
                gone.set()
                raise

        pool = leaf(http(serve))
        pool.fetch()
        pool.raw = None
        gc.collect()
        pool.pause(0)
        assert gone.wait(10)
        pool.raw = HttpPool(
            parse_address("/nowhere"),
            limits=DEFAULT_LIMITS,
            max_connections=1,
            max_idle=1,
            idle_expiry=1,
        )


def trickle(exchange: Exchange) -> None:
    """Answer with a chunk, and then nothing until the client is gone."""
    exchange.request()
    exchange.start_events()
    exchange.chunk("data: 1\n\n")
    exchange.link.read_exactly(1)


class TestStreams:
    @pytest.mark.parametrize("way", ["close", "drop", "deadline"])
    def test_whoever_leaves_early_closes_the_connection_at_once(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer], way: str
    ) -> None:
        gone = threading.Event()

        def serve(exchange: Exchange) -> None:
            try:
                trickle(exchange)
            finally:
                gone.set()

        pool = leaf(http(serve), max_connections=1)
        for _ in range(3):
            gone.clear()
            stream = pool.open()
            assert bytes(pool.piece(stream)) == b"data: 1\n\n"
            if way == "close":
                stream.close()
                assert stream.closed
            elif way == "deadline":
                with pytest.raises(DeadlineError) as caught:
                    pool.piece(stream, 0.02)
                assert caught.value.sent
                assert pool.piece(stream) is None
            del stream
            gc.collect()
            pool.pause(0)
            assert gone.wait(10)
            pool.until(lambda: pool.raw.open_connections == 0)

    def test_events_end_early_the_same_way(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        pool = leaf(http(trickle), max_connections=1)
        for _ in range(3):
            events = pool.open().events(EventDecoder(), 10, deadline_after(10))
            assert pool.event(events).data == "1"
            del events
            gc.collect()
            pool.until(lambda: pool.raw.open_connections == 0)

    @pytest.mark.parametrize(
        ("late", "later"), [(0.0, 0.0), (0.0, 0.001), (0.02, 0.0)], ids=["at-once", "apart", "late"]
    )
    def test_the_end_behind_the_last_event_saves_the_connection(
        self,
        leaf: Callable[..., Leaf],
        http: Callable[..., HttpPeer],
        late: float,
        later: float,
    ) -> None:
        """Also an end that comes piece by piece."""

        def serve(exchange: Exchange) -> None:
            while True:
                exchange.request()
                exchange.start_events()
                exchange.chunk("data: 1\n\n")
                exchange.chunk("data: [DONE]\n\n")
                time.sleep(late)
                exchange.chunk(": bye\n\n")
                time.sleep(later)
                exchange.end_chunks()

        peer = http(serve)
        pool = leaf(peer)
        waited_for = pool.runner is not None or late == 0
        # The end is given 5 ms by the blocking leaf, and a busy machine keeps the peer waiting
        # for longer: it is enough that one connection is met again.
        for _ in range(50 if waited_for else 3):
            events = pool.open().events(EventDecoder(terminator=b"[DONE]"), 10, deadline_after(10))
            assert [pool.event(events).data, pool.event(events)] == ["1", None]
            assert events.done
            pool.until(lambda: pool.raw.open_connections == pool.raw.idle_connections)
            met = [asked.connection for asked in peer.asked]
            if len(set(met)) < len(met):
                return
        assert not waited_for, "each response cost its connection"

    def test_an_end_that_does_not_come_is_not_waited_for(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        pool = leaf(http(trickle))
        stream = pool.open()
        stream.finish(0.02)
        pool.until(lambda: pool.raw.open_connections == 0)

    def test_an_event_stream_without_its_end_mark_raises(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        def serve(exchange: Exchange) -> None:
            exchange.request()
            exchange.start_events()
            exchange.chunk("data: 1\n\ndata: 2\n\n")
            exchange.end_chunks()

        pool = leaf(http(serve))
        events = pool.open().events(EventDecoder(terminator=b"[DONE]"), 10, deadline_after(10))
        assert [pool.event(events).data for _ in range(2)] == ["1", "2"]
        with pytest.raises(ConnectionLostError, match="end mark"):
            pool.event(events)
        assert pool.event(events) is None

    def test_a_fault_comes_behind_the_events_before_it(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        def serve(exchange: Exchange) -> None:
            exchange.request()
            exchange.start_events()
            exchange.raw(b"12\r\ndata: 1\n\ndata: 2\n\n\r\nno-size\r\n")
            exchange.link.stall()

        pool = leaf(http(serve))
        events = pool.open().events(EventDecoder(), 10, deadline_after(10))
        assert [pool.event(events).data for _ in range(2)] == ["1", "2"]
        with pytest.raises(ProtocolError) as caught:
            pool.event(events)
        assert caught.value.rule == "chunk-size"
        assert pool.event(events) is None
        pool.until(lambda: pool.raw.open_connections == 0)

    def test_comments_do_not_feed_the_idle_timeout(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        def serve(exchange: Exchange) -> None:
            exchange.request()
            exchange.start_events()
            exchange.chunk("data: 1\n\n")
            while True:
                exchange.chunk(": still here\n\n")
                time.sleep(0.01)

        pool = leaf(http(serve))
        events = pool.open().events(EventDecoder(), 0.15, deadline_after(60))
        assert pool.event(events).data == "1"
        with pytest.raises(DeadlineError, match="idle_timeout"):
            pool.event(events)
        assert events.comments > 1
        assert events.closed

    def test_a_slow_reader_holds_the_peer_back(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        total = 16 * 1024 * 1024
        sent = 0
        chunk = b"x" * 65536

        def serve(exchange: Exchange) -> None:
            nonlocal sent
            exchange.request()
            exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            while sent < total:
                exchange.raw(chunk)
                sent += len(chunk)
            exchange.link.stall()

        pool = leaf(http(serve))
        stream = pool.open()
        pool.pause(0.2)
        assert sent < 4 * 1024 * 1024
        size = 0
        while (piece := pool.piece(stream)) is not None:
            size += len(piece)
        assert size == total
        assert pool.raw.idle_connections == 1

    def test_an_end_that_tls_did_not_announce_is_no_end(
        self, leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
    ) -> None:
        def serve(exchange: Exchange) -> None:
            exchange.request()
            exchange.raw(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
            if exchange.link.number == 1:
                exchange.link.sock.unwrap()  # says that it ends
            with (
                socket.socket(fileno=exchange.link.sock.detach()) as raw,
                contextlib.suppress(OSError),  # the client may have left
            ):
                raw.shutdown(socket.SHUT_RDWR)
            raise Gone

        pool = leaf(http(serve, "tls"))
        with pytest.raises(ConnectionLostError):
            pool.fetch()
        assert pool.fetch().text() == "half of it"


def test_answers_are_counted_against_their_requests(
    leaf: Callable[..., Leaf], http: Callable[..., HttpPeer]
) -> None:
    """Two answers to one request: the first stands or is refused, the second never does."""
    pool = leaf(http(script(answer(200, b"first") + answer(200, b"second"))))
    for _ in range(3):
        with pytest.raises(ProtocolError) as caught:
            pool.fetch()
        assert caught.value.rule == "surplus-bytes"
    assert pool.raw.open_connections == 0
