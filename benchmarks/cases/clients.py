"""Ours and the peers, each as one function that makes the small exchange and returns its body.

The tables SYNC and ASYNC name them. Each entry opens a client as it would be used to go fast:
one client kept, connections kept, a timeout set, no work that the others do not do too. Every
call looks at the status. The cases that time them are in `http` and `http_async`.
"""

from __future__ import annotations

import asyncio
import datetime
import socket as sockets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from time import monotonic
from typing import Any
from urllib.parse import quote

from ..sample import Unavailable, Work
from .exchange import BODY, DEADLINE, HEADERS, PATH, REQUEST, URL, peer, wrong

Call = Callable[[], Any]
"""Makes the exchange; returns the body, as bytes or something like it."""
Task = Callable[[int], Coroutine[Any, Any, Any]]
"""Makes the exchange that many times, one after the other; returns the last body."""

TIMEOUT = datetime.timedelta(seconds=DEADLINE)


def base_url(socket: str) -> str:
    """Return the base URL of a server on a Unix socket, as our pools take it."""
    return f"http+unix://{quote(socket, safe='')}"


# --- ours -------------------------------------------------------------------------------------


@contextmanager
def leaf(work: Work) -> Iterator[Call]:
    """`HttpPool.fetch`: the compiled client below everything."""
    try:
        from ostiary._io.blocking_http import HttpPool
        from ostiary._wire.request import RequestHead
        from ostiary.config import Limits, UnixAddress
    except ImportError as error:
        raise Unavailable(str(error)) from None

    address = UnixAddress(work.socket)
    pool = HttpPool(address, limits=Limits(), max_connections=4, max_idle=4, idle_expiry=DEADLINE)
    head = RequestHead("POST", "localhost", HEADERS)
    target = PATH.encode()

    def call() -> Any:
        response = pool.fetch(head, target, BODY, None, monotonic() + DEADLINE)
        if response.status != 200:
            raise wrong("HttpPool", response.status)
        return response.body

    yield call
    pool.close()


@contextmanager
def pool(work: Work) -> Iterator[Call]:
    """`ostiary.http.Pool.request`: retries, hooks and error classes on top."""
    try:
        from ostiary.http import Pool
    except ImportError as error:
        raise Unavailable(str(error)) from None

    with Pool(base_url(work.socket), headers=HEADERS, timeout=DEADLINE) as made:

        def call() -> Any:
            return made.request("POST", PATH, body=BODY).body

        yield call


@asynccontextmanager
async def async_leaf(work: Work, connections: int) -> AsyncIterator[Task]:
    """`AsyncHttpPool.fetch`: the compiled client below everything."""
    try:
        from ostiary._io.aio_http import AsyncHttpPool
        from ostiary._wire.request import RequestHead
        from ostiary.config import Limits, UnixAddress
    except ImportError as error:
        raise Unavailable(str(error)) from None

    pool = AsyncHttpPool(
        UnixAddress(work.socket),
        limits=Limits(),
        max_connections=connections,
        max_idle=connections,
        idle_expiry=DEADLINE,
    )
    head = RequestHead("POST", "localhost", HEADERS)
    target = PATH.encode()

    async def task(count: int) -> Any:
        for _ in range(count):
            response = await pool.fetch(head, target, BODY, None, monotonic() + DEADLINE)
            if response.status != 200:
                raise wrong("AsyncHttpPool", response.status)
        return response.body

    yield task
    pool.close()


@asynccontextmanager
async def async_pool(work: Work, connections: int) -> AsyncIterator[Task]:
    """`ostiary.http.AsyncPool.request`: retries, hooks and error classes on top."""
    try:
        from ostiary.http import AsyncPool
    except ImportError as error:
        raise Unavailable(str(error)) from None

    async with AsyncPool(
        base_url(work.socket),
        headers=HEADERS,
        timeout=DEADLINE,
        max_connections=connections,
        max_idle=connections,
    ) as made:

        async def task(count: int) -> Any:
            for _ in range(count):
                response = await made.request("POST", PATH, body=BODY)
            return response.body

        yield task


# --- peers, sync ------------------------------------------------------------------------------


@contextmanager
def pycurl(work: Work) -> Iterator[Call]:
    """One easy handle, kept; a list takes the body, which costs it least."""
    curl = peer("pycurl")
    handle = curl.Curl()
    handle.setopt(curl.UNIX_SOCKET_PATH, work.socket)
    handle.setopt(curl.URL, URL)
    handle.setopt(curl.HTTPHEADER, [f"{name}: {value}" for name, value in HEADERS.items()])
    handle.setopt(curl.TIMEOUT_MS, int(DEADLINE * 1000))
    handle.setopt(curl.NOSIGNAL, 1)

    def call() -> bytes:
        parts: list[bytes] = []
        handle.setopt(curl.POSTFIELDS, BODY)
        handle.setopt(curl.WRITEFUNCTION, parts.append)
        handle.perform()
        status = handle.getinfo(curl.RESPONSE_CODE)
        if status != 200:
            raise wrong("pycurl", status)
        return b"".join(parts)

    yield call
    handle.close()


@contextmanager
def _httpx(name: str, work: Work) -> Iterator[Call]:
    module = peer(name)
    transport = module.HTTPTransport(uds=work.socket)
    with module.Client(transport=transport, headers=HEADERS, timeout=DEADLINE) as client:

        def call() -> Any:
            response = client.post(URL, content=BODY)
            if response.status_code != 200:
                raise wrong(name, response.status_code)
            return response.content

        yield call


def httpx(work: Work) -> AbstractContextManager[Call]:
    return _httpx("httpx", work)


def httpx2(work: Work) -> AbstractContextManager[Call]:
    return _httpx("httpx2", work)


def urllib3_pool(path: str, connections: int) -> Any:
    """Return a pool of urllib3 that connects to a Unix socket, which it has no word for."""
    try:
        import urllib3
        from urllib3.connection import HTTPConnection
    except ImportError as error:
        raise Unavailable(str(error)) from None

    class UnixConnection(HTTPConnection):
        def _new_conn(self) -> sockets.socket:
            line = sockets.socket(sockets.AF_UNIX)
            line.settimeout(DEADLINE)
            line.connect(path)
            return line

    class UnixPool(urllib3.HTTPConnectionPool):
        ConnectionCls = UnixConnection

    return UnixPool("localhost", maxsize=connections, timeout=DEADLINE, headers=HEADERS)


@contextmanager
def urllib3(work: Work) -> Iterator[Call]:
    with urllib3_pool(work.socket, 4) as made:

        def call() -> Any:
            response = made.urlopen("POST", PATH, body=BODY)
            if response.status != 200:
                raise wrong("urllib3", response.status)
            return response.data

        yield call


@contextmanager
def wreq(work: Work) -> Iterator[Call]:
    module, blocking = peer("wreq"), peer("wreq.blocking")
    proxies = [module.Proxy.unix(work.socket)]
    client = blocking.Client(proxies=proxies, timeout=TIMEOUT, headers=HEADERS)

    def call() -> Any:
        response = client.post(URL, body=BODY)
        if response.status.as_int() != 200:
            raise wrong("wreq", response.status)
        return response.bytes()

    yield call


@contextmanager
def plain_socket(work: Work) -> Iterator[Call]:
    """A blocking socket of the standard library, nothing parsed: what releases the lock."""
    request = REQUEST.encode()
    with sockets.socket(sockets.AF_UNIX) as line:
        line.settimeout(DEADLINE)
        line.connect(work.socket)

        def call() -> bytes:
            line.sendall(request)
            return line.recv(65536).partition(b"\r\n\r\n")[2]

        yield call


@contextmanager
def keeps_the_lock(work: Work) -> Iterator[Call]:
    """No exchange at all: some microseconds of C that never release the interpreter lock."""
    numbers = list(range(1000))
    yield lambda: sum(numbers)


# --- peers, asyncio ---------------------------------------------------------------------------


@asynccontextmanager
async def aiohttp(work: Work, connections: int) -> AsyncIterator[Task]:
    module = peer("aiohttp")
    connector = module.UnixConnector(path=work.socket, limit=connections)
    timeout = module.ClientTimeout(total=DEADLINE)
    async with module.ClientSession(
        connector=connector, headers=HEADERS, timeout=timeout
    ) as session:

        async def task(count: int) -> Any:
            for _ in range(count):
                async with session.post(URL, data=BODY) as response:
                    if response.status != 200:
                        raise wrong("aiohttp", response.status)
                    body = await response.read()
            return body

        yield task


@asynccontextmanager
async def _async_httpx(name: str, work: Work, connections: int) -> AsyncIterator[Task]:
    module = peer(name)
    limits = module.Limits(max_connections=connections, max_keepalive_connections=connections)
    transport = module.AsyncHTTPTransport(uds=work.socket, limits=limits)
    async with module.AsyncClient(transport=transport, headers=HEADERS, timeout=DEADLINE) as client:

        async def task(count: int) -> Any:
            for _ in range(count):
                response = await client.post(URL, content=BODY)
                if response.status_code != 200:
                    raise wrong(name, response.status_code)
                body = response.content
            return body

        yield task


def async_httpx(work: Work, connections: int) -> AbstractAsyncContextManager[Task]:
    return _async_httpx("httpx", work, connections)


def async_httpx2(work: Work, connections: int) -> AbstractAsyncContextManager[Task]:
    return _async_httpx("httpx2", work, connections)


@asynccontextmanager
async def async_wreq(work: Work, connections: int) -> AsyncIterator[Task]:
    """wreq bounds idle connections, not open ones: with more tasks a semaphore does."""
    module = peer("wreq")
    client = module.Client(
        proxies=[module.Proxy.unix(work.socket)],
        timeout=TIMEOUT,
        headers=HEADERS,
        pool_max_idle_per_host=connections,
    )

    async def free(count: int) -> Any:
        for _ in range(count):
            response = await client.post(URL, body=BODY)
            if response.status.as_int() != 200:
                raise wrong("wreq", response.status)
            body = await response.bytes()
        return body

    gate = asyncio.Semaphore(connections)

    async def bounded(count: int) -> Any:
        for _ in range(count):
            async with gate:
                body = await free(1)
        return body

    yield free if int(work.options.get("tasks", connections)) <= connections else bounded


SYNC: dict[str, Callable[[Work], AbstractContextManager[Call]]] = {
    "leaf": leaf,
    "pool": pool,
    "pycurl": pycurl,
    "httpx": httpx,
    "httpx2": httpx2,
    "urllib3": urllib3,
    "wreq": wreq,
    "socket": plain_socket,
    "lock": keeps_the_lock,
}
ASYNC: dict[str, Callable[[Work, int], AbstractAsyncContextManager[Task]]] = {
    "leaf": async_leaf,
    "pool": async_pool,
    "aiohttp": aiohttp,
    "httpx": async_httpx,
    "httpx2": async_httpx2,
    "wreq": async_wreq,
}
