"""Adaptive limits on real sockets: who is sent, who waits, and how that ends."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from ostiary._io import gate
from ostiary.errors import (
    ClientStateError,
    DeadlineError,
    OstiaryError,
    RateLimitError,
    UnavailableError,
)
from ostiary.gateway.options import Behaviour
from ostiary.governance import AsyncGovernanceClient, GovernanceClient
from ostiary.http import AsyncPool, Pool
from ostiary.runtime import AsyncRuntimeClient, RuntimeClient
from ostiary.workflow import AsyncWorkflowClient, WorkflowClient
from tests.conftest import Run
from tests.frames import recorded
from tests.http.conftest import Driver
from tests.http.overload import serving
from tests.http.peer import Exchange, HttpPeer, answer, echo, script

Pools = Callable[..., Driver]
Peers = Callable[..., HttpPeer]

FIRST = 8  # what is allowed before anything is known


class Held:
    """Answers nobody before `answering` is set, and counts who is there."""

    def __init__(self) -> None:
        self.answering = threading.Event()
        self.at_once = 0
        self.most_at_once = 0
        self._counting = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        while True:
            exchange.request()
            with self._counting:
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
            self.answering.wait()
            with self._counting:
                self.at_once -= 1
            exchange.json({})


@pytest.fixture
def held(peers: Peers) -> Iterator[tuple[Held, str]]:
    server = Held()
    yield server, peers(server).url()
    server.answering.set()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as executor:
        yield executor


def until(condition: Callable[[], bool]) -> None:
    """Wait for it; the suite's own timeout bounds it."""
    while not condition():
        time.sleep(0.001)


def get(pool: Pool, **options: Any) -> int:
    return pool.request("GET", "/", **options).status


def crowd(threads: ThreadPoolExecutor, pool: Pool, number: int) -> list[Future[int]]:
    """Begin requests, and return when all of them are sent or wait."""
    before = pool.waiting + gate_of(pool)._under_way
    futures = [threads.submit(get, pool) for _ in range(number)]
    until(lambda: pool.waiting + gate_of(pool)._under_way == before + number)
    return futures


def gate_of(pool: Pool | AsyncPool) -> Any:
    return gate._gates[pool.settings.address]


def free(pool: Pool | AsyncPool) -> bool:
    """Whether nothing is under way and nobody waits, as far as the gate knows."""
    gc.collect()
    return bool(gate_of(pool)._under_way == 0 == gate_of(pool).waiting)


def test_it_is_off_by_default(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(echo))
    assert pool.raw.adaptive_limit is None
    assert pool.request("GET", "/").status == 200


def test_pools_without_it_never_load_it() -> None:
    code = (
        "import sys\n"
        "from ostiary.http import AsyncPool, Pool\n"
        "Pool('http://localhost'), AsyncPool('http://localhost')\n"
        "assert not {'ostiary._limit', 'ostiary._io.gate'} & sys.modules.keys()\n"
        "assert Pool('http://localhost', adaptive=True).adaptive_limit == 8\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("most", [1, 5, 100])
def test_no_more_than_the_limit_are_sent_and_all_are_served(
    held: tuple[Held, str], threads: ThreadPoolExecutor, most: int
) -> None:
    server, url = held
    first = min(FIRST, most)
    with Pool(url, adaptive=True, max_connections=most) as pool:
        futures = crowd(threads, pool, 40)
        assert pool.adaptive_limit == first
        assert pool.waiting == 40 - first
        until(lambda: server.at_once == first)
        server.answering.set()
        assert [future.result() for future in futures] == [200] * 40
        assert server.most_at_once <= most
        assert free(pool)


def test_one_limit_for_pools_threads_and_loops(
    held: tuple[Held, str], threads: ThreadPoolExecutor, run: Run
) -> None:
    server, url = held

    async def main(pool: AsyncPool, number: int) -> None:
        async with pool:
            responses = await asyncio.gather(
                *(pool.request("GET", "/async") for _ in range(number))
            )
            assert [one.status for one in responses] == [200] * number

    with Pool(url, adaptive=True) as one, Pool(url, adaptive=True, timeout=9) as two:
        futures = [*crowd(threads, one, 4), *crowd(threads, two, 3)]
        other = threads.submit(lambda: run(main(AsyncPool(url, adaptive=True), 5)))
        until(lambda: one.waiting == 4)
        futures += crowd(threads, one, 2)
        assert two.waiting == 6
        until(lambda: server.at_once == FIRST)
        server.answering.set()
        other.result()
        assert [future.result() for future in futures] == [200] * 9
        assert free(one)


def test_they_are_let_through_in_their_order(peers: Peers, threads: ThreadPoolExecutor) -> None:
    server = Held()
    peer = peers(server)
    try:
        with Pool(peer.url(), adaptive=True, max_connections=1) as pool:
            futures = []
            for number in range(6):
                futures.append(threads.submit(pool.request, "GET", f"/{number}"))
                until(lambda: pool.waiting == len(futures) - 1 and server.at_once == 1)
            server.answering.set()
            assert {future.result().status for future in futures} == {200}
    finally:
        server.answering.set()
    assert [asked.target for asked in peer.asked] == [f"/{number}" for number in range(6)]


@pytest.mark.parametrize("bound", ["timeout", "pool_timeout"])
def test_who_waits_too_long_is_told_so_and_sends_nothing(
    held: tuple[Held, str], threads: ThreadPoolExecutor, run: Run, bound: str
) -> None:
    server, url = held
    options: dict[str, Any] = {bound: 0.05, "adaptive": True, "max_retries": 0}
    with Pool(url, adaptive=True) as pool, Pool(url, **options) as hasty:
        futures = crowd(threads, pool, FIRST)
        with pytest.raises(DeadlineError, match="waited for its turn") as caught:
            get(hasty)
        assert not caught.value.sent

        async def main() -> None:
            async with AsyncPool(url, **options) as hasty:
                with pytest.raises(DeadlineError, match="at most 8 requests at once"):
                    await hasty.request("GET", "/")

        run(main())
        assert pool.waiting == 0
        server.answering.set()
        assert {future.result() for future in futures} == {200}
        assert get(hasty, timeout=20) == 200
        assert free(pool)


def test_a_cancelled_task_leaves_its_place(held: tuple[Held, str], run: Run) -> None:
    server, url = held

    async def main() -> None:
        async with AsyncPool(url, adaptive=True) as pool:
            tasks = [asyncio.ensure_future(pool.request("GET", "/")) for _ in range(20)]
            while pool.waiting != 20 - FIRST:
                await asyncio.sleep(0)
            tasks[-1].cancel()  # waiting
            tasks[0].cancel()  # under way: the next in line is sent
            while pool.waiting != 20 - FIRST - 2:
                await asyncio.sleep(0.001)
            server.answering.set()
            responses = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one) for one in responses].count(asyncio.CancelledError) == 2
            assert [one.status for one in responses[1:-1]] == [200] * 18  # type: ignore[union-attr]
            assert free(pool)

    run(main())


def test_a_task_that_is_served_and_cancelled_at_once_hands_its_turn_on(
    held: tuple[Held, str], run: Run
) -> None:
    server, url = held

    async def main() -> None:
        async with AsyncPool(url, adaptive=True, max_connections=1) as pool:
            first, second, third = (
                asyncio.ensure_future(pool.request("GET", "/")) for _ in range(3)
            )
            while pool.waiting != 2:
                await asyncio.sleep(0)
            # Its turn comes while the loop is in this task, and so does the cancellation.
            gate_of(pool).leave(gate_of(pool)._line[0])
            assert second.cancel()
            server.answering.set()
            assert (await first).status == (await third).status == 200
            with pytest.raises(asyncio.CancelledError):
                await second
            assert free(pool)

    run(main())


def test_closing_a_pool_sends_away_who_waits_for_it_alone(
    held: tuple[Held, str], threads: ThreadPoolExecutor, run: Run
) -> None:
    server, url = held
    with Pool(url, adaptive=True) as pool:
        futures = crowd(threads, pool, FIRST)
        other = Pool(url, adaptive=True)
        gone = crowd(threads, other, 3)
        stays = crowd(threads, pool, 2)
        other.close()
        for future in gone:
            with pytest.raises(ClientStateError, match="closed while this call waited"):
                future.result()

        async def main() -> None:
            closing = AsyncPool(url, adaptive=True)
            task = asyncio.ensure_future(closing.request("GET", "/"))
            while closing.waiting != 3:
                await asyncio.sleep(0)
            await closing.close()
            with pytest.raises(ClientStateError, match="closed while this call waited"):
                await task

        run(main())
        server.answering.set()
        assert {future.result() for future in futures + stays} == {200}
        assert free(pool)


def test_a_loop_that_ends_keeps_no_place(
    held: tuple[Held, str], threads: ThreadPoolExecutor
) -> None:
    server, url = held
    with Pool(url, adaptive=True) as pool:
        futures = crowd(threads, pool, FIRST)
        loop = asyncio.new_event_loop()

        async def begin() -> list[asyncio.Task[Any]]:
            forgotten = AsyncPool(url, adaptive=True)
            tasks = [asyncio.ensure_future(forgotten.request("GET", "/")) for _ in range(3)]
            while forgotten.waiting != 3:
                await asyncio.sleep(0)
            return tasks

        tasks = loop.run_until_complete(begin())
        loop.close()
        later = crowd(threads, pool, 2)
        server.answering.set()
        assert {future.result() for future in futures + later} == {200}
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        del tasks
        assert free(pool)


def test_a_thread_that_runs_a_loop_does_not_wait_for_its_own_tasks(
    held: tuple[Held, str], run: Run
) -> None:
    server, url = held

    async def main() -> None:
        with Pool(url, adaptive=True) as blocking:
            async with AsyncPool(url, adaptive=True) as pool:
                tasks = [asyncio.ensure_future(pool.request("GET", "/")) for _ in range(9)]
                while pool.waiting != 1:
                    await asyncio.sleep(0)
                server.answering.set()
                assert get(blocking) == 200  # on the thread of the loop
                assert {one.status for one in await asyncio.gather(*tasks)} == {200}
                assert free(pool)

    run(main())


def test_a_forked_child_owes_nothing_for_its_parent(
    held: tuple[Held, str], peers: Peers, threads: ThreadPoolExecutor
) -> None:
    server, url = held
    with Pool(url, adaptive=True) as pool:
        futures = crowd(threads, pool, FIRST + 2)
        child = os.fork()
        if not child:
            status = 1
            try:
                server.answering.set()  # of the child's own memory: the server is the parent's
                gate_of(pool).limit.most = 9
                fresh = pool.adaptive_limit == FIRST and free(pool)
                with pytest.raises(DeadlineError, match="ran out"):
                    get(pool, timeout=0.2)  # sent, and not answered
                status = 0 if fresh and free(pool) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pool.waiting == 2
        server.answering.set()
        assert {future.result() for future in futures} == {200}


def test_what_a_parent_began_does_not_end_in_its_child(peers: Peers) -> None:
    way = gate.way_to(Pool(peers(echo).url()).settings.address, 2, math.inf)
    begun = way.enter("GET /", math.inf)
    child = os.fork()
    if not child:
        status = 1
        try:
            own = way.enter("GET /", math.inf)
            begun.answered(1.0, 200)
            status = 0 if own.round is not None and way._gate._under_way == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert way._gate._under_way == 1


def test_a_turn_that_nobody_refers_to_any_more_is_over(peers: Peers) -> None:
    way = gate.way_to(Pool(peers(echo).url()).settings.address, 2, math.inf)
    turns = [way.enter("GET /", math.inf) for _ in range(2)]
    assert not way._gate.pass_now(gate.Turn(way._gate, way, "GET /", math.inf))
    turns.pop()
    gc.collect()
    turns.append(way.enter("GET /", math.inf))
    assert way._gate._under_way == 2


def test_who_waited_so_long_that_no_answer_would_come_in_time_is_not_sent(
    held: tuple[Held, str], threads: ThreadPoolExecutor
) -> None:
    server, url = held
    with Pool(url, adaptive=True, max_connections=1, max_retries=0) as pool:
        # What an answer takes here: a minute, as far as is known.
        for _ in range(8):
            limit = gate_of(pool).limit
            limit.answered(limit.sent(1), "GET /", 60.0, 200)
        first = crowd(threads, pool, 1)
        until(lambda: server.at_once == 1)
        late = crowd(threads, pool, 1)  # it has 30 seconds
        patient = threads.submit(get, pool, timeout=None)
        until(lambda: pool.waiting == 2)
        server.answering.set()
        assert first[0].result() == patient.result() == 200
        with pytest.raises(DeadlineError, match="waited for its turn"):
            late[0].result()
        assert free(pool)


def test_a_stream_counts_until_its_head(pools: Pools, peers: Peers) -> None:
    def serve(exchange: Exchange) -> None:
        while True:
            exchange.request()
            exchange.start_events()
            exchange.chunk("data: 1\n\n")

    pool = pools(peers(serve), adaptive=True)
    streams = [pool.events("GET", "/") for _ in range(FIRST + 4)]
    assert [next(stream).data for stream in streams] == ["1"] * len(streams)
    assert free(pool.raw)
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimitError), (503, UnavailableError)], ids=["429", "503"]
)
def test_refusals_lower_the_limit_and_success_raises_it(
    pools: Pools, peers: Peers, status: int, kind: type[OstiaryError]
) -> None:
    fine = answer(200, "{}")
    peer = peers(script(answer(status), answer(status), fine))
    pool = pools(peer, adaptive=True, max_retries=0)
    for expected in (5, 3):
        with pytest.raises(kind):
            pool.request("GET", "/")
        assert pool.raw.adaptive_limit == expected
    # A retry is a request like any other.
    peer = peers(script(answer(status), fine))
    pool = pools(peer, adaptive=True)
    assert pool.request("GET", "/").status == 200
    assert pool.raw.adaptive_limit == 5


def test_hidden_things_stay_hidden(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(script(answer(503))), adaptive=True, max_retries=0)
    with pytest.raises(UnavailableError) as caught:
        pool.request("POST", "/", json={"a": "hunter2"}, headers={"A": "hunter2"})
    assert "hunter2" not in recorded(caught.value)
    turns = [pool.raw._attempts.way.enter("GET /", math.inf) for _ in range(5)]
    assert len(turns) == pool.raw.adaptive_limit
    with pytest.raises(DeadlineError) as late:
        pool.request("POST", "/", json={"a": "hunter2"}, headers={"A": "hunter2"}, timeout=0.01)
    assert "hunter2" not in recorded(late.value)


def test_a_pickled_pool_meets_the_same_limit(pools: Pools, peers: Peers) -> None:
    pool = pools(peers(script(answer(503), answer(200))), adaptive=True, max_retries=0)
    with pytest.raises(UnavailableError):
        pool.request("GET", "/")
    arrived = pickle.loads(pickle.dumps(pool.raw))
    assert arrived.adaptive_limit == pool.raw.adaptive_limit == 5


@pytest.mark.parametrize(
    "kind",
    [
        GovernanceClient,
        AsyncGovernanceClient,
        RuntimeClient,
        AsyncRuntimeClient,
        WorkflowClient,
        AsyncWorkflowClient,
    ],
)
def test_the_domains_hand_the_switch_on(kind: Any) -> None:
    url = f"http://localhost:{4000 + len(kind.__name__)}"
    assert kind(base_url=url).pool.adaptive_limit is None
    assert pickle.loads(pickle.dumps(kind(base_url=url, adaptive=True))).pool.adaptive_limit == 8


def test_the_gateway_hands_the_switch_on() -> None:
    behaviour = Behaviour(adaptive=True).portable()
    assert behaviour.pool_arguments()["adaptive"] is True
    before = set(gate._gates)
    behaviour.check()
    assert set(gate._gates) == before


def test_a_server_that_is_overrun_is_protected() -> None:
    """It has eight workers, for 60 clients; no figure here depends on how fast this runs."""
    seen = {}
    for adaptive in (False, True):
        with serving(workers=8, seconds=0.02) as (server, url):

            async def main(url: str = url, adaptive: bool = adaptive) -> None:
                async with AsyncPool(url, adaptive=adaptive) as pool:

                    async def client() -> None:
                        for _ in range(8):
                            assert (await pool.request("GET", "/")).status == 200

                    await asyncio.gather(*(client() for _ in range(60)))
                    server.most_at_once = 0
                    await asyncio.gather(*(client() for _ in range(60)))

            asyncio.run(main())
            assert server.served == 960
            seen[adaptive] = server.most_at_once
    assert seen[False] == 60
    assert seen[True] < 50
