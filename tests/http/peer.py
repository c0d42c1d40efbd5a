"""A scripted HTTP server on a real socket: it answers exactly what a test tells it to.

The listening, the threads and the faults are those of `tests/transport/peer.py`; here requests
are read and answers written, by code that shares nothing with the library under test.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.transport.peer import Connection, Gone, Peer

END = b"0\r\n\r\n"
REASONS = {200: "OK", 204: "No Content", 304: "Not Modified", 404: "Not Found"}


class Asked(NamedTuple):
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name]

    def header(self, name: str) -> str | None:
        found = self.all(name)
        assert len(found) < 2, f"{name} was sent {len(found)} times"
        return found[0] if found else None


class Exchange:
    """One connection, and the request that was read from it last."""

    def __init__(self, link: Connection, peer: HttpPeer) -> None:
        self.link = link
        self.peer = peer
        self.asked: Asked

    def request(self) -> Asked:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.link.read_exactly(1)
        first, *lines = head.decode("ascii").split("\r\n")[:-2]
        method, target, version = first.split(" ")
        assert version == "HTTP/1.1"
        headers = [
            (name.lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines)
        ]
        sizes = [int(value) for name, value in headers if name == "content-length"]
        assert len(sizes) < 2
        body = self.link.read_exactly(sizes[0]) if sizes else b""
        self.asked = Asked(method, target, headers, body, self.link.number)
        self.peer.note(self.asked)
        return self.asked

    def raw(self, data: bytes) -> None:
        self.link.raw(data)

    def answer(
        self,
        status: int = 200,
        body: bytes | str = b"",
        headers: Sequence[tuple[str, str]] = (),
        *,
        announced: int | None = None,
    ) -> None:
        """Answer with a Content-Length; `announced` makes that another than the body's."""
        self.raw(answer(status, body, headers, announced=announced))

    def json(self, value: object, status: int = 200, *headers: tuple[str, str]) -> None:
        self.answer(status, json.dumps(value), [("Content-Type", "application/json"), *headers])

    def start_events(self, *headers: tuple[str, str], status: int = 200) -> None:
        """Begin a chunked event stream."""
        lines = [("Content-Type", "text/event-stream"), *headers]
        self.raw(head(status, [("Transfer-Encoding", "chunked"), *lines]))

    def chunk(self, data: bytes | str) -> None:
        self.raw(framed(data))

    def last_chunks(self, *pieces: bytes | str) -> None:
        """Send these and the end of the body, which is in one piece with the last of them.

        A blocking client does not wait long for an end that comes by itself.
        """
        for piece in pieces[:-1]:
            self.chunk(piece)
        self.raw(b"".join(map(framed, pieces[-1:])) + END)

    def end_chunks(self) -> None:
        self.raw(END)


def head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n{lines}\r\n".encode("latin-1")


def framed(data: bytes | str) -> bytes:
    """Return a chunk of a body."""
    data = data.encode() if isinstance(data, str) else data
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(
    status: int = 200,
    body: bytes | str = b"",
    headers: Sequence[tuple[str, str]] = (),
    *,
    announced: int | None = None,
) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    size = len(data) if announced is None else announced
    return head(status, [("Content-Length", str(size)), *headers]) + data


Script = Callable[[Exchange], object]


class HttpPeer(Peer):
    """A peer that runs `script` for each connection it accepts."""

    def __init__(self, script: Script, kind: str = "unix", **options: Any) -> None:
        self.asked: list[Asked] = []
        self._noting = threading.Lock()
        super().__init__(lambda link: script(Exchange(link, self)), kind, **options)

    def note(self, asked: Asked) -> None:
        with self._noting:
            self.asked.append(asked)

    def url(self, prefix: str = "") -> str:
        if self.kind == "unix":
            return f"http+unix://{quote(self.where, safe='')}{prefix}"
        host = "localhost" if self.kind == "tls" else self.where[0]
        host = f"[{host}]" if ":" in host else host
        return f"http{'s' if self.kind == 'tls' else ''}://{host}:{self.where[1]}{prefix}"


Step = bytes | Callable[[Exchange], object]


def script(*steps: Step) -> Script:
    """Answer the n-th request, whatever its connection, with the n-th step, and then the last.

    A step is what to send, or a function that does something else.
    """
    left = list(steps)
    taking = threading.Lock()

    def serve(exchange: Exchange) -> None:
        while True:
            exchange.request()
            with taking:
                step = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(step, bytes):
                exchange.raw(step)
            else:
                step(exchange)

    return serve


def echo(exchange: Exchange) -> None:
    """Answer every request with what it was."""
    while True:
        asked = exchange.request()
        exchange.json(
            {"method": asked.method, "target": asked.target, "body": asked.body.decode("latin-1")}
        )


def lost(exchange: Exchange) -> None:
    """Close without an answer."""
    exchange.link.close()
    raise Gone


def stall(exchange: Exchange) -> None:
    """Never answer."""
    exchange.link.stall()
