"""Pools in threads, tasks, forks, loops and pickles; interrupted, closed, and seen by reporters."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import pickle
import signal
import socket
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType, ModuleType
from typing import Any

import msgspec
import pytest

from ostiary._route import Route
from ostiary.config import Limits
from ostiary.errors import (
    APIError,
    ClientStateError,
    ConnectionLostError,
    DeadlineError,
    InvalidArgumentError,
    OstiaryError,
    ProtocolError,
)
from ostiary.http import AsyncPool, Pool
from ostiary.secret import Secret
from tests.conftest import Run
from tests.frames import recorded
from tests.http.conftest import Driver
from tests.http.peer import Exchange, HttpPeer, answer, echo, lost, script, stall

Pools = Callable[..., Driver]
Peers = Callable[..., HttpPeer]


class Said(msgspec.Struct):
    target: str
    body: str


SAY: Route[Said] = Route("POST", "/say/{n}", Said)


def is_mine(said: Said, n: int, pad: str) -> bool:
    return said == Said(f"/say/{n}", f'{{"pad":"{pad}"}}')


def until(condition: Callable[[], bool]) -> None:
    """Wait for it; the suite's own timeout bounds it."""
    while not condition():
        time.sleep(0.001)


# --- many at once


@pytest.mark.parametrize("parser", ["strict", "h11"])
def test_threads_share_a_pool(peers: Peers, parser: Any) -> None:
    peer = peers(echo)

    def work(worker: int) -> int:
        good = 0
        for n in range(worker * 1000, worker * 1000 + 60):
            pad = "x" * (n % 7 * 300)
            good += is_mine(pool.call(SAY, n, body={"pad": pad}), n, pad)
        return good

    with (
        Pool(peer.url(), max_connections=3, parser=parser, timeout=60) as pool,
        ThreadPoolExecutor(8) as threads,
    ):
        assert list(threads.map(work, range(8))) == [60] * 8
        assert pool.open_connections <= 3
        assert pool.waiting == 0
    assert len(peer.links) <= 3


@pytest.mark.parametrize("parser", ["strict", "h11"])
def test_tasks_share_a_pool(peers: Peers, parser: Any, run: Run) -> None:
    peer = peers(echo)

    async def main() -> None:
        async with AsyncPool(peer.url(), max_connections=3, parser=parser, timeout=60) as pool:

            async def one(n: int) -> bool:
                pad = "x" * (n % 7 * 300)
                return is_mine(await pool.call(SAY, n, body={"pad": pad}), n, pad)

            assert all(await asyncio.gather(*map(one, range(300))))
            assert (pool.open_connections, pool.idle_connections, pool.waiting) == (3, 3, 0)

    run(main())
    assert len(peer.links) == 3


def test_streams_and_calls_side_by_side(pools: Pools, peers: Peers) -> None:
    def serve(exchange: Exchange) -> None:
        while True:
            if exchange.request().target == "/events":
                exchange.start_events()
                exchange.chunk("data: one\n\n")
                exchange.link.wait_gone()
                return
            exchange.answer(200, b"good")

    pool = pools(peers(serve))
    with pool.events("GET", "/events") as stream:
        assert next(stream).data == "one"
        for _ in range(3):
            assert pool.request("GET", "/").read() == b"good"
        assert pool.raw.open_connections == 2
    assert pool.raw.open_connections == 1


def test_idle_connections_are_few_and_short_lived(pools: Pools, peers: Peers) -> None:
    peer = peers(echo)
    pool = pools(peer, max_idle=0)
    for _ in range(3):
        pool.request("GET", "/")
        assert pool.raw.open_connections == 0
    assert len(peer.links) == 3
    pool = pools(peer, idle_expiry=0.02)
    pool.request("GET", "/")
    time.sleep(0.05)
    pool.request("GET", "/")
    assert len(peer.links) == 5


# --- interrupted


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Have Ctrl-C raise, also where whoever started the tests turned it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_ends_a_call_and_not_the_pool(peers: Peers) -> None:
    peer = peers(script(stall, answer(200, b"good")))
    with Pool(peer.url(), timeout=60) as pool:

        def interrupt() -> None:
            until(lambda: len(peer.asked) == 1)
            time.sleep(0.02)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            pool.request("GET", "/")
        thread.join()
        assert pool.open_connections == 0
        assert pool.request("GET", "/").read() == b"good"
    assert len(peer.asked) == 2


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_ends_the_wait_between_attempts(peers: Peers) -> None:
    waiting = threading.Event()
    peer = peers(script(answer(503, b"", [("Retry-After", "30")]), answer(200, b"good")))
    with Pool(peer.url(), timeout=60, on_retry=lambda info: waiting.set()) as pool:

        def interrupt() -> None:
            waiting.wait()
            time.sleep(0.02)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            pool.request("GET", "/")
        thread.join()
        assert pool.request("GET", "/").read() == b"good"


@pytest.mark.parametrize("what", ["request", "stream", "events", "retry", "credentials"])
def test_a_cancelled_task_leaves_a_good_pool(peers: Peers, run: Run, what: str) -> None:
    asked = threading.Event()

    def serve(exchange: Exchange) -> None:
        while True:
            target = exchange.request().target
            if target == "/good":
                exchange.answer(200, b"good")
            elif target == "/retry":
                exchange.answer(503, b"", [("Retry-After", "30")])
            else:
                asked.set()
                exchange.link.wait_gone()
                return

    peer = peers(serve)
    never = threading.Event()

    async def credentials() -> dict[str, str]:
        if what == "credentials" and not never.is_set():
            never.set()
            asked.set()
            await asyncio.sleep(60)
        return {}

    async def main() -> None:
        options = {"on_retry": lambda info: asked.set(), "credentials": credentials}
        async with AsyncPool(peer.url(), max_connections=1, timeout=60, **options) as pool:
            method: Callable[..., Coroutine[Any, Any, Any]] = {
                "stream": pool.stream,
                "events": pool.events,
            }.get(what, pool.request)
            task = asyncio.ensure_future(method("GET", "/" + what))
            while not asked.is_set():
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await pool.request("GET", "/good")).read() == b"good"
            assert (pool.open_connections, pool.idle_connections) == (1, 1)

    run(main())


# --- closed


def test_closed_is_closed(pools: Pools, peers: Peers, colour: str) -> None:
    peer = peers(echo)
    pool = pools(peer)
    assert pool.request("GET", "/").status == 200
    assert not pool.raw.closed
    pool.close()
    pool.close()
    assert pool.raw.closed
    assert pool.raw.open_connections == 0
    for attempt in (lambda: pool.request("GET", "/"), lambda: pool.call(SAY, 1)):
        with pytest.raises(ClientStateError):
            attempt()
    if colour == "sync":
        with pytest.raises(ClientStateError, match="closed"), pool.raw:
            pass
    else:
        with pytest.raises(ClientStateError, match="closed"):
            pool.run(pool.raw.__aenter__())
    assert len(peer.asked) == 1


def test_close_ends_what_is_under_way(peers: Peers) -> None:
    peer = peers(script(stall))
    pool = Pool(peer.url(), timeout=60, max_connections=1)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            pool.request("GET", "/")
        except OstiaryError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(peer.asked) == 1 and pool.waiting == 2)
    pool.close()
    for thread in threads:
        thread.join(20)
    assert len(failures) == 3
    assert {type(one) for one in failures} <= {ConnectionLostError, ClientStateError}


def test_close_ends_what_is_under_way_on_a_loop(peers: Peers, run: Run) -> None:
    peer = peers(script(stall))

    async def main() -> None:
        pool = AsyncPool(peer.url(), timeout=60, max_connections=1)
        tasks = [asyncio.ensure_future(pool.request("GET", "/")) for _ in range(3)]
        while not (peer.asked and pool.waiting == 2):
            await asyncio.sleep(0.001)
        await pool.close()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in ends} <= {ConnectionLostError, ClientStateError}

    run(main())


@pytest.mark.usefixtures("no_leaked_descriptors")
def test_a_forgotten_pool_leaves_nothing_open(pools: Pools, peers: Peers) -> None:
    peer = peers(echo)
    for _ in range(10):
        pool = pools(peer)
        pool.request("GET", "/")
        pool.close()
    raw = Pool(peer.url())
    raw.request("GET", "/")
    del raw, pool
    gc.collect()


@pytest.mark.parametrize("kind", [Pool, AsyncPool])
def test_the_collector_may_come_to_a_socket_first(peers: Peers, kind: Any) -> None:
    """It takes what ends together in an order of its own, and warns nobody of that."""
    with warnings.catch_warnings(record=True) as seen, asyncio.Runner() as runner:
        warnings.simplefilter("always")
        pool = kind(peers(echo).url())
        answered = pool.request("GET", "/")
        if kind is AsyncPool:
            runner.run(answered)
        # What it finds to be in use it puts at the end of its list, as it comes to it.
        held: list[Any] = [sockets_of(pool), [[[[[pool]]]]]]
        held.append(held)
        del answered, pool
        gc.collect()
        runner.close()
        del held
        gc.collect()
    assert [str(one.message) for one in seen] == []


def sockets_of(thing: object) -> list[socket.socket]:
    """Return the sockets that an object holds, however deep in it."""
    met: dict[int, object] = {}
    left = [thing]
    while left:
        one = left.pop()
        if id(one) not in met and not isinstance(one, type | FunctionType | ModuleType):
            met[id(one)] = one
            left += gc.get_referents(one)
    return [one for one in met.values() if isinstance(one, socket.socket)]


# --- forked


def test_a_child_uses_no_socket_of_its_parent(pools: Pools, peers: Peers, colour: str) -> None:
    """The child works at once, and so does the parent while and after it does."""
    peer = peers(echo)
    pool = pools(peer, max_connections=2)
    for n in range(5):
        assert is_mine(pool.call(SAY, n, body={"pad": "p"}), n, "p")
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        good = 0
        try:
            if colour == "sync":
                good = sum(is_mine(pool.call(SAY, n, body={"pad": "c"}), n, "c") for n in range(50))
            else:

                async def main() -> int:
                    return sum(
                        [
                            is_mine(await pool.raw.call(SAY, n, body={"pad": "c"}), n, "c")
                            for n in range(50)
                        ]
                    )

                # A loop does not outlive a fork either; the child makes its own.
                asyncio.set_event_loop(None)
                with asyncio.Runner() as runner:
                    good = runner.run(main())
        except BaseException:  # noqa: BLE001 - shown by the parent, which has no other way
            os.write(writable, traceback.format_exc().encode()[-3000:])
        finally:
            os.write(writable, b"good %d" % good)
            os._exit(0)
    os.close(writable)
    assert all(is_mine(pool.call(SAY, n, body={"pad": "p"}), n, "p") for n in range(50))
    with os.fdopen(readable, "rb") as pipe:
        assert pipe.read() == b"good 50"
    os.waitpid(pid, 0)
    assert is_mine(pool.call(SAY, 9, body={"pad": "p"}), 9, "p")
    assert len(peer.links) == 2
    theirs = {one.connection for one in peer.asked if b'"c"' in one.body}
    ours = {one.connection for one in peer.asked if b'"p"' in one.body}
    assert theirs.isdisjoint(ours)


# --- two loops


def test_one_loop_after_another(peers: Peers, run: Run) -> None:
    peer = peers(echo)
    pool = AsyncPool(peer.url())

    async def main() -> None:
        for n in range(3):
            assert is_mine(await pool.call(SAY, n, body={"pad": ""}), n, "")

    async def end() -> None:
        await pool.close()

    run(main())
    run(main())
    run(end())
    assert len(peer.links) == 2


def test_two_loops_at_once(peers: Peers) -> None:
    peer = peers(echo)
    pool = AsyncPool(peer.url())
    started, over = threading.Event(), threading.Event()

    async def first() -> None:
        assert (await pool.request("GET", "/")).status == 200
        started.set()
        while not over.is_set():
            await asyncio.sleep(0.001)
        assert (await pool.request("GET", "/")).status == 200
        await pool.close()

    async def second() -> None:
        with pytest.raises(ClientStateError, match="loop"):
            await pool.request("GET", "/")

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, first())
        started.wait(20)
        try:
            asyncio.run(second())
        finally:
            over.set()
        running.result(20)


# --- pickled and copied


def made(kind: Any, url: str) -> Any:
    return kind(
        url,
        headers={
            "X-Plain": "shown",
            "Authorization": "Bearer hunter2",
            "X-Mine": Secret("hunter2"),
        },
        credentials=lambda: {"X-Other": "hunter2"},
        timeout=7,
        max_retries=1,
        limits=Limits(body=1000),
        on_request=lambda info: None,
    )


@pytest.mark.parametrize("how", [*range(pickle.HIGHEST_PROTOCOL + 1), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", [Pool, AsyncPool])
def test_a_pool_travels_without_its_secrets(peers: Peers, kind: Any, how: Any) -> None:
    peer = peers(echo)
    pool = made(kind, peer.url("/v1"))
    if isinstance(how, int):
        data = pickle.dumps(pool, how)
        assert b"hunter2" not in data
        again = pickle.loads(data)
    else:
        again = how(pool)
    assert type(again) is kind
    assert again.base_url == pool.base_url
    assert again.settings == pool.settings
    assert again.settings.timeout == 7
    assert not again.closed

    async def main() -> None:
        await again.request("GET", "/a")
        await again.close()
        await pool.close()

    if kind is AsyncPool:
        asyncio.run(main())
    else:
        again.request("GET", "/a")
        again.close()
        pool.close()
    (asked,) = peer.asked
    assert asked.target == "/v1/a"
    assert asked.header("x-plain") == "shown"
    assert "hunter2" not in repr(asked.headers)


class MyPool(Pool):
    pass


def test_a_closed_pool_and_a_class_of_ones_own_travel(peers: Peers) -> None:
    pool = MyPool(peers(echo).url())
    pool.close()
    with pickle.loads(pickle.dumps(pool)) as again:
        assert type(again) is MyPool
        assert again.request("GET", "/").status == 200


# --- what reporters see


def test_a_pool_shows_where_it_goes_and_no_more() -> None:
    pool = made(Pool, "http+unix://%2Frun%2Fs.sock/v1")
    shown = [
        repr(pool),
        str(pool),
        f"{pool}",
        repr([getattr(pool, name) for name in Pool.__slots__[1:]]),
        repr(pool.settings),
    ]
    shown += [repr(pool._heads.head("GET", "a/b", False))]
    assert repr(pool) == "<Pool http+unix://%2Frun%2Fs.sock/v1, open>"
    pool.close()
    assert repr(pool) == "<Pool http+unix://%2Frun%2Fs.sock/v1, closed>"
    assert "hunter2" not in "".join(shown)
    assert "not configured" in repr(Pool.__new__(Pool))


ENDS: list[tuple[Any, type[OstiaryError]]] = [
    (answer(401, '{"code":"hunter2 hunter2","message":"hunter2"}'), APIError),
    (answer(302, b"hunter2", [("Location", "https://elsewhere.example/hunter2")]), APIError),
    (answer(200, '{"target":"hunter2","body":"hunter2", hunter2'), ProtocolError),
    (answer(200, '{"target":"hunter2","body":["hunter2"]}'), ProtocolError),
    (b"HTTP/1.1 200 hunter2\r\nhunter2\r\n\r\n", ProtocolError),
    (lost, ConnectionLostError),
    (stall, DeadlineError),
]


@pytest.mark.parametrize(
    ("step", "kind"), ENDS, ids=["401", "302", "no-json", "shape", "status", "lost", "stall"]
)
@pytest.mark.parametrize("how", ["request", "call", "stream", "events", "call_events"])
def test_no_error_holds_a_secret(
    pools: Pools,
    peers: Peers,
    step: Any,
    kind: type[OstiaryError],
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    pool = pools(
        peers(script(step)),
        max_retries=0,
        timeout=0.05 if step is stall else 20,
        headers={"Authorization": "Bearer hunter2"},
        credentials=lambda: {"X-Key": "hunter2"},
    )
    options: dict[str, Any] = {
        "headers": {"Cookie": "hunter2"},
        "query": {"q": "hunter2"},
        "idempotency_key": "hunter2",
    }
    try:
        if how == "call":
            pool.call(SAY, "hunter2", body={"secret": "hunter2"}, **options)
        elif how == "call_events":
            list(pool.call_events(SAY, "hunter2", body={"secret": "hunter2"}, **options))
        elif how == "request":
            pool.request("POST", "/", json={"secret": "hunter2"}, **options)
        else:
            list(getattr(pool, how)("POST", "/", json={"secret": "hunter2"}, **options))
    except kind as error:
        shown = recorded(error)
        # What the peer said is kept, but shown to who asks for it only.
        assert "hunter2" not in shown
    else:
        assert how != "call", "it was expected to fail"
    assert "hunter2" not in caplog.text


def test_arguments_that_are_refused_stay_hidden(pools: Pools, peers: Peers) -> None:
    pool = pools(peers())
    attempts: list[Callable[[], object]] = [
        lambda: pool.request("POST", "/", json={"a": object(), "b": "hunter2"}),
        lambda: pool.request("POST", "/a x", body=b"hunter2", query={"q": "hunter2"}),
        lambda: pool.call(SAY, "", body={"b": "hunter2"}, headers={"A": "hunter2"}),
        lambda: pool.request("GET", "/", headers={"A": "hunter2\n"}),
        lambda: pool.request("GET", "/", headers={"A": b"hunter2"}),
        lambda: pool.request("GET", "/", idempotency_key="hunter2\n"),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidArgumentError) as caught:
            attempt()
        assert "hunter2" not in recorded(caught.value)
