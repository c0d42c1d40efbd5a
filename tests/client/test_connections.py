"""Connections shared by several clients, counted at a server on a real socket."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from ostiary.config import Limits
from ostiary.errors import ClientStateError, InvalidArgumentError
from ostiary.gateway import AsyncGatewayClient, DirectProviderClient, GatewayClient
from ostiary.governance import AsyncGovernanceClient, GovernanceClient
from ostiary.http import AsyncConnections, AsyncPool, Connections, Pool
from ostiary.runtime import AsyncRuntimeClient, RuntimeClient
from ostiary.workflow import AsyncWorkflowClient, WorkflowClient
from tests.colours import Driven, colour_of, loop_of
from tests.http.peer import Exchange, HttpPeer

pytestmark = pytest.mark.usefixtures("no_leaked_descriptors")

REPLY = {"status": "ok", "choices": [{"index": 0, "message": {"content": "x"}}]}


class Sharers:
    """Pools and clients of one colour, and what they share."""

    def __init__(self, runner: Any) -> None:
        self.runner = runner
        self.connections: Any = Connections() if runner is None else AsyncConnections()
        self._made: list[Driven] = []

    def pool(self, url: str, **more: Any) -> Any:
        kind: Any = Pool if self.runner is None else AsyncPool
        more.setdefault("connections", self.connections)
        pool = kind(url, timeout=20, max_retries=0, **more)
        self._made.append(_Closing(pool, self.runner))
        return pool

    def client(self, sync: Any, asynchronous: Any, **more: Any) -> Any:
        kind = sync if self.runner is None else asynchronous
        client = kind(connections=self.connections, **more)
        self._made.append(Driven(client, self.runner))
        return client

    def wait(self, outcome: Any) -> Any:
        return Driven(None, self.runner).wait(outcome)

    def get(self, pool: Any) -> int:
        return int(self.wait(pool.request("GET", "/x")).status)

    def close(self) -> None:
        for driven in self._made:
            driven.close()


class _Closing(Driven):
    def close(self) -> None:
        self.wait(self.raw.close())


@pytest.fixture(params=["sync", "asyncio"])
def sharers(request: pytest.FixtureRequest) -> Iterator[Sharers]:
    with loop_of(colour_of(request)) as runner:
        made = Sharers(runner)
        yield made
        made.close()


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with HttpPeer(answering, "tcp") as one:
        yield one


def answering(exchange: Exchange) -> None:
    while True:
        exchange.request()
        exchange.json(REPLY)


def test_pools_of_one_endpoint_share_its_connections(sharers: Sharers, peer: HttpPeer) -> None:
    pools = [sharers.pool(peer.url(prefix)) for prefix in ("", "/a", "/b")]
    for _ in range(3):
        for pool in pools:
            assert sharers.get(pool) == 200
    assert len(peer.links) == 1
    assert [asked.target for asked in peer.asked[:3]] == ["/x", "/a/x", "/b/x"]
    assert [pool.open_connections for pool in pools] == [1, 1, 1]
    alone = sharers.pool(peer.url(), connections=None)
    sharers.get(alone)
    assert len(peer.links) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"limits": Limits(head=9000)},
        {"parser": "h11"},
        {"max_connections": 7},
        {"max_idle": 7},
        {"idle_expiry": 7.0},
        {"pool_timeout": 7.0},
        {"connect_to": "127.0.0.1"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_is_set_otherwise_is_not_shared(
    sharers: Sharers, peer: HttpPeer, more: dict[str, Any]
) -> None:
    usual, other = sharers.pool(peer.url()), sharers.pool(peer.url(), **more)
    if "connect_to" in more:  # the same address by another way, under the name it has anyhow
        more["connect_to"] = f"127.0.0.1:{peer.where[1]}"
        other = sharers.pool(peer.url().replace("127.0.0.1", "localhost"), **more)
    for pool in (usual, other, usual, other):
        sharers.get(pool)
    assert len(peer.links) == 2


def test_tls_contexts_and_users_part_ways() -> None:
    one, two = ssl.create_default_context(), ssl.create_default_context()
    shared = Connections()
    url = "https://localhost:1"
    pools = [Pool(url, connections=shared, ssl_context=it) for it in (one, one, two, None)]
    sockets = [
        Pool("unix:///tmp/x", connections=shared, expected_uid=uid) for uid in (None, 0, 0, 1)
    ]
    assert repr(shared) == "<Connections to 6 endpoints>"
    for pool in [*pools, *sockets]:
        pool.close()
    assert repr(shared) == "<Connections to 0 endpoints>"


def test_the_last_pool_closes_them(sharers: Sharers, peer: HttpPeer) -> None:
    first, second = sharers.pool(peer.url()), sharers.pool(peer.url())
    sharers.get(first)
    for _ in range(2):  # twice is once
        sharers.wait(first.close())
    assert second.open_connections == 1
    assert sharers.get(second) == 200
    with pytest.raises(ClientStateError, match="closed"):
        sharers.get(first)
    assert first.open_connections == 0
    assert len(peer.links) == 1
    sharers.wait(second.close())
    assert second.open_connections == 0
    # Who comes afterwards begins anew.
    third = sharers.pool(peer.url())
    assert sharers.get(third) == 200
    assert len(peer.links) == 2


def test_a_pool_that_is_dropped_keeps_nothing_open(sharers: Sharers, peer: HttpPeer) -> None:
    kept = sharers.pool(peer.url())
    kind: Any = Pool if sharers.runner is None else AsyncPool
    dropped = kind(peer.url(), connections=sharers.connections)
    sharers.get(kept)
    del dropped
    gc.collect()
    sharers.wait(kept.close())
    assert kept.open_connections == 0
    assert repr(sharers.connections).endswith("to 0 endpoints>")


def test_a_call_under_way_outlives_the_pool_that_made_it(sharers: Sharers) -> None:
    asked, go = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        while True:
            exchange.request()
            asked.set()
            assert go.wait(30)
            exchange.json(REPLY)

    with HttpPeer(slow, "tcp") as peer, ExitStack() as stack:
        first, second = sharers.pool(peer.url()), sharers.pool(peer.url())
        if sharers.runner is None:
            threads = stack.enter_context(ThreadPoolExecutor(1))
            under_way = threads.submit(first.request, "GET", "/x")
            assert asked.wait(30)
            first.close()
            go.set()
            assert under_way.result(30).status == 200
        else:
            assert sharers.runner.run(_closed_meanwhile(first, asked, go)) == 200
        assert sharers.get(second) == 200
        assert len(peer.links) == 1
        sharers.close()


async def _closed_meanwhile(pool: Any, asked: threading.Event, go: threading.Event) -> int:
    under_way = asyncio.create_task(pool.request("GET", "/x"))
    while not asked.is_set():
        await asyncio.sleep(0.001)
    await pool.close()
    go.set()
    return int((await under_way).status)


def test_the_domains_share_one_endpoint(sharers: Sharers, peer: HttpPeer) -> None:
    common = {"base_url": peer.url(), "api_key": ""}
    clients = [
        sharers.client(RuntimeClient, AsyncRuntimeClient, **common),
        sharers.client(WorkflowClient, AsyncWorkflowClient, **common),
        sharers.client(GovernanceClient, AsyncGovernanceClient, **common),
    ]
    for client in clients:
        assert sharers.get(client.pool) == 200
    access = DirectProviderClient(
        allow=True,
        api_keys={"openai": "k", "anthropic": "k"},
        base_urls={"openai": peer.url("/o"), "anthropic": peer.url("/a")},
    )
    gateway = sharers.client(GatewayClient, AsyncGatewayClient, access=access)
    for model in ("openai:gpt-4o", "anthropic:claude-sonnet-4"):
        sharers.wait(gateway.chat("hello", model=model, max_tokens=5))
    assert len(peer.links) == 1
    assert len(peer.asked) == 5


def test_at_most_so_many_for_all_of_them(sharers: Sharers) -> None:
    """Twelve calls at once by three pools, and never more than two connections."""
    together = threading.Barrier(2)

    def in_pairs(exchange: Exchange) -> None:
        while True:
            exchange.request()
            together.wait(30)  # nothing goes on unless two are there at once
            exchange.json(REPLY)

    with HttpPeer(in_pairs, "tcp") as peer:
        pools = [sharers.pool(peer.url(), max_connections=2) for _ in range(3)] * 4
        if sharers.runner is None:
            with ThreadPoolExecutor(12) as threads:
                assert list(threads.map(sharers.get, pools)) == [200] * 12
        else:
            assert sharers.runner.run(_all_at_once(pools)) == [200] * 12
        assert len(peer.links) == 2
        sharers.close()


async def _all_at_once(pools: list[Any]) -> list[int]:
    answers = await asyncio.gather(*(pool.request("GET", "/x") for pool in pools))
    return [answer.status for answer in answers]


def test_a_forked_child_opens_its_own(sharers: Sharers, peer: HttpPeer) -> None:
    pools = [sharers.pool(peer.url()), sharers.pool(peer.url())]
    sharers.get(pools[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and forks, on 3.12
        child = os.fork()
    if child == 0:
        code = 1
        try:
            if sharers.runner is None:
                found = [sharers.get(pool) for pool in pools]
            else:
                with asyncio.Runner() as runner:
                    found = [runner.run(_all_at_once([pool]))[0] for pool in pools]
            code = 0 if found == [200, 200] else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(peer.links) == 2
    assert sharers.get(pools[1]) == 200
    assert len(peer.links) == 2


def test_many_threads_take_and_give_back(peer: HttpPeer) -> None:
    shared = Connections()

    def once(_: int) -> int:
        with Pool(peer.url(), connections=shared, timeout=20) as pool:
            return pool.request("GET", "/x").status

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(once, range(64))) == {200}
    assert repr(shared) == "<Connections to 0 endpoints>"


def test_they_do_not_travel(sharers: Sharers, peer: HttpPeer) -> None:
    pool = sharers.pool(peer.url())
    again = pickle.loads(pickle.dumps(pool))
    sharers.get(pool)
    sharers.get(again)
    assert len(peer.links) == 2
    sharers.wait(again.close())
    assert pool.open_connections == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pool("http://localhost", connections=AsyncConnections()),  # type: ignore[arg-type]
        lambda: AsyncPool("http://localhost", connections=Connections()),  # type: ignore[arg-type]
        lambda: WorkflowClient("http://localhost", connections=AsyncConnections()),  # type: ignore[arg-type]
    ],
    ids=["pool", "async", "domain"],
)
def test_the_colours_do_not_mix(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidArgumentError, match="connections is an ostiary.http"):
        make()
