"""A listening HTTP server: sockets bound by us, uvicorn's protocol, a clean end.

uvicorn's own `Server` would install signal handlers, poll ten times a second and give a Unix
socket mode 0666; only its protocol is used. Neighbours: `connection`, `front`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, final

from uvicorn.config import Config
from uvicorn.server import ServerState

from ..sockets import BACKLOG, stop_accepting
from .connection import Connection
from .refusals import HttpRefusal, error_body

if TYPE_CHECKING:
    import ssl

__all__ = ["HttpServer"]

_KEEP_ALIVE: Final = 75  # longer than clients keep idle connections: they close first
_HEAD_BYTES: Final = 64 * 1024
# On every answer: nothing here is for a cache, nor for a browser to guess at.
_HEADERS: Final = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


@final
class HttpServer:
    """Serve an ASGI application on sockets that are bound already; start and stop once.

    `error` writes what a connection is told that does not get as far as the application.
    """

    def __init__(
        self,
        app: Any,
        *,
        max_connections: int,
        error: Callable[[HttpRefusal], bytes] = error_body,
    ) -> None:
        self.max_connections = max_connections
        self.error = error
        self.stopping = False
        self.config = Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            workers=1,
            timeout_keep_alive=_KEEP_ALIVE,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        self.state = ServerState()
        self.state.default_headers = list(_HEADERS)
        self._servers: list[asyncio.Server] = []
        self.loop: asyncio.AbstractEventLoop

    async def start(
        self, sockets: Sequence[socket.socket], *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen, on all of them with TLS if asked; the sockets are this server's from here on."""
        self.loop = asyncio.get_running_loop()
        self.config.load()
        for sock in sockets:
            make = (
                self.loop.create_unix_server
                if sock.family == socket.AF_UNIX
                else self.loop.create_server
            )
            self._servers.append(
                await make(lambda: Connection(self), sock=sock, backlog=BACKLOG, ssl=tls)
            )

    async def stop(self, grace: float) -> None:
        """Accept no more, let answers in hand end, then close what is left."""
        self.stopping = True
        if not self._servers:
            return
        await stop_accepting(self._servers)
        self._servers.clear()
        until = self.loop.time() + grace
        for connection in self._connections():
            connection.shutdown()
            if connection.stream is not None:
                connection.stream.interrupt()
        while self._connections() and self.loop.time() < until:
            await asyncio.sleep(0.005)
        for connection in self._connections():
            connection.abort()
        # For the transports to say that they are closed, and the requests to end.
        for _ in range(3):
            await asyncio.sleep(0)
        if self.state.tasks:
            await asyncio.wait(list(self.state.tasks), timeout=grace)

    def _connections(self) -> list[Connection]:
        return [one for one in self.state.connections if isinstance(one, Connection)]
