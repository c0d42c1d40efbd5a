"""A model's answer as it comes: read, gathered, and ended in one way only.

The client sends (`begin_stream`); this reads. Neighbours: `stream` gathers, `dialects` read.
"""

from __future__ import annotations

from collections import deque

# unasync: skip
from collections.abc import Generator

# unasync: end
from typing import TYPE_CHECKING, Any, Self, final

from ... import telemetry
from ...errors import OstiaryError, adopt
from .._lines import said_of_reply
from ..dialects import END
from ..errors import FAMILY, GatewayProtocolError, GatewayStateError
from ..models import ChatChunk, ChatReply
from ..stream import Gathered, cut_short

if TYPE_CHECKING:
    from ..._io.aio_http import AsyncEventStream
    from .._async import AsyncGatewayClient
    from .._bodies import Asked
    from .._lines import Begun
    from ..dialects import Step

__all__ = ["AsyncChatStream"]


@final
class AsyncChatStream:
    """A model's answer as it comes: an iterator of `ChatChunk`, and a context manager.

    `client.stream_chat` makes it. It can be iterated over once.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_begun",
        "_client",
        "_gathered",
        "_over",
        "_ready",
        "_reply",
        "_source",
        "_told",
    )

    def __init__(self, client: AsyncGatewayClient, asked: Asked) -> None:
        self._client = client
        self._asked = asked
        self._ready: deque[Step] = deque()
        self._gathered = Gathered()
        self._source: AsyncEventStream[Any] | None = None
        self._begun: Begun | None = None
        self._reply: ChatReply[Any] | None = None
        self._told: telemetry.Operation | None = None
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatChunk:
        """Return the next piece."""
        chunk: Step
        if self._over:
            raise StopAsyncIteration
        try:
            # In one piece: a coroutine more would cost a third of what a piece costs.
            while True:
                if self._ready:
                    chunk = self._ready.popleft()
                    break
                source = self._source or await self._open()
                try:
                    found = await source.__anext__()
                except StopAsyncIteration:
                    self._flush()
                    continue
                chunk = found.data
                if type(chunk) is ChatChunk and found.event != "error":
                    break
                assert self._begun is not None
                self._ready.extend(self._begun.reader.take(found))
            if isinstance(chunk, ChatChunk):
                self._gathered.add(chunk)
                if self._told is not None:
                    self._told.chunk()
                return chunk
            if isinstance(chunk, OstiaryError):
                raise chunk
            self._finish()
        except BaseException as error:
            # Cancelled and interrupted ones too: a stream that was half read is never resumed.
            if not isinstance(error, OstiaryError):
                self._end(error)
                raise
            failure = adopt(error, FAMILY)
            self._end(failure)
            try:
                raise failure from error.__cause__
            finally:
                del failure  # a frame that refers to what it raised is a circle
        raise StopAsyncIteration

    async def open(self) -> Self:
        """Send the request now, unless it was, and return the stream; raises as `chat` does."""
        if self._source is None and not self._over:
            try:
                await self._open()
            except BaseException as error:
                self._end(error)
                raise
        return self

    # unasync: skip
    def __await__(self) -> Generator[Any, None, Self]:
        """Do what `open` does: `stream = await client.stream_chat(...)`."""
        return self.open().__await__()

    # unasync: end

    async def _open(self) -> AsyncEventStream[Any]:
        self._begun = begun = await self._client.begin_stream(self._asked)
        # Called for each piece, and so only where somebody listens.
        self._told = begun.told if telemetry.enabled() else None
        source: AsyncEventStream[Any] = begun.source
        self._source = source
        return source

    def _flush(self) -> None:
        """Take what stands before the response's end without an empty line behind it."""
        assert self._begun is not None
        reader = self._begun.reader
        for found in self._begun.decoder.feed(b"\n\n"):
            self._ready.extend(reader.take(found))
        if self._ready and isinstance(self._ready[-1], GatewayProtocolError):
            # Half an event: the response was cut, whatever its end looked like.
            self._ready[-1] = cut_short()
        if not self._ready:
            self._ready.append(END if reader.ended else cut_short())

    def _finish(self) -> None:
        """Be done with a stream that came to its end; its connection can be used again."""
        source, self._source = self._source, None
        self._ready.clear()
        if source is not None:
            # What follows the end mark is nobody's.
            source.finish()
        assert self._begun is not None
        self._client.usage.add(self._begun.ref, self._gathered.usage)
        reply = self._gathered.reply()
        if self._asked.structured is not None:
            reply = self._asked.structured.read(reply)
        self._reply = reply
        self._over = True
        self._tell(None)

    def _end(self, error: BaseException | None) -> None:
        self._over = True
        self._ready.clear()
        source, self._source = self._source, None
        if source is not None:
            source.close()
        self._tell(error)

    def _tell(self, error: BaseException | None) -> None:
        told, self._told = self._told, None
        if told is not None:
            told.reply(**said_of_reply(self._reply or self._gathered.reply()))
            told.end(error)

    async def collect(self) -> ChatReply[Any]:
        """Read to the end and return the reply."""
        async for _ in self:
            pass
        return self.reply

    @property
    def reply(self) -> ChatReply[Any]:
        """The whole answer, once the last piece has come; `GatewayStateError` before."""
        if self._reply is None:
            raise GatewayStateError("the stream has not come to its end; read it, or use collect()")
        return self._reply

    @property
    def closed(self) -> bool:
        """Whether it has ended or was closed."""
        return self._over

    def close(self) -> None:
        """Close the stream, and at once its connection unless the response has ended."""
        self._end(None)

    # unasync: skip
    async def aclose(self) -> None:
        """Do what `close` does, under the name that an async generator has for it."""
        self.close()

    # unasync: end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._over else "not begun" if self._source is None else "open"
        return f"<{type(self).__name__}, {state}>"
