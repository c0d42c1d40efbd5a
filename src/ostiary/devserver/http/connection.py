"""One HTTP connection: uvicorn's h11 protocol, with limits on what a peer may hold open.

What uvicorn leaves to others is added here: a request that never ends its head, a body that
nobody wants, a crowd; and work is cancelled when its client has gone. Neighbours: `server`
makes these, `front` answers their requests.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any, Final, final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .refusals import HttpRefusal

if TYPE_CHECKING:
    from .server import HttpServer
    from .streams import EventStream

__all__ = ["Connection"]

# What a peer does wrong is told to the peer, not to whoever reads the server's screen.
_quiet = logging.getLogger(__name__)
_quiet.setLevel(logging.ERROR)

_HEAD_SECONDS: Final = 30.0
# A refused body may still be on its way: closing at once would reset the connection and take
# the refusal with it.
_UNWANTED_SECONDS: Final = 5.0
_UNWANTED_BYTES: Final = 8 * 1024 * 1024


@final
class Connection(H11Protocol):
    """One peer; one request at a time is in hand. `local` is a Unix socket's."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server.config, server.state, {"connection": self}, server.loop)
        self.logger = _quiet
        self.access_log = False
        self.lost = False
        self.local = False
        self.request: asyncio.Task[Any] | None = None
        self.stream: EventStream | None = None
        self._http = server
        self._timer: asyncio.TimerHandle | None = None
        self._unwanted = 0

    @property
    def congested(self) -> bool:
        """Whether the peer does not read what it is sent."""
        return bool(self.flow.write_paused)

    # -- asyncio ------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.local = transport.get_extra_info("socket").family == socket.AF_UNIX
        if self._http.stopping or len(self.connections) > self._http.max_connections:
            self._turn_away(
                HttpRefusal(503, "UNAVAILABLE", "too many connections; close some, or wait")
            )
            return
        self._allow(_HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._cancel_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if self.request is not None:
            self.request.cancel()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        known = self.cycle
        waiting = known is None or known.response_complete
        if waiting and self._timer is None:
            self._allow(_HEAD_SECONDS)
        super().data_received(data)
        if self.cycle is not known:
            self._cancel_timer()
        elif waiting and self.conn.their_state is h11.SEND_BODY:
            self._unwanted += len(data)
            if self._unwanted > _UNWANTED_BYTES:
                self.transport.abort()

    def on_response_complete(self) -> None:
        self._unwanted = 0
        if self.conn.their_state is h11.SEND_BODY:
            self._allow(_UNWANTED_SECONDS)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._turn_away(HttpRefusal(400, "BAD_REQUEST", "the request is not HTTP/1.1; correct it"))

    # -- ending -------------------------------------------------------------

    def shutdown(self) -> None:
        """Close now if nothing is in hand, or after the answer that is."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def end_with_answer(self) -> None:
        """Have the connection end with the answer in hand.

        h11 then sends a body of unknown length as it is and not in chunks, as it would for
        a peer of HTTP/1.0.
        """
        self.conn.their_http_version = b"1.0"
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def cut(self) -> None:
        """End the connection now, in the middle of whatever it was sending."""
        if self.cycle is not None:
            # Or uvicorn says on the server's screen that an answer is not whole, as if it knew
            # better.
            self.cycle.disconnected = True
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def _turn_away(self, refusal: HttpRefusal) -> None:
        """Answer without a request, and close."""
        body = self._http.error(refusal)
        try:
            for event in (
                h11.Response(
                    status_code=refusal.status,
                    headers=[
                        ("content-type", "application/json"),
                        ("content-length", str(len(body))),
                        ("connection", "close"),
                    ],
                ),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # it is in the middle of an answer, which says more than we could
        self.transport.close()

    def _allow(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self.abort)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
