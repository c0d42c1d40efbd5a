"""Reach a peer without blocking the loop: the cold half of `aio` and `aio_http`.

Knows addresses and the TLS handshake, and no frames. Twin of `Stream.establish`.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Final

from ..config import Address, UnixAddress
from ..errors import DeadlineError, OstiaryError, TransportError
from .sockets import check_peer, connection_lost, new_socket, seconds_left, tune, unreachable
from .tls import TlsEngine, engine_for

if TYPE_CHECKING:
    import asyncio
    import ssl

_READ_BYTES: Final = 16 * 1024


async def establish(
    address: Address,
    deadline: float,
    ssl_context: ssl.SSLContext | None,
    expected_uid: int | None,
) -> tuple[socket.socket, TlsEngine | None]:
    """Connect, check the peer's uid if asked, agree on TLS if asked."""
    import asyncio

    loop = asyncio.get_running_loop()
    tls = engine_for(address, ssl_context)
    sock: socket.socket | None = None
    try:
        left = seconds_left(deadline)
        async with asyncio.timeout(left if left < float("inf") else None):
            sock = await reach(loop, address, deadline)
            check_peer(sock, address, expected_uid)
            tune(sock, address)
            if tls is not None:
                await shake_hands(loop, sock, tls)
            return sock, tls
    except BaseException as error:
        if sock is not None:
            sock.close()
        if type(error) is not TimeoutError:
            raise
    raise DeadlineError(f"the call's time ran out while connecting to {address}")


async def reach(
    loop: asyncio.AbstractEventLoop, address: Address, deadline: float
) -> socket.socket:
    """Return a connected non-blocking socket; `ConnectError` says why not."""
    import asyncio

    if isinstance(address, UnixAddress):
        return await _reach_one(loop, address, socket.AF_UNIX, address.path)
    problem: OSError | None = None
    found: list[Any] = []
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except UnicodeError:
        problem = socket.gaierror(socket.EAI_NONAME, "not a valid host name")
    except socket.gaierror as error:
        problem = error
    if problem is not None:
        raise unreachable(address, problem)
    *others, last = found
    for position, (family, _, _, _, where) in enumerate(others):
        # An address that never answers may take its share of the time, not all of it.
        share = seconds_left(deadline) / (len(found) - position)
        try:
            async with asyncio.timeout(share if share < float("inf") else None):
                return await _reach_one(loop, address, family, where)
        except (TransportError, TimeoutError):
            continue
    return await _reach_one(loop, address, last[0], last[4])


async def _reach_one(
    loop: asyncio.AbstractEventLoop, address: Address, family: int, where: Any
) -> socket.socket:
    import asyncio

    problem: OSError
    sock: socket.socket | None = None
    try:
        sock = new_socket(family)
        pause = 0.001
        while True:
            code = sock.connect_ex(where)
            if code == errno.EINPROGRESS:
                await _writable(loop, sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                return sock
            if code == errno.EAGAIN:
                # A Unix listener's queue is full; the kernel will not tell when it is not.
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.05)
            elif code != errno.EINTR:
                raise OSError(code, os.strerror(code))
    except BaseException as error:
        if sock is not None:
            sock.close()
        if not isinstance(error, OSError) or isinstance(error, OstiaryError):
            raise
        if isinstance(error, TimeoutError) and error.errno is None:
            raise  # the caller's limit; ETIMEDOUT is a TimeoutError too, and has a number
        problem = error
    raise unreachable(address, problem)


async def _writable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    future: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not future.done():
            future.set_result(None)

    loop.add_writer(sock.fileno(), ready)
    try:
        await future
    finally:
        loop.remove_writer(sock.fileno())


async def shake_hands(loop: asyncio.AbstractEventLoop, sock: socket.socket, tls: TlsEngine) -> None:
    """Agree on TLS; `ConnectError` or `ConnectionLostError` says why not."""
    problem = 0
    try:
        records, done = tls.handshake(b"")
        while True:
            if records:
                await loop.sock_sendall(sock, records)
            if done:
                return
            data = await loop.sock_recv(sock, _READ_BYTES)
            if not data:
                break
            records, done = tls.handshake(data)
    except OSError as error:
        if isinstance(error, (OstiaryError, TimeoutError)):
            raise
        problem = error.errno or 0
    raise connection_lost("agreeing on TLS", problem)
