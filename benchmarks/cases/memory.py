"""P14: what one client holds that does nothing, and one connection that lies in a pool.

The process's resident memory over many of them, in KB of 1,000 bytes. Whatever was freed is
given back to the system first (`malloc_trim`), for everyone alike, so that what is counted is
held and not merely left over. With `traced`, what tracemalloc counts instead: it sees Python's
own allocations and no others, and is there to be compared.

The connections of one pool are all used at once and then all idle. Blocking clients hold as
many responses open and read them to their ends; asyncio clients run as many calls, which the
server answers when it has them all.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from time import monotonic
from typing import Any

from ..sample import Sample, Unavailable, Work
from .clients import TIMEOUT, base_url, urllib3_pool
from .exchange import BODY, DEADLINE, HEADERS, KEY, peer, wrong

STREAM = "/v1/tokens/400"
"""A response too long to be whole when its head has come, so that it keeps its connection."""
TOGETHER = "/v1/together/"


def _resident() -> int:
    """Return this process's resident memory in bytes, exactly: `statm` lags behind."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        pass  # not glibc
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
    except OSError as error:
        raise Unavailable(f"resident memory is read from /proc: {error}") from None
    raise Unavailable("/proc/self/smaps_rollup has no Rss")


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


class _Scale:
    """Weighs what is allocated between its making and `per`."""

    def __init__(self, work: Work) -> None:
        self._read = _traced if work.options.get("traced") else _resident
        if self._read is _traced:
            tracemalloc.start()
        self._before = self._read()

    def per(self, count: int) -> Sample:
        """Return KB for each of `count`."""
        return Sample((self._read() - self._before) / count / 1000)


# --- idle clients -----------------------------------------------------------------------------


def _leaf_maker(work: Work) -> Callable[[], object]:
    from ostiary._io.blocking_http import HttpPool
    from ostiary.config import Limits, UnixAddress

    address, limits = UnixAddress(work.socket), Limits()
    return lambda: HttpPool(address, limits=limits, max_connections=100, max_idle=20, idle_expiry=5)


def _pool_maker(work: Work) -> Callable[[], object]:
    from ostiary.http import Pool

    base = base_url(work.socket)
    return lambda: Pool(base)


def _governance_maker(work: Work) -> Callable[[], object]:
    from ostiary.governance import GovernanceClient

    base = base_url(work.socket)
    return lambda: GovernanceClient(base, api_key=KEY)


def _wreq_maker(work: Work) -> Callable[[], object]:
    module, blocking = peer("wreq"), peer("wreq.blocking")
    return lambda: blocking.Client(proxies=[module.Proxy.unix(work.socket)], timeout=TIMEOUT)


MAKERS: dict[str, Callable[[Work], Callable[[], object]]] = {
    "leaf": _leaf_maker,
    "pool": _pool_maker,
    "governance": _governance_maker,
    "httpx": lambda work: lambda: peer("httpx").Client(),
    "httpx2": lambda work: lambda: peer("httpx2").Client(),
    "urllib3": lambda work: peer("urllib3").PoolManager,
    "wreq": _wreq_maker,
    "pycurl": lambda work: peer("pycurl").Curl,
    "hestiaos": lambda work: lambda: peer("hestiaos").Client("http://127.0.0.1:1"),
}


def clients(work: Work) -> Sample:
    """Clients that have done nothing yet."""
    try:
        make = MAKERS[work.options["client"]](work)
    except ImportError as error:
        raise Unavailable(str(error)) from None
    # What the first ones load is no part of the others.
    kept = [make() for _ in range(work.warm_up)]
    scale = _Scale(work)
    kept += [make() for _ in range(work.count)]
    return scale.per(work.count)


# --- idle connections -------------------------------------------------------------------------

Hold = Callable[[int], None]
"""Have that many connections at once, and leave them idle in the pool."""


@contextmanager
def _leaf(work: Work) -> Iterator[Hold]:
    from ostiary._io.blocking_http import HttpPool
    from ostiary._wire.request import RequestHead
    from ostiary.config import Limits, UnixAddress

    pool = HttpPool(
        UnixAddress(work.socket),
        limits=Limits(),
        max_connections=work.count,
        max_idle=work.count,
        idle_expiry=600,
    )
    head = RequestHead("POST", "localhost", HEADERS)

    def hold(count: int) -> None:
        until = monotonic() + DEADLINE
        streams = [pool.open(head, STREAM.encode(), BODY, None, until) for _ in range(count)]
        for stream in streams:
            stream.read(1 << 20, until)
        assert pool.idle_connections == count

    yield hold
    pool.close()


@contextmanager
def _httpx(name: str, work: Work) -> Iterator[Hold]:
    module = peer(name)
    limits = module.Limits(max_connections=work.count, max_keepalive_connections=work.count)
    transport = module.HTTPTransport(uds=work.socket, limits=limits)
    with module.Client(transport=transport, headers=HEADERS, timeout=DEADLINE) as client:

        def hold(count: int) -> None:
            url = f"http://localhost{STREAM}"
            made = [client.build_request("POST", url, content=BODY) for _ in range(count)]
            for response in [client.send(request, stream=True) for request in made]:
                response.read()

        yield hold


@contextmanager
def _urllib3(work: Work) -> Iterator[Hold]:
    with urllib3_pool(work.socket, work.count) as made:

        def hold(count: int) -> None:
            opened = [
                made.urlopen("POST", STREAM, body=BODY, preload_content=False) for _ in range(count)
            ]
            for response in opened:
                response.read()
                response.release_conn()

        yield hold


SYNC: dict[str, Callable[[Work], AbstractContextManager[Hold]]] = {
    "leaf": _leaf,
    "httpx": lambda work: _httpx("httpx", work),
    "httpx2": lambda work: _httpx("httpx2", work),
    "urllib3": _urllib3,
}


def connections(work: Work) -> Sample:
    """Connections in the pool of a blocking client."""
    try:
        with SYNC[work.options["client"]](work) as hold:
            hold(1)
            scale = _Scale(work)
            hold(work.count)
            return scale.per(work.count - 1)
    except ImportError as error:
        raise Unavailable(str(error)) from None


AsyncHold = Callable[[int], Coroutine[Any, Any, None]]


@asynccontextmanager
async def _async_leaf(work: Work) -> AsyncIterator[AsyncHold]:
    from ostiary._io.aio_http import AsyncHttpPool
    from ostiary._wire.request import RequestHead
    from ostiary.config import Limits, UnixAddress

    pool = AsyncHttpPool(
        UnixAddress(work.socket),
        limits=Limits(),
        max_connections=work.count,
        max_idle=work.count,
        idle_expiry=600,
    )
    head = RequestHead("POST", "localhost", HEADERS)

    async def ask(target: str) -> None:
        await pool.fetch(head, target.encode(), BODY, None, monotonic() + DEADLINE)

    async def hold(count: int) -> None:
        await asyncio.gather(*(ask(f"{TOGETHER}{count}") for _ in range(count)))
        assert pool.idle_connections == count

    yield hold
    pool.close()


@asynccontextmanager
async def _async_httpx(work: Work) -> AsyncIterator[AsyncHold]:
    module = peer("httpx")
    limits = module.Limits(max_connections=work.count, max_keepalive_connections=work.count)
    transport = module.AsyncHTTPTransport(uds=work.socket, limits=limits)
    async with module.AsyncClient(transport=transport, headers=HEADERS, timeout=DEADLINE) as client:

        async def ask(url: str) -> None:
            response = await client.post(url, content=BODY)
            if response.status_code != 200:
                raise wrong("httpx", response.status_code)

        async def hold(count: int) -> None:
            url = f"http://localhost{TOGETHER}{count}"
            await asyncio.gather(*(ask(url) for _ in range(count)))

        yield hold


@asynccontextmanager
async def _aiohttp(work: Work) -> AsyncIterator[AsyncHold]:
    module = peer("aiohttp")
    connector = module.UnixConnector(path=work.socket, limit=work.count)
    async with module.ClientSession(connector=connector, headers=HEADERS) as session:

        async def ask(url: str) -> None:
            async with session.post(url, data=BODY) as response:
                if response.status != 200:
                    raise wrong("aiohttp", response.status)
                await response.read()

        async def hold(count: int) -> None:
            url = f"http://localhost{TOGETHER}{count}"
            await asyncio.gather(*(ask(url) for _ in range(count)))

        yield hold


ASYNC: dict[str, Callable[[Work], AbstractAsyncContextManager[AsyncHold]]] = {
    "leaf": _async_leaf,
    "httpx": _async_httpx,
    "aiohttp": _aiohttp,
}


def async_connections(work: Work) -> Sample:
    """Connections in the pool of an asyncio client."""

    async def main() -> Sample:
        async with ASYNC[work.options["client"]](work) as hold:
            await hold(1)
            scale = _Scale(work)
            await hold(work.count)
            return scale.per(work.count - 1)

    try:
        return asyncio.run(main())
    except ImportError as error:
        raise Unavailable(str(error)) from None
