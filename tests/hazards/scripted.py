"""HTTP servers whose every byte a test writes, on real sockets.

`Peer` and its connections are those of tests/transport/peer.py; this adds how requests are
read and how one is answered so that its answer fits no other.
"""

from __future__ import annotations

import contextlib
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.transport.peer import Connection, Gone, Peer

OK = b"HTTP/1.1 200 OK\r\n"
Handler = Callable[[Connection], object]


class Request(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def read_head(link: Connection) -> bytes:
    data = bytearray()
    while not data.endswith(b"\r\n\r\n"):
        data += link.read_exactly(1)
    return bytes(data)


def read_request(link: Connection) -> Request:
    """Read one request as strictly as a server may."""
    head = read_head(link)
    line, *lines = head[:-4].decode("ascii").split("\r\n")
    match = re.fullmatch(r"([A-Z]+) (\S+) HTTP/1\.1", line)
    assert match, head
    headers: dict[str, str] = {}
    for one in lines:
        name, colon, value = one.partition(": ")
        assert colon, head
        assert re.fullmatch(r"[A-Za-z0-9-]+", name), head
        assert name.lower() not in headers, head
        headers[name.lower()] = value
    assert headers.get("host"), head
    assert "transfer-encoding" not in headers, head
    body = link.read_exactly(int(headers.get("content-length", 0)))
    request = Request(match[1], match[2], headers, body)
    link.requests.append(request._asdict())
    return request


def response(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    parts = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(parts) + b"0\r\n\r\n" * end


def events(*data: str, end: bool = True) -> bytes:
    """An event stream, each event in a chunk of its own."""
    head = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(piece(f"data: {one}\n\n") for one in data) + b"0\r\n\r\n" * end


def piece(text: str | bytes) -> bytes:
    """One chunk."""
    data = text.encode() if isinstance(text, str) else text
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(target: str, body: bytes = b"") -> bytes:
    """What this request and no other is answered with; `size=N` in the target asks for more."""
    found = re.search(r"size=(\d+)", target)
    unit = b"<%s %08x>" % (target.encode(), zlib.crc32(body))
    size = int(found[1]) if found else len(unit)
    return (unit * (size // len(unit) + 1))[:size]


def reply(link: Connection, request: Request) -> None:
    link.raw(response(answer(request.target, request.body)))


def echo(link: Connection) -> None:
    """Answer everything, in order."""
    while True:
        reply(link, read_request(link))


def good(session: Any, n: int, size: int = 0) -> None:
    """A call that must be answered with its own answer."""
    target = f"/good/{n}?size={size}" if size else f"/good/{n}"
    assert session.request("GET", target).read() == answer(target)


async def agood(pool: Any, n: int, size: int = 0, **options: Any) -> None:
    target = f"/good/{n}?size={size}" if size else f"/good/{n}"
    assert (await pool.request("GET", target, **options)).read() == answer(target)


def url(peer: Peer) -> str:
    if peer.kind == "unix":
        return f"http+unix://{quote(peer.where, safe='')}"
    if peer.kind == "tls":
        return f"https://localhost:{peer.where[1]}"
    return f"http://127.0.0.1:{peer.where[1]}"


class Script:
    """Serve the n-th connection by the n-th handler, and every later one by `echo`.

    `left[n]` is set when the client has closed connection n.
    """

    def __init__(self, *handlers: Handler) -> None:
        self.handlers = handlers
        self.left = [threading.Event() for _ in handlers]

    def __call__(self, link: Connection) -> None:
        if link.number >= len(self.handlers):
            echo(link)
            return
        with contextlib.suppress(Gone):
            self.handlers[link.number](link)
        if not link._over.is_set():
            link.wait_gone()
        if not link._over.is_set():
            self.left[link.number].set()


def say(data: bytes) -> Handler:
    """Read one request, say this and wait."""

    def handler(link: Connection) -> None:
        read_request(link)
        link.raw(data)

    return handler


@contextlib.contextmanager
def script(*handlers: Handler, kind: str = "unix", **options: Any) -> Iterator[tuple[Peer, Script]]:
    made = Script(*handlers)
    with Peer(made, kind, **options) as peer:
        yield peer, made
