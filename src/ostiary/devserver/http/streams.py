"""An answer that is an event stream: each event sent as it is made, and signs of life between.

Nothing is gathered: a client that does not read holds up the work that writes, and one that
goes away ends it. Neighbour: `front` gives the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, final

from starlette.types import Receive, Scope, Send

from .connection import Connection

__all__ = ["EventStream"]

_PING: Final = b": ping\n\n"
_STALLED: Final = 60.0


@final
class EventStream:
    """Runs `work`, which writes events; `heartbeat` seconds without one bring a comment.

    `interrupted` is True when the work is cancelled because the server stops.
    """

    def __init__(self, work: Callable[[EventStream], Awaitable[None]], *, heartbeat: float) -> None:
        self._work = work
        self._heartbeat = heartbeat
        self._written = 0.0
        self._ended = False
        self.interrupted = False
        self._timer: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._connection: Connection = scope["state"]["connection"]
        self._connection.stream = self
        self._send = send
        self._loop = asyncio.get_running_loop()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream"),
                    # For a proxy between us and the client.
                    (b"x-accel-buffering", b"no"),
                ],
            }
        )
        self._written = self._loop.time()
        self._timer = self._loop.call_later(self._heartbeat, self._beat)
        try:
            await self._work(self)
        finally:
            self._ended = True
            self._connection.stream = None
            self._timer.cancel()
            if self._ping is not None:
                self._ping.cancel()
        await self._write(b"", more=False)

    def interrupt(self) -> None:
        """Have the work cancelled because the server stops; it may still say so."""
        self.interrupted = True
        if self._connection.request is not None:
            self._connection.request.cancel()

    async def event(
        self, document: bytes, *, id: str | None = None, name: str | None = None
    ) -> None:
        """Send one event: a JSON document on one line, its name, the id to continue behind."""
        self._written = self._loop.time()
        head = b"" if id is None else b"id: " + id.encode("ascii") + b"\n"
        if name is not None:
            head += b"event: " + name.encode("ascii") + b"\n"
        await self._write(head + b"data: " + document + b"\n\n", more=True)
        # What has many events at hand would otherwise not learn that its client has gone, and
        # hold up the others.
        await asyncio.sleep(0)

    async def _write(self, body: bytes, *, more: bool) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": more}
        if not self._connection.congested:
            await self._send(message)
            return
        try:
            async with asyncio.timeout(_STALLED):
                await self._send(message)
        except TimeoutError:
            self._connection.abort()
            raise

    def _beat(self) -> None:
        """Send a comment when nothing was sent for a while; look again later."""
        quiet = self._loop.time() - self._written
        if quiet >= self._heartbeat - 0.001:
            quiet = 0.0
            self._written = self._loop.time()
            # A client that does not read what it has needs no more of it.
            if not self._connection.congested and not self._ended:
                self._ping = self._loop.create_task(self._write(_PING, more=True))
        self._timer = self._loop.call_later(self._heartbeat - quiet, self._beat)
