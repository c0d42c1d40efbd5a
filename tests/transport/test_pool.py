"""Both pools over real sockets: no slot is ever lost, and nobody waits for nothing.

Laws under test: never more than `limit` channels; an idle channel that went stale is not
handed out; whoever waits longest is served first; whatever ends a waiter or an opener, what
it held or was handed goes on to the next.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import signal
import socket
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ostiary._io import aio, blocking, blocking_pool
from ostiary._io.aio_pool import AsyncChannelPool
from ostiary._io.blocking_pool import ChannelPool
from ostiary.errors import (
    APIError,
    ClientStateError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    OstiaryError,
    ProtocolError,
)
from tests.conftest import Run
from tests.transport.calls import ECHO, FOREVER, Ask, adial, agood, dial, good, soon, until
from tests.transport.peer import Connection, Peer, echo, framed

Peers = Callable[..., Peer]


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt, which pytest would take for the user's."""


class Watched:
    """A lock of the pool's: says when a thread is about to wait on it, and may intervene."""

    def __init__(self, watch: Watch) -> None:
        self._lock = threading.Lock()
        self._watch = watch

    def acquire(self, timeout: float | None = None) -> bool:
        if timeout is None:
            return self._lock.acquire()
        self._watch.waiting.put(threading.get_ident())
        if self._watch.instead is not None:
            instead, self._watch.instead = self._watch.instead, None
            return instead()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()


class Watch:
    """Knows which threads wait in a pool, in the order in which they began."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[int] = queue.Queue()
        self.instead: Callable[[], bool] | None = None

    def lock(self) -> Watched:
        return Watched(self)

    def wait(self) -> None:
        """Return when one more thread waits."""
        self.waiting.get(timeout=20)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    one = Watch()
    namespace = types.SimpleNamespace(Lock=one.lock, TIMEOUT_MAX=threading.TIMEOUT_MAX)
    monkeypatch.setattr(blocking_pool, "threading", namespace)
    return one


class Task(threading.Thread):
    """A thread whose result or error can be asked for."""

    def __init__(self, target: Callable[..., Any], *arguments: Any) -> None:
        super().__init__(daemon=True)
        self._work = target
        self._arguments = arguments
        self._error: BaseException | None = None
        self._result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._work(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks
            self._error = error

    def result(self) -> Any:
        self.join(20)
        assert not self.is_alive(), "it never ended"
        if self._error is not None:
            raise self._error
        return self._result


class Opener:
    """Opens channels to a peer; the next ones may be told to fail."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.opened: list[blocking.Channel] = []
        self.failures: list[BaseException] = []
        self.deadlines: list[float] = []

    def __call__(self, deadline: float) -> blocking.Channel:
        self.deadlines.append(deadline)
        if self.failures:
            raise self.failures.pop(0)
        channel = dial(self.peer)
        self.opened.append(channel)
        return channel


def take(pool: ChannelPool, deadline: float | None = None) -> blocking.Channel:
    """What the transport does."""
    return pool.ready() or pool.open(soon() if deadline is None else deadline)


def assert_whole(pool: ChannelPool, limit: int) -> None:
    """Exactly `limit` channels can be had, all good, and not one more."""
    got = [take(pool, soon(5)) for _ in range(limit)]
    assert len(set(got)) == limit
    for n, channel in enumerate(got):
        good(channel, n)
    assert pool.ready() is None
    with pytest.raises(DeadlineError, match=f"all {limit} connections were busy"):
        pool.open(soon(0.02))
    for channel in got:
        pool.release(channel)
    assert len(pool.channels()) == limit


def assert_soon(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)


class TestReuse:
    def test_last_in_first_out(self, peers: Peers) -> None:
        pool = ChannelPool(Opener(peers()), 5)
        first, second, third = (take(pool) for _ in range(3))
        pool.release(second)
        pool.release(third)
        pool.release(first)
        assert [pool.ready() for _ in range(4)] == [first, third, second, None]

    def test_one_connection_for_calls_in_a_row(self, peers: Peers) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 5)
        for n in range(50):
            channel = take(pool)
            good(channel, n)
            pool.release(channel)
        assert len(opener.peer.links) == 1

    def test_open_prefers_what_was_given_back_meanwhile(self, peers: Peers) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 5)
        channel = take(pool)
        pool.release(channel)
        assert pool.open(soon()) is channel

    def test_the_limit_is_respected(self, peers: Peers) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 3)
        assert_whole(pool, 3)
        assert len(opener.opened) == 3

    def test_the_opener_gets_the_callers_deadline(self, peers: Peers) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 2)
        deadline = soon(1234)
        pool.open(deadline)
        pool.open(FOREVER)
        assert opener.deadlines == [deadline, FOREVER]

    def test_channels_lists_busy_and_idle(self, peers: Peers) -> None:
        pool = ChannelPool(Opener(peers()), 3)
        busy, idle = take(pool), take(pool)
        pool.release(idle)
        assert set(pool.channels()) == {busy, idle}

    def test_a_channel_given_back_twice_or_from_elsewhere_frees_no_slot(self, peers: Peers) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 2)
        closed = take(pool)
        closed.close()
        pool.release(closed)
        pool.release(closed)
        stranger = dial(opener.peer)
        stranger.close()
        pool.release(stranger)
        assert_whole(pool, 2)

    def test_a_closed_channel_frees_its_slot(self, peers: Peers) -> None:
        pool = ChannelPool(Opener(peers()), 2)
        for _ in range(20):
            channel = take(pool)
            channel.close()
            pool.release(channel)
        assert_whole(pool, 2)


class TestStale:
    def test_the_peer_left(self, peers: Peers, kind: str) -> None:
        opener = Opener(peers(kind=kind))
        pool = ChannelPool(opener, 2)
        old = [take(pool), take(pool)]
        for n, channel in enumerate(old):
            good(channel, n)
            pool.release(channel)
        for link in list(opener.peer.links):
            socket.socket.shutdown(link.sock, socket.SHUT_RDWR)
        assert_soon(lambda: all(channel.stale() for channel in old))
        assert pool.ready() is None
        assert all(channel.closed for channel in old)
        assert pool.channels() == []
        assert_whole(pool, 2)

    def test_unasked_bytes(self, peers: Peers) -> None:
        """They would be read as the answer to the next call."""
        go = threading.Event()

        def speak(link: Connection) -> None:
            link.echo(link.read_request())
            if link.number == 0:
                assert go.wait(20)
                link.raw(framed(b'{"id":2,"result":{"n":8,"check":0,"pad":""}}'))
                link.wait_gone()
            echo(link)

        pool = ChannelPool(Opener(peers(speak)), 1)
        old = take(pool)
        good(old)
        pool.release(old)
        go.set()
        assert_soon(old.stale)
        new = take(pool)
        assert new is not old
        assert old.closed
        good(new, 8)
        pool.release(new)
        assert_whole(pool, 1)

    def test_only_the_stale_ones_go(self, peers: Peers) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 3)
        all_of_them = [take(pool) for _ in range(3)]
        for n, channel in enumerate(all_of_them):
            good(channel, n)
            pool.release(channel)
        socket.socket.shutdown(opener.peer.links[2].sock, socket.SHUT_RDWR)
        socket.socket.shutdown(opener.peer.links[1].sock, socket.SHUT_RDWR)
        assert_soon(lambda: all(channel.stale() for channel in all_of_them[1:]))
        assert pool.ready() is all_of_them[0]
        assert [channel.closed for channel in all_of_them] == [False, True, True]


class TestWaiting:
    def test_first_come_first_served(self, peers: Peers, watch: Watch) -> None:
        pool = ChannelPool(Opener(peers()), 1)
        served: list[int] = []

        def work(n: int) -> None:
            channel = take(pool)
            served.append(n)
            good(channel, n)
            pool.release(channel)

        held = take(pool)
        tasks = []
        for n in range(12):
            tasks.append(Task(work, n))
            watch.wait()
        assert not served
        pool.release(held)
        for task in tasks:
            task.result()
        assert served == list(range(12))

    def test_leave_to_open_is_handed_on_in_the_same_order(self, peers: Peers, watch: Watch) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 1)
        served: list[int] = []

        def work(n: int) -> None:
            channel = take(pool)
            served.append(n)
            good(channel, n)
            channel.close()
            pool.release(channel)

        held = take(pool)
        tasks = []
        for n in range(8):
            tasks.append(Task(work, n))
            watch.wait()
        held.close()
        pool.release(held)
        for task in tasks:
            task.result()
        assert served == list(range(8))
        assert len(opener.opened) == 9
        assert_whole(pool, 1)

    def test_a_deadline_while_all_are_busy(self, peers: Peers) -> None:
        pool = ChannelPool(Opener(peers()), 2)
        held = [take(pool), take(pool)]
        began = time.monotonic()
        with pytest.raises(DeadlineError, match="all 2 connections were busy") as caught:
            pool.open(soon(0.1))
        assert 0.1 <= time.monotonic() - began < 10
        assert not caught.value.sent
        assert "max_connections" in str(caught.value)
        with pytest.raises(DeadlineError):
            pool.open(soon(-1))
        for channel in held:
            pool.release(channel)
        assert_whole(pool, 2)

    def test_one_who_gave_up_is_passed_over(self, peers: Peers, watch: Watch) -> None:
        pool = ChannelPool(Opener(peers()), 1)
        held = take(pool)
        patient = []
        for timeout in (0.05, 20, 0.05, 20):
            task = Task(take, pool, soon(timeout))
            watch.wait()
            if timeout < 1:
                with pytest.raises(DeadlineError):
                    task.result()
            else:
                patient.append(task)
        pool.release(held)
        for task in patient:
            assert task.result() is held
            pool.release(held)
        assert_whole(pool, 1)

    @pytest.mark.parametrize("closed", [False, True], ids=["a channel", "leave to open"])
    def test_served_in_the_moment_the_time_runs_out(
        self, peers: Peers, watch: Watch, closed: bool
    ) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 1)
        held = take(pool)

        def just_then() -> bool:
            if closed:
                held.close()
            pool.release(held)
            return False  # the lock's own time ran out before

        watch.instead = just_then
        got = pool.open(soon())
        assert (got is held) is not closed
        good(got)
        pool.release(got)
        assert_whole(pool, 1)

    @pytest.mark.parametrize("moment", ["before", "a channel", "leave to open"])
    @pytest.mark.parametrize("error", [Interrupted, MemoryError, SystemExit])
    def test_an_interrupted_waiter_keeps_nothing(
        self, peers: Peers, watch: Watch, moment: str, error: type[BaseException]
    ) -> None:
        pool = ChannelPool(Opener(peers()), 1)
        held = take(pool)

        def interrupt() -> bool:
            if moment == "leave to open":
                held.close()
            if moment != "before":
                pool.release(held)
            raise error

        watch.instead = interrupt
        with pytest.raises(error):
            pool.open(soon())
        if moment == "before":
            pool.release(held)
        assert_whole(pool, 1)

    @pytest.mark.parametrize("closed", [False, True], ids=["a channel", "leave to open"])
    def test_what_an_interrupted_waiter_was_handed_goes_to_the_next(
        self, peers: Peers, watch: Watch, closed: bool
    ) -> None:
        pool = ChannelPool(Opener(peers()), 1)
        held = take(pool)
        others: list[Task] = []

        def interrupt() -> bool:
            for _ in range(2):
                others.append(Task(take, pool))
                watch.wait()
            if closed:
                held.close()
            pool.release(held)
            raise Interrupted

        watch.instead = interrupt
        with pytest.raises(Interrupted):
            pool.open(soon())
        got = others[0].result()
        assert (got is held) is not closed
        assert others[1].is_alive()
        pool.release(got)
        assert others[1].result() is got
        pool.release(got)
        assert_whole(pool, 1)

    def test_a_signal_ends_a_wait(self, peers: Peers, watch: Watch) -> None:
        """The real thing: a handler that raises, in the thread that waits."""
        pool = ChannelPool(Opener(peers()), 1)
        held = take(pool)
        main = threading.get_ident()

        def interrupt(*_: object) -> None:
            raise Interrupted

        before = signal.signal(signal.SIGUSR1, interrupt)
        try:
            for _ in range(20):

                def strike() -> None:
                    watch.wait()
                    time.sleep(0.002)  # rather in the wait than just before; either will do
                    signal.pthread_kill(main, signal.SIGUSR1)

                striker = Task(strike)
                with pytest.raises(Interrupted):
                    pool.open(soon())
                striker.result()
        finally:
            signal.signal(signal.SIGUSR1, before)
        pool.release(held)
        assert_whole(pool, 1)

    def test_signals_and_channels_at_the_same_time(self, peers: Peers, watch: Watch) -> None:
        pool = ChannelPool(Opener(peers()), 1)
        main = threading.get_ident()

        def interrupt(*_: object) -> None:
            raise Interrupted

        draw = random.Random(5)
        before = signal.signal(signal.SIGUSR1, interrupt)
        outcomes = set()
        try:
            for _ in range(150):
                held = take(pool)
                pause = draw.choice([0, 0, 0.0001, 0.001])
                order = draw.random() < 0.5

                def strike(held: Any = held, pause: float = pause, order: bool = order) -> None:
                    watch.wait()
                    if order:
                        pool.release(held)
                        time.sleep(pause)
                    signal.pthread_kill(main, signal.SIGUSR1)
                    if not order:
                        time.sleep(pause)
                        pool.release(held)

                got: list[blocking.Channel] = []
                struck = False
                try:
                    striker = Task(strike)
                    # Filled from C: nothing can come between the channel and the list.
                    got.extend(map(pool.open, [soon()]))
                    striker.join(20)
                    time.sleep(20)  # until it strikes, which it has or is about to
                except Interrupted:
                    struck = True
                assert struck
                striker.result()
                outcomes.add(bool(got))
                for channel in got:
                    pool.release(channel)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert_whole(pool, 1)


FAILURES: list[BaseException] = [
    ConnectError("no"),
    ConnectionLostError("no", sent=True),
    DeadlineError("no"),
    ProtocolError("no"),
    APIError("no"),
    OSError(24, "too many"),
    RuntimeError("no"),
    MemoryError(),
    Interrupted(),
    SystemExit(3),
]


class TestFailingOpener:
    @pytest.mark.parametrize("error", FAILURES, ids=lambda e: type(e).__name__)
    def test_loses_no_slot(self, peers: Peers, error: BaseException) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 2)
        for _ in range(5):
            opener.failures.append(error)
            with pytest.raises(type(error)) as caught:
                pool.open(soon())
            assert caught.value is error
        assert pool.channels() == []
        assert_whole(pool, 2)

    @pytest.mark.parametrize("error", FAILURES, ids=lambda e: type(e).__name__)
    def test_wakes_a_waiter(self, peers: Peers, watch: Watch, error: BaseException) -> None:
        """Each of three waiters opens in its turn; the first two fail too."""
        entered, go = threading.Event(), threading.Event()
        opener = Opener(peers())

        def slow(deadline: float) -> blocking.Channel:
            if not go.is_set():
                entered.set()
                assert go.wait(20)
            return opener(deadline)

        opener.failures = [error] * 3
        pool = ChannelPool(slow, 1)
        tasks = [Task(take, pool)]
        assert entered.wait(20)
        for _ in range(3):
            tasks.append(Task(take, pool))
            watch.wait()
        go.set()
        for task in tasks[:3]:
            with pytest.raises(type(error)):
                task.result()
        pool.release(tasks[3].result())
        assert_whole(pool, 1)


class TestClose:
    def test_while_busy(self, peers: Peers, kind: str) -> None:
        entered = threading.Event()

        def hang(link: Connection) -> None:
            link.read_request()
            entered.set()
            link.wait_gone()

        pool = ChannelPool(Opener(peers(hang, kind)), 2)
        channel = take(pool)
        task = Task(channel.call, ECHO, Ask(1), FOREVER)
        assert entered.wait(20)
        pool.close()
        with pytest.raises(ConnectionLostError) as caught:
            task.result()
        assert caught.value.sent
        pool.release(channel)
        assert channel.closed
        assert pool.channels() == []
        assert pool.ready() is None

    def test_while_waiting(self, peers: Peers, watch: Watch) -> None:
        pool = ChannelPool(Opener(peers()), 1)
        held = take(pool)
        tasks = []
        for _ in range(5):
            tasks.append(Task(take, pool, FOREVER))
            watch.wait()
        pool.close()
        for task in tasks:
            with pytest.raises(ClientStateError, match="closed while this call waited"):
                task.result()
        assert held.closed

    def test_while_a_channel_was_on_its_way_to_a_waiter(self, peers: Peers, watch: Watch) -> None:
        pool = ChannelPool(Opener(peers()), 1)
        held = take(pool)

        def just_then() -> bool:
            pool.release(held)
            pool.close()
            return True

        watch.instead = just_then
        with pytest.raises(ClientStateError):
            pool.open(soon())
        assert held.closed

    def test_while_opening(self, peers: Peers) -> None:
        entered, go = threading.Event(), threading.Event()
        opener = Opener(peers())

        def slow(deadline: float) -> blocking.Channel:
            entered.set()
            assert go.wait(20)
            return opener(deadline)

        pool = ChannelPool(slow, 1)
        task = Task(take, pool)
        assert entered.wait(20)
        pool.close()
        go.set()
        with pytest.raises(ClientStateError, match="closed while this call connected"):
            task.result()
        assert [channel.closed for channel in opener.opened] == [True]
        assert pool.channels() == []

    def test_is_for_ever(self, peers: Peers) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 2)
        idle, busy = take(pool), take(pool)
        pool.release(idle)
        pool.close()
        pool.close()
        assert idle.closed
        assert busy.closed
        pool.release(busy)
        assert pool.ready() is None
        with pytest.raises(ClientStateError, match="closed"):
            pool.open(soon())
        assert len(opener.opened) == 2


class TestAbandon:
    def test_everything_is_forgotten(self, peers: Peers) -> None:
        opener = Opener(peers())
        pool = ChannelPool(opener, 2)
        busy, idle = take(pool), take(pool)
        pool.release(idle)
        pool.abandon()
        assert_soon(lambda: all(link.sock.fileno() < 0 for link in opener.peer.links))
        assert busy.closed
        assert idle.closed
        assert pool.channels() == []
        pool.release(busy)
        assert_whole(pool, 2)
        assert len(opener.opened) == 4

    def test_in_a_forked_child(self, peers: Peers) -> None:
        """The child opens its own; the parent's channels live on and were not spoken over."""
        opener = Opener(peers())
        pool = ChannelPool(opener, 2)
        busy, idle = take(pool), take(pool)
        pool.release(idle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                assert busy.closed
                assert idle.closed
                pool.release(busy)
                assert_whole(pool, 2)
                code = 0
            except BaseException:  # noqa: BLE001 - told by the exit code
                traceback.print_exc()
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert pool.ready() is idle
        good(idle, 1)
        good(busy, 2)
        pool.release(idle)
        pool.release(busy)
        assert_whole(pool, 2)
        assert len(opener.opened) == 2


@pytest.mark.parametrize("breaking", [False, True], ids=["calm", "breaking"])
def test_sixteen_threads_share_four(peers: Peers, breaking: bool) -> None:
    """Every answer is checked; while some break their channel, no slot is lost."""
    peer = peers()
    lock = threading.Lock()
    in_use = 0
    most = 0

    def opener(deadline: float) -> blocking.Channel:
        if breaking and random.random() < 0.2:
            raise ConnectError("unlucky")
        return dial(peer)

    pool = ChannelPool(opener, 4)

    def work(which: int) -> int:
        nonlocal in_use, most
        draw = random.Random(which)
        done = 0
        while done < 100:
            try:
                channel = take(pool)
            except ConnectError:
                continue
            with lock:
                in_use += 1
                most = max(most, in_use)
            good(channel, which * 1000 + done)
            done += 1
            if breaking and draw.random() < 0.2:
                channel.close()
            with lock:
                in_use -= 1
            pool.release(channel)
        return done

    tasks = [Task(work, n) for n in range(16)]
    assert [task.result() for task in tasks] == [100] * 16
    assert most <= 4
    if not breaking:
        assert len(peer.links) <= 4
        assert_whole(pool, 4)
    assert len(pool.channels()) <= 4
    pool.close()


# --- asyncio


class AsyncOpener:
    """Opens channels to a peer, when let; the next ones may be told to fail."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.opened: list[aio.AsyncChannel] = []
        self.failures: list[BaseException] = []
        self.deadlines: list[float] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, deadline: float) -> aio.AsyncChannel:
        self.deadlines.append(deadline)
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        channel = await adial(self.peer)
        self.opened.append(channel)
        return channel


async def atake(pool: AsyncChannelPool, deadline: float | None = None) -> aio.AsyncChannel:
    return pool.ready() or await pool.open(soon() if deadline is None else deadline)


@pytest.fixture
def opener(peers: Peers) -> AsyncOpener:
    return AsyncOpener(peers())


@pytest.fixture
def pool(opener: AsyncOpener) -> Iterator[AsyncChannelPool]:
    one = AsyncChannelPool(opener, 7)
    yield one
    one.close()


class TestAsync:
    def test_one_connection_for_all(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def one(n: int) -> aio.AsyncChannel:
            channel = await atake(pool)
            await agood(channel, n)
            pool.release(channel)
            return channel

        async def main() -> None:
            assert pool.ready() is None
            assert pool.channels() == []
            channels = set(await asyncio.gather(*(one(n) for n in range(200))))
            assert len(channels) == 1
            assert pool.channels() == list(channels)
            assert pool.ready() in channels
            assert len(opener.peer.links) == 1
            assert len(opener.deadlines) == 1

        run(main())

    def test_a_closed_channel_is_replaced(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def main() -> None:
            first = await atake(pool)
            first.close()
            assert pool.channels() == []
            assert pool.ready() is None
            second = await atake(pool)
            assert second is not first
            await agood(second)
            socket.socket.shutdown(opener.peer.links[-1].sock, socket.SHUT_RDWR)
            await until(lambda: second.closed)
            await agood(await atake(pool))
            assert len(opener.opened) == 3

        run(main())

    def test_the_first_opener_is_cancelled_while_others_wait(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def main() -> None:
            opener.gate = asyncio.Event()
            tasks = [asyncio.create_task(atake(pool)) for _ in range(20)]
            await until(lambda: opener.deadlines)
            await asyncio.sleep(0)
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            opener.gate.set()
            channels = set(await asyncio.gather(*tasks[1:]))
            assert len(channels) == 1
            await agood(channels.pop())
            assert len(opener.deadlines) == 1

        run(main())

    def test_everybody_who_waits_is_cancelled(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        """What was begun is used by the next, or given up: it never stays behind."""

        async def main() -> None:
            opener.gate = asyncio.Event()
            tasks = [asyncio.create_task(atake(pool)) for _ in range(5)]
            await until(lambda: opener.deadlines)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert all(task.cancelled() for task in tasks)
            opener.gate.set()
            channel = await atake(pool)
            await agood(channel)
            assert [one for one in opener.opened if not one.closed] == [channel]

        run(main())

    @pytest.mark.parametrize(
        "error",
        [
            ConnectError("no"),
            ConnectionLostError("no", sent=True),
            ProtocolError("no"),
            APIError("no", status=401, code="X", retry_after=3.0),
            OSError(24, "too many"),
            RuntimeError("no"),
            MemoryError(),
        ],
        ids=lambda e: type(e).__name__,
    )
    def test_a_failure_reaches_every_waiter_as_its_own(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool, error: Exception
    ) -> None:
        async def main() -> None:
            opener.gate = asyncio.Event()
            opener.failures.append(error)
            tasks = [asyncio.create_task(atake(pool)) for _ in range(10)]
            await until(lambda: opener.deadlines)
            await asyncio.sleep(0)
            opener.gate.set()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert len({id(one) for one in found}) == 10, "an error was shared"
            for one in found:
                assert type(one) is type(error)
                assert isinstance(one, Exception)
                assert one.args == error.args
                assert vars(one) == vars(error)
            assert len(opener.deadlines) == 1
            await agood(await atake(pool))

        run(main())

    def test_the_deadline_of_one_waiter(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def main() -> None:
            opener.gate = asyncio.Event()
            patient = [asyncio.create_task(atake(pool)) for _ in range(3)]
            await until(lambda: opener.deadlines)
            began = time.monotonic()
            with pytest.raises(DeadlineError, match="while the connection was opened") as caught:
                await atake(pool, soon(0.1))
            assert 0.1 <= time.monotonic() - began < 10
            assert not caught.value.sent
            opener.gate.set()
            assert len(set(await asyncio.gather(*patient))) == 1
            assert len(opener.deadlines) == 1

        run(main())

    def test_the_deadline_of_the_first_opener(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        """It ends for the first alone; the others begin again, together, with their own time."""

        async def main() -> None:
            opener.gate = asyncio.Event()
            opener.failures.append(DeadlineError("the first one's time"))
            first = asyncio.create_task(atake(pool, soon(19)))
            await until(lambda: opener.deadlines)
            others = [asyncio.create_task(atake(pool)) for _ in range(5)]
            await asyncio.sleep(0)
            opener.gate.set()
            with pytest.raises(DeadlineError, match="the first one's time"):
                await first
            assert len(set(await asyncio.gather(*others))) == 1
            assert len(opener.deadlines) == 2
            assert opener.deadlines[1] > opener.deadlines[0]

        run(main())

    def test_no_time_at_all(self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool) -> None:
        async def main() -> None:
            opener.failures.append(DeadlineError("late"))
            with pytest.raises(DeadlineError):
                await pool.open(soon(-1))
            await agood(await atake(pool, FOREVER))

        run(main())

    def test_a_caller_in_the_turn_in_which_it_opened(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        """The opener has ended and its end is not noted yet: that is no reason for a second."""
        late: list[asyncio.Task[aio.AsyncChannel]] = []

        async def opening(deadline: float) -> aio.AsyncChannel:
            channel = await opener(deadline)
            if not late:
                late.append(asyncio.create_task(atake(one)))
            return channel

        one = AsyncChannelPool(opening, 1)

        async def main() -> None:
            first = await atake(one)
            assert await late[0] is first
            assert len(opener.opened) == 1
            one.close()
            assert all(channel.closed for channel in opener.opened)

        run(main())

    def test_close_while_waiting(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def main() -> None:
            opener.gate = asyncio.Event()
            tasks = [asyncio.create_task(atake(pool)) for _ in range(5)]
            await until(lambda: opener.deadlines)
            pool.close()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one) for one in found] == [ClientStateError] * 5
            with pytest.raises(ClientStateError, match="closed"):
                await pool.open(soon())
            assert opener.opened == []

        run(main())

    def test_close_in_the_turn_in_which_it_opened(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def opening(deadline: float) -> aio.AsyncChannel:
            channel = await opener(deadline)
            asyncio.get_running_loop().call_soon(one.close)
            return channel

        one = AsyncChannelPool(opening, 1)

        async def main() -> None:
            with pytest.raises(OstiaryError):
                await agood(await atake(one))
            await until(lambda: all(channel.closed for channel in opener.opened))
            assert one.channels() == []

        run(main())

    def test_close_while_busy(self, run: Run, peers: Peers) -> None:
        def hang(link: Connection) -> None:
            link.read_request()
            link.wait_gone()

        peer = peers(hang)
        one = AsyncChannelPool(AsyncOpener(peer), 1)

        async def main() -> None:
            channel = await atake(one)
            call = channel.call(ECHO, Ask(1), FOREVER)
            await until(lambda: peer.requests)
            one.close()
            one.close()
            with pytest.raises(ConnectionLostError) as caught:
                await call
            assert caught.value.sent
            assert channel.closed
            assert one.ready() is None
            assert one.channels() == []

        run(main())

    def test_a_second_running_loop(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def other() -> None:
            with pytest.raises(ClientStateError, match="another running event loop"):
                pool.ready()
            with pytest.raises(ClientStateError, match="another running event loop"):
                await pool.open(soon())

        async def main() -> None:
            channel = await atake(pool)
            for _ in range(3):
                await asyncio.to_thread(asyncio.run, other())
            await agood(channel)
            assert pool.ready() is channel
            assert len(opener.opened) == 1

        run(main())

    def test_a_second_running_loop_while_the_first_opens(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def other() -> None:
            with pytest.raises(ClientStateError, match="another running event loop"):
                await asyncio.wait_for(atake(pool), 5)

        async def main() -> None:
            opener.gate = gate = asyncio.Event()
            first = asyncio.create_task(atake(pool))
            await until(lambda: opener.deadlines)
            opener.gate = None
            try:
                await asyncio.to_thread(asyncio.run, other())
            finally:
                gate.set()
                await first
            assert len(opener.opened) == 1

        run(main())

    def test_a_loop_that_ended(self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool) -> None:
        async def main(n: int) -> None:
            channel = await atake(pool)
            await agood(channel, n)
            assert await atake(pool) is channel

        for n in range(5):
            run(main(n))
        assert len(opener.opened) == 5
        assert [channel.closed for channel in opener.opened] == [True] * 4 + [False]

    def test_a_loop_that_ended_while_it_opened(
        self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool
    ) -> None:
        async def cut_off() -> None:
            opener.gate = asyncio.Event()
            task = asyncio.create_task(atake(pool))
            await until(lambda: opener.deadlines)
            assert not task.done()

        async def main() -> None:
            await agood(await atake(pool))

        run(cut_off())
        opener.gate = None
        run(main())
        assert len(opener.opened) == 1

    def test_in_a_forked_child(self, run: Run, opener: AsyncOpener, pool: AsyncChannelPool) -> None:
        async def first() -> None:
            await agood(await atake(pool))

        async def second(old: aio.AsyncChannel) -> None:
            channel = await atake(pool)
            assert channel is not old
            assert old.closed
            await agood(channel, 3)

        run(first())
        (old,) = pool.channels()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                assert pool.channels() == []
                run(second(old))
                code = 0
            except BaseException:  # noqa: BLE001 - told by the exit code
                traceback.print_exc()
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert not old.closed
        assert pool.channels() == [old]
