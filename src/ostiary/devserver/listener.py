"""Frames in, frames out: the connections of one vault, on one event loop.

Everything that one turn of the loop brought is decided first, committed once, and only then
answered. Each connection is answered in order; a slow call holds up its own connection and
no other. Every size and wait that a peer chooses has a limit. Neighbour: `dialects`.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, final

from .._io.sockets import peer_uid
from .._wire.framer import Framer
from ..errors import ProtocolError
from . import faults
from .dialects import (
    BEFORE_SESSION,
    KNOWN,
    METHODS,
    Unreadable,
    WrongShape,
    encode_error,
    encode_result,
    read_request,
)
from .faults import Refusal
from .options import FRAME_LIMIT
from .vault import Peer, Slow, Vault

__all__ = ["Listener"]

_log = logging.getLogger(__name__)

_RECEIVE_BYTES: Final = 64 * 1024
_STRANGER_BYTES: Final = 64 * 1024  # one held-back frame, before authentication
_REPLY_BYTES: Final = 1024 * 1024  # replies gathered before more requests are looked at
_LINGER: Final = 1.0
_LINGER_BYTES: Final = 8 * 1024 * 1024


@final
class Listener:
    """Every connection of one vault, and the turn of the loop they share."""

    def __init__(
        self, vault: Vault, loop: asyncio.AbstractEventLoop, workers: Executor, uid: int
    ) -> None:
        self.vault = vault
        self.loop = loop
        self.workers = workers
        self.stopping = False
        self.stopped = False
        self.connections: set[Connection] = set()
        self.busy = 0
        # One buffer for all: asyncio fills it and hands it over in one step, and the framer
        # copies out of it. Its own transport buffers cost a mapping per read.
        self.buffer = bytearray(_RECEIVE_BYTES)
        self.view = memoryview(self.buffer)
        self._uid = uid
        self._numbers = 0
        self._ready: list[Connection] = []
        self._scheduled = False

    def unix(self) -> Connection:
        return Connection(self, local=True)

    def tcp(self) -> Connection:
        return Connection(self, local=False)

    def make_peer(self, transport: asyncio.Transport, *, local: bool) -> Peer:
        """Number a new connection, and ask the system whose it is."""
        self._numbers += 1
        owner = False
        if local:
            try:
                owner = peer_uid(transport.get_extra_info("socket")) == self._uid
            except OSError:
                pass  # gone already; it will not ask for much
        return Peer(self._numbers, owner=owner)

    def answer(self, connection: Connection) -> None:
        """Have a connection's replies sent at the end of this turn."""
        self._ready.append(connection)
        self.wake()

    def wake(self) -> None:
        """Have what happened committed at the end of this turn."""
        if not self._scheduled and not self.stopped:
            self._scheduled = True
            self.loop.call_soon(self.turn)

    def turn(self) -> None:
        """Commit, then send what was held for it."""
        self._scheduled = False
        ready = self._ready
        self._ready = []
        try:
            self.vault.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was recorded
            _log.critical("the vault cannot write its record: %s", error)
            for connection in ready:
                connection.abort()
            return
        for connection in ready:
            connection.send_held()

    def sweep(self) -> None:
        """End what ran out: leases, and connections that never said who they are."""
        if not self.vault.failed:
            self.vault.expire()
            self.vault.save_counts()
            self.wake()
        late = self.vault.clock.steady() - self.vault.options.handshake_timeout
        for connection in list(self.connections):
            if connection.opened_at < late and connection.is_stranger():
                connection.abort()

    async def stop(self, grace: float) -> None:
        """Read no more, answer what is in hand, and close every connection."""
        self.stopping = True
        for connection in self.connections:
            connection.stop_reading()
        until = self.loop.time() + grace
        while self.loop.time() < until and any(c.has_work() for c in self.connections):
            await asyncio.sleep(0.01)
        self.turn()
        for connection in list(self.connections):
            connection.finish()
        # What the transports could not send at once gets a moment more.
        while self.loop.time() < until and self.connections:
            await asyncio.sleep(0.005)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)  # for the transports to say that they are closed
        self.stopped = True


@final
class Connection(asyncio.BufferedProtocol):
    """One peer's frames, answered in order."""

    def __init__(self, listener: Listener, *, local: bool) -> None:
        self._listener = listener
        self._vault = listener.vault
        self._local = local
        self._legacy = listener.vault.options.legacy_errors
        self._framer = Framer(FRAME_LIMIT)
        self._backlog: deque[bytes | memoryview] = deque()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._queued = False  # among the listener's ready ones
        self._busy = False  # a slow call is under way
        self._full = False  # the peer does not read
        self._reading = True
        self._closing = False  # an error was sent that ends the stream
        self._lingering = -1  # bytes thrown away since, once it has ended
        self._ended = False  # the peer will send no more
        self._owner_spoke = False
        self.opened_at = listener.vault.clock.steady()

    # -- asyncio ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        listener = self._listener
        self._transport = transport
        self._peer = listener.make_peer(transport, local=self._local)
        crowded = len(listener.connections) >= self._vault.options.max_connections
        listener.connections.add(self)
        if crowded or listener.stopping:
            self._fail(faults.rate_limited("connections", 1.0))

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = self._ended = True
        self._backlog.clear()
        self._held.clear()
        self._listener.connections.discard(self)
        if self._vault.disconnected(self._peer):
            self._listener.wake()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._listener.view

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            if self._lingering >= 0:
                self._lingering += nbytes
                if self._lingering > _LINGER_BYTES:
                    self.abort()
            return
        try:
            frames = self._framer.feed(self._listener.view[:nbytes])
        except ProtocolError:
            self._fail(
                faults.invalid(f"a frame is longer than {FRAME_LIMIT} bytes", "send less at a time")
            )
            return
        # The owner's first frame may carry a long secret, and the owner has the memory anyway.
        if self._framer.pending > _STRANGER_BYTES and self.is_stranger() and not self._peer.owner:
            self._fail(faults.not_authenticated())
            return
        self._backlog.extend(frames)
        self._work()

    def eof_received(self) -> bool:
        self._ended = True
        # The peer may still read: answer what is in hand before closing.
        return self._lingering < 0 and self.has_work()

    def pause_writing(self) -> None:
        self._full = True
        self._pace()

    def resume_writing(self) -> None:
        self._full = False
        self._work()

    # -- requests -----------------------------------------------------------

    def is_stranger(self) -> bool:
        """Whether nothing tells yet who this is."""
        return self._peer.session is None and not self._owner_spoke

    def has_work(self) -> bool:
        return bool(self._backlog or self._held or self._busy)

    def _work(self) -> None:
        """Answer frames until there are none, or until the peer must read or wait."""
        backlog = self._backlog
        while (
            backlog
            and not self._busy
            and not self._full
            and not self._closing
            and self._held_bytes < _REPLY_BYTES
        ):
            self._one(backlog.popleft())
        self._pace()

    def _pace(self) -> None:
        """Read only while there is nothing left to do for this peer."""
        wanted = not (self._backlog or self._busy or self._full or self._listener.stopping)
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def stop_reading(self) -> None:
        self._pace()

    def _one(self, frame: bytes | memoryview) -> None:
        id = 0
        try:
            request = read_request(frame)
            id = request.id
            result = self._call(request.method, request.params)
        except Refusal as refusal:
            self._refuse(id, refusal)
        except WrongShape as error:
            self._refuse(error.id, faults.invalid("the frame is not a request"))
        except Unreadable:
            self._fail(faults.invalid("the frame is not JSON", "send one JSON object a frame"))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the server
            self._refuse(id, _fault(error))
        else:
            if isinstance(result, Slow):
                self._begin(id, result)
            else:
                self._reply(id, result)

    def _call(self, method: str, params: object) -> object:
        vault = self._vault
        if vault.failed:
            raise faults.internal()
        call = METHODS.get(method)
        if call is None:
            if self.is_stranger():
                raise faults.not_authenticated()
            raise faults.method_unknown(KNOWN)
        if call.owner_only:
            if not self._peer.owner:
                raise faults.not_owner()
            self._owner_spoke = True
        elif self._peer.session is None and method not in BEFORE_SESSION:
            raise faults.not_authenticated()
        return call(vault, self._peer, params)  # type: ignore[arg-type]

    # -- slow calls ---------------------------------------------------------

    def _begin(self, id: int, slow: Slow) -> None:
        listener = self._listener
        self._busy = True
        listener.wake()  # commit that it was allowed, whatever becomes of it
        future = listener.loop.run_in_executor(listener.workers, slow.run)
        future.add_done_callback(lambda done: self._end(id, slow.finish, done))

    def _end(
        self,
        id: int,
        finish: Callable[[object], object] | None,
        done: asyncio.Future[object],
    ) -> None:
        self._busy = False
        if done.cancelled():
            return
        try:
            result = done.result()
            # Also when the peer is gone: what was asked for is done.
            result = result if finish is None else finish(result)
        except Refusal as refusal:
            self._refuse(id, refusal)
        except Exception as error:  # noqa: BLE001 - as in _one
            self._refuse(id, _fault(error))
        else:
            self._reply(id, result)
        self._work()

    # -- replies ------------------------------------------------------------

    def _reply(self, id: int, result: object) -> None:
        payload = encode_result(id, result)
        if len(payload) > FRAME_LIMIT:
            self._refuse(id, faults.too_large(len(payload), FRAME_LIMIT))
        else:
            self._hold(payload)

    def _refuse(self, id: int, refusal: Refusal) -> None:
        self._hold(encode_error(id, refusal, legacy=self._legacy))

    def _fail(self, refusal: Refusal) -> None:
        """Answer with an error that ends the stream."""
        self._backlog.clear()
        self._refuse(0, refusal)
        self._closing = True

    def _hold(self, payload: bytes) -> None:
        """Keep a reply back until what it reports is committed."""
        if self._transport.is_closing():
            return
        self._held.append(len(payload).to_bytes(4, "big"))
        self._held.append(payload)
        self._held_bytes += len(payload)
        if not self._queued:
            self._queued = True
            self._listener.answer(self)

    def send_held(self) -> None:
        """Send the replies of this turn, then go on with what they held up."""
        self._queued = False
        if self._held and not self._transport.is_closing():
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
            self._transport.write(data)
        if self._closing:
            self._linger()
        elif self._backlog:
            self._work()
        elif self._ended and not self._busy:
            self._transport.close()

    def _linger(self) -> None:
        # Closing at once, with bytes of the peer's unread, would reset the connection and
        # take the error with it: say that we are done, and throw away the rest for a while.
        if self._lingering >= 0 or self._transport.is_closing():
            return
        self._lingering = 0
        if self._ended or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._listener.loop.call_later(_LINGER, self.abort)

    def finish(self) -> None:
        """Close once what was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()


def _fault(error: Exception) -> Refusal:
    # The place and the kind, never the message: it may quote what it failed on.
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])
    _log.error("an internal %s while answering a call:\n%s", type(error).__name__, where)
    return faults.internal()
