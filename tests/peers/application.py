"""What the servers of these tests serve: an ASGI application without a framework.

Every body follows from the query, so that a test knows what it must be.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import itertools
import json
import os
import random
import zlib
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl
from weakref import WeakKeyDictionary

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

_connections: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_numbers = itertools.count(1)
_gone = 0  # how many endless answers lost their reader


@lru_cache(maxsize=64)
def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no coding makes smaller."""
    return random.Random(seed).randbytes(size)


@lru_cache(maxsize=16)
def prose(size: int, seed: int = 0) -> bytes:
    """Text that every coding makes smaller."""
    words = random.Random(seed).choices(["door", "keeper", "of", "the", "house", "\n"], k=997)
    line = " ".join(words).encode()
    return (line * (size // len(line) + 1))[:size]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def encoded(coding: str, data: bytes) -> bytes:
    """`data` in a content coding; `ModuleNotFoundError` when its package is missing."""
    if coding == "gzip":
        return gzip.compress(data)
    if coding == "deflate":
        return zlib.compress(data)
    if coding == "br":
        import brotli

        return bytes(brotli.compress(data, quality=3))
    from backports import zstd

    return zstd.compress(data)


def connection_of(receive: Any) -> int:
    """Number the connection a request came on; both of uvicorn's protocols keep its transport."""
    transport = receive.__self__.transport
    if transport not in _connections:
        _connections[transport] = next(_numbers)
    return _connections[transport]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await Exchange(scope, receive, send).answer()


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.query = dict(parse_qsl(scope["query_string"].decode()))
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}

    def number(self, name: str, default: int = 0) -> int:
        return int(self.query.get(name, default))

    async def head(self, status: int = 200, **headers: str) -> None:
        lines = {"x-connection": str(connection_of(self.receive)), "x-pid": str(os.getpid())}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = [(name.encode(), value.encode()) for name, value in lines.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})

    async def piece(self, data: bytes, *, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def whole(self, data: bytes, status: int = 200, **headers: str) -> None:
        await self.head(status, content_length=str(len(data)), **headers)
        await self.piece(data, more=False)

    async def body(self) -> bytes:
        parts: list[bytes] = []
        while True:
            message = await self.receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def answer(self) -> None:
        name = self.scope["path"].strip("/").replace("-", "_")
        road = getattr(self, f"do_{name}", None)
        if road is None:
            await self.whole(b'{"error":"not_found"}', 404, content_type="application/json")
            return
        await road()

    async def do_bytes(self) -> None:
        await self.whole(noise(self.number("size"), self.number("seed")))

    async def do_text(self) -> None:
        """Compressible, and of a type that servers compress."""
        await self.whole(prose(self.number("size"), self.number("seed")), content_type="text/plain")

    async def do_pieces(self) -> None:
        """No length: chunks on HTTP/1.1."""
        data, step = noise(self.number("size"), self.number("seed")), self.number("step", 1000)
        await self.head(content_type="application/octet-stream")
        for at in range(0, len(data), step):
            await self.piece(data[at : at + step])
        await self.piece(b"", more=False)

    async def do_coded(self) -> None:
        coding = self.query["coding"]
        data = encoded(coding, prose(self.number("size"), self.number("seed")))
        if "pieces" not in self.query:
            await self.whole(data, content_encoding=coding)
            return
        await self.head(content_encoding=coding)
        for at in range(0, len(data), 700):
            await self.piece(data[at : at + 700])
        await self.piece(b"", more=False)

    async def do_status(self) -> None:
        status = self.number("code")
        if status in (204, 304):
            await self.head(status, etag='"v1"')
            await self.piece(b"", more=False)
        elif 300 <= status < 400:
            await self.whole(b"", status, location="http://elsewhere.invalid:81/secret?token=x")
        else:
            await self.whole(b'{"code":"odd"}', status, content_type="application/json")

    async def do_digest(self) -> None:
        data = await self.body()
        said = {"size": len(data), "digest": digest(data), "method": self.scope["method"]}
        await self.whole(json.dumps(said).encode(), content_type="application/json")

    async def do_mirror(self) -> None:
        """Read and write at once: the first piece is answered before the second was read."""
        await self.head()
        while True:
            message = await self.receive()
            await self.piece(message.get("body", b""), more=message.get("more_body", False))
            if not message.get("more_body"):
                return

    async def do_headers(self) -> None:
        await self.whole(json.dumps(self.headers).encode(), content_type="application/json")

    async def do_last(self) -> None:
        """The last answer of its connection."""
        await self.whole(b"last", connection="close")

    async def do_events(self) -> None:
        await self.head(content_type="text/event-stream", cache_control="no-store")
        for n in range(self.number("count")):
            if n % 3 == 1:
                await self.piece(b": a heartbeat\n\n")
            event = f"event: tick\nid: {n}\ndata: {json.dumps({'n': n})}\n\n".encode()
            # Split where it hurts.
            await self.piece(event[: n % len(event)])
            await self.piece(event[n % len(event) :])
            if "pause" in self.query:
                await asyncio.sleep(float(self.query["pause"]))
        await self.piece(b"data: [DONE]\n\n", more=False)

    async def do_endless(self) -> None:
        """Events until the reader has gone, which is counted."""
        global _gone
        await self.head(content_type="text/event-stream", cache_control="no-store")
        left = asyncio.ensure_future(self._left())
        n = 0
        while not left.done():
            await self.piece(b'event: tick\ndata: {"n":%d}\n\n' % n)
            n += 1
            await asyncio.wait([left], timeout=0.01)
        _gone += 1

    async def _left(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def do_gone(self) -> None:
        await self.whole(str(_gone).encode())

    async def do_slow(self) -> None:
        await asyncio.sleep(float(self.query["seconds"]))
        await self.whole(b"slow")
