"""P11: the head and body of one small response, read from bytes, in nanoseconds each.

A client's reader asks for a response, gets its bytes in one piece, and wants the status, the
headers and the body. Each does that here; what it makes of the headers is its own affair.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..sample import Sample, Stopwatch, Unavailable, Work
from . import native
from .exchange import peer

COPIES = 1000
BODY = b'{"id":"abc-123-def","decision":"allow","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}'
FIELDS = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 05 May 2031 10:00:00 GMT\r\nServer: some\r\n"
    b"Content-Type: application/json\r\nConnection: keep-alive\r\n"
)
RESPONSE = FIELDS + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY

Read = Callable[[bytes], Any]
"""Reads one response and returns its body."""


def c_floor(work: Work) -> Sample:
    """A walk over the lines in C."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "responses"
        path.write_bytes((RESPONSE + b"\n") * COPIES)
        return native.run(work, "lines", path, COPIES, max(1, work.count // COPIES))


def ours(work: Work) -> Sample:
    """`ResponseParser`; with `parser="h11"` every response goes through h11."""
    try:
        from ostiary._wire.parser import ResponseParser
    except ImportError as error:
        raise Unavailable(str(error)) from None

    one = ResponseParser(parser="h11" if work.options.get("h11") else "strict")

    def read(data: bytes) -> Any:
        one.expect("POST")
        response = one.feed(data)
        assert response is not None
        return response.body

    return _timed(work, read)


def httptools_reader() -> Read:
    """A parser per response, as it has to be; headers into a list, the body joined."""
    httptools = peer("httptools")

    class Message:
        def __init__(self) -> None:
            self.headers: list[tuple[bytes, bytes]] = []
            self.parts: list[bytes] = []

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.append((name, value))

        def on_body(self, data: bytes) -> None:
            self.parts.append(data)

    def read(data: bytes) -> bytes:
        message = Message()
        httptools.HttpResponseParser(message).feed_data(data)
        return b"".join(message.parts)

    return read


def h11_reader() -> Read:
    """One connection, a cycle per response."""
    h11 = peer("h11")
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="POST", target="/", headers=[("Host", "x")])

    def read(data: bytes) -> bytes:
        connection.send(request)
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        parts: list[bytes] = []
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                parts.append(event.data)
            elif isinstance(event, h11.EndOfMessage):
                connection.start_next_cycle()
                return b"".join(parts)

    return read


class _Transport:
    """As much of a transport as aiohttp's protocol asks for."""

    def get_extra_info(self, name: str) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def aiohttp_reader(loop: asyncio.AbstractEventLoop) -> Read:
    """The compiled parser of aiohttp, one per connection."""
    http, protocols = peer("aiohttp.http"), peer("aiohttp.base_protocol")
    protocol = protocols.BaseProtocol(loop)
    protocol.connection_made(_Transport())
    parser = http.HttpResponseParser(protocol, loop, 2**16, read_until_eof=True)
    if "_http_parser" not in type(parser).__module__:
        raise Unavailable("aiohttp has no compiled parser here")

    def read(data: bytes) -> bytes:
        messages, _, _ = parser.feed_data(data)
        payload = messages[0][1]
        return b"".join(payload._buffer)

    return read


def peers(work: Work) -> Sample:
    """One of the peers."""
    name = work.options["client"]
    if name == "aiohttp":
        loop = asyncio.new_event_loop()
        try:
            return _timed(work, aiohttp_reader(loop))
        finally:
            loop.close()
    return _timed(work, {"httptools": httptools_reader, "h11": h11_reader}[name]())


def _timed(work: Work, read: Read) -> Sample:
    assert bytes(memoryview(read(RESPONSE))) == BODY
    for _ in range(work.warm_up):
        read(RESPONSE)
    watch = Stopwatch()
    watch.start()
    for _ in range(work.count):
        read(RESPONSE)
    return watch.sample(work.count, "ns")
