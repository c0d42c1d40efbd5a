"""Experiments that break other clients, each a function that returns what it counted.

The tests assert on the counts; `figures` prints them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ostiary.errors import DeadlineError, OstiaryError
from ostiary.http import AsyncPool, Pool
from tests.hazards.scripted import (
    OK,
    answer,
    chunked,
    events,
    piece,
    read_request,
    reply,
    response,
    url,
)
from tests.peers.driver import Session, run_on
from tests.transport.peer import Connection, Peer

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
Said = dict[str, Any]


# --- cancel storm -------------------------------------------------------------------------------


def hesitant(link: Connection) -> None:
    """Answer in two parts, each now and then late."""
    draw = random.Random(link.number)
    while True:
        request = read_request(link)
        data = response(answer(request.target, request.body))
        cut = draw.randrange(1, len(data))
        for part in (data[:cut], data[cut:]):
            if draw.random() < 0.2:
                link.stall(draw.random() * 0.002)
            link.raw(part)


async def _storm(pool: AsyncPool, requests: int, after: int) -> Said:
    draw = random.Random(7)
    loop = asyncio.get_running_loop()
    seen: Counter[str] = Counter()

    async def one(n: int) -> None:
        target = f"/storm/{n}?size={draw.choice([10, 2000, 40_000])}"
        data = (await pool.request("GET", target)).read()
        seen["good" if data == answer(target) else "wrong"] += 1

    tasks = [loop.create_task(one(n)) for n in range(requests)]
    doomed = draw.sample(tasks, requests * 3 // 4)
    for task in doomed:
        # From before the first step to long after the last; most of them while they wait.
        loop.call_later(draw.random() * requests / 2400, task.cancel)
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, asyncio.CancelledError):
            seen["cancelled"] += 1
        elif result is not None:
            seen[type(result).__name__] += 1
    begun = time.monotonic()
    good = 0
    for start in range(0, after, 50):
        targets = [f"/after/{n}?size=500" for n in range(start, start + 50)]
        replies = await asyncio.gather(*(pool.request("GET", one) for one in targets))
        good += sum(
            one.read() == answer(target) for one, target in zip(replies, targets, strict=True)
        )
    return {
        **seen,
        "good_after": good,
        "seconds_after": round(time.monotonic() - begun, 2),
        "open": pool.open_connections,
        "waiting": pool.waiting,
    }


def cancel_storm(colour: str, *, requests: int = 2400, after: int = 1000) -> Said:
    """Cancel most of 2,400 requests on 10 connections, then make 1,000 more."""
    with Peer(hesitant, backlog=512) as peer:

        async def main() -> Said:
            async with AsyncPool(url(peer), max_connections=10, max_retries=0) as pool:
                return await _storm(pool, requests, after)

        return dict(run_on(colour, main()))


def timeout_storm(*, requests: int = 2400, after: int = 1000) -> Said:
    """The same for threads, by deadlines: 20 of them on 10 connections."""
    seen: Counter[str] = Counter()
    with (
        Peer(hesitant, backlog=512) as peer,
        Pool(url(peer), max_connections=10, max_retries=0) as pool,
    ):
        lock = threading.Lock()

        def count(what: str) -> None:
            with lock:
                seen[what] += 1

        def some(first: int) -> None:
            draw = random.Random(first)
            for n in range(first, requests, 20):
                target = f"/storm/{n}?size={draw.choice([10, 2000, 40_000])}"
                try:
                    data = pool.request("GET", target, timeout=draw.random() * 0.02 + 1e-5).read()
                    count("good" if data == answer(target) else "wrong")
                except OstiaryError as error:
                    count(type(error).__name__)

        def more(first: int) -> None:
            for n in range(first, after, 20):
                target = f"/after/{n}?size=500"
                try:
                    data = pool.request("GET", target).read()
                    count("good_after" if data == answer(target) else "wrong")
                except OstiaryError as error:
                    count(f"after: {type(error).__name__}")

        for work in (some, more):
            threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return {**seen, "open": pool.open_connections, "waiting": pool.waiting}


# --- in a process of its own ---------------------------------------------------------------------


def child(what: str, where: str, colour: str, *flags: str) -> Said:
    """Run a client of `client.py`; it must end well and say nothing but its result."""
    done = subprocess.run(
        [sys.executable, *flags, "-m", "tests.hazards.client", what, where, colour],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if done.returncode or done.stderr:
        raise AssertionError(f"{what} ended with {done.returncode}: {done.stderr[-3000:]}")
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said


def steady(link: Connection) -> None:
    """Answer everything, a large answer in two parts."""
    while True:
        request = read_request(link)
        data = response(answer(request.target, request.body))
        link.raw(data[:1000])
        link.raw(data[1000:])


def fork(colour: str) -> Said:
    """Use a pool in its process and in four children that were forked from it."""
    with Peer(steady, backlog=512) as peer:
        return child("fork", url(peer), colour)


def zeros_gzipped(size_mib: int) -> bytes:
    """A gzip member that holds that many MiB of zeros; quick to make, unlike to compress."""
    block = bytes(MIB)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.flush(zlib.Z_FINISH)
    check = 0
    for _ in range(size_mib):
        check = zlib.crc32(block, check)
    head = gzip.compress(b"")[:10]
    return head + one * size_mib + end + struct.pack("<II", check, size_mib * MIB & 0xFFFFFFFF)


def amplifier(size_mib: int) -> Callable[[Connection], None]:
    """Serve /bomb, /line and everything else that grows."""
    packed = zeros_gzipped(size_mib)

    def endless(link: Connection, data: bytes, most: int) -> None:
        for _ in range(most // len(data) + 1):
            link.raw(data)

    def serve(link: Connection) -> None:
        while True:
            request = read_request(link)
            match request.target:
                case "/bomb":
                    link.raw(response(packed, "Content-Encoding: gzip"))
                case "/line":
                    link.raw(events(end=False))
                    link.raw(piece("data: "))
                    endless(link, piece(b"x" * 65536), size_mib * MIB)
                case "/announced":
                    link.raw(OK + b"Content-Length: 60000000\r\n\r\n")
                case "/head":
                    endless(link, OK + b"x" * 65536, size_mib * MIB)
                case "/headers":
                    link.raw(OK)
                    endless(link, b"a: b\r\n" * 1000, size_mib * MIB)
                case "/trailer":
                    link.raw(chunked(b"x", end=False) + b"0\r\n")
                    endless(link, b"a: b\r\n" * 1000, size_mib * MIB)
                case "/chunk-line":
                    link.raw(OK + b"Transfer-Encoding: chunked\r\n\r\n1;a=")
                    endless(link, b"x" * 65536, size_mib * MIB)
                case "/hints":
                    endless(link, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, size_mib * MIB)
                case "/chunks":
                    link.raw(OK + b"Transfer-Encoding: chunked\r\n\r\n")
                    endless(link, b"1\r\nx\r\n" * 10_000, size_mib * MIB)
                case _:
                    reply(link, request)

    return serve


def amplified(what: str, colour: str, size_mib: int) -> Said:
    """Have a client in a process of its own meet something that grows without end."""
    with Peer(amplifier(size_mib), backlog=64) as peer:
        return child(what, url(peer), colour)


# --- dripping -----------------------------------------------------------------------------------

DRIPS = ["head", "body", "chunk", "chunk-size", "trailer", "event", "comments"]


def dripping(link: Connection) -> None:
    """Send a byte every 10 ms of whatever the target names, for ever."""
    what = read_request(link).target[1:]
    if what == "head":
        link.raw(OK)
    elif what == "body":
        link.raw(OK + b"Content-Length: 1000000\r\n\r\n")
    elif what == "chunk":
        link.raw(OK + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n")
    elif what == "chunk-size":
        link.raw(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    elif what == "trailer":
        link.raw(chunked(b"x"[:0], end=False) + b"0\r\nX: ")
    elif what == "event":
        link.raw(events(end=False) + piece("data: "))
    else:
        link.raw(events(end=False))
    while True:
        if what == "event":
            link.raw(piece("x"))
        elif what == "comments":
            link.raw(piece(": still here\n\n"))
        elif what == "chunk-size":
            link.raw(b"1\r\nx\r\n")
        else:
            link.raw(b"x")
        link.stall(0.01)


def drip(colour: str, limit: float = 1.0) -> dict[str, float]:
    """Meet every kind of drip at once under one limit; return how long each call took."""
    took: dict[str, float] = {}

    def note(what: str, begun: float, error: OstiaryError) -> None:
        assert isinstance(error, DeadlineError), f"{what}: {error!r}"
        took[what] = time.monotonic() - begun

    with Peer(dripping) as peer:
        if colour == "sync":
            with Pool(url(peer), max_retries=0) as pool:

                def one(what: str) -> None:
                    begun = time.monotonic()
                    try:
                        if what in ("event", "comments"):
                            with pool.events("GET", f"/{what}", idle_timeout=limit) as stream:
                                next(iter(stream))
                        else:
                            pool.request("GET", f"/{what}", timeout=limit)
                    except OstiaryError as error:
                        note(what, begun, error)

                threads = [threading.Thread(target=one, args=(what,)) for what in DRIPS]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            return took

        async def main() -> None:
            async with AsyncPool(url(peer), max_retries=0) as pool:

                async def one(what: str) -> None:
                    begun = time.monotonic()
                    try:
                        if what in ("event", "comments"):
                            stream = await pool.events("GET", f"/{what}", idle_timeout=limit)
                            async with stream:
                                await anext(aiter(stream))
                        else:
                            await pool.request("GET", f"/{what}", timeout=limit)
                    except OstiaryError as error:
                        note(what, begun, error)

                await asyncio.gather(*map(one, DRIPS))

        run_on(colour, main())
    return took


# --- descriptors --------------------------------------------------------------------------------

_ONCE = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(512)
print("ready", flush=True)
data = b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\nonce"
while True:
    sock, _ = listener.accept()
    if sock.recv(65536):
        sock.sendall(data)
    sock.close()
"""


@contextlib.contextmanager
def once() -> Iterator[str]:
    """A server, in a process of its own, that closes after every answer."""
    with tempfile.TemporaryDirectory(prefix="once") as here:
        path = os.path.join(here, "s")
        process = subprocess.Popen([sys.executable, "-c", _ONCE, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield "unix://" + path
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/dev/fd"))


def churn(colour: str, connections: int = 10_000) -> Said:
    """Open and close that many connections, one request on each."""
    with once() as where, Session(colour, where, max_retries=0) as session:
        session.request("GET", "/")
        begun, before = time.monotonic(), descriptors()
        good = 0
        if session.runner is None:
            for _ in range(connections):
                good += session.pool.request("GET", "/").body == b"once"
        else:

            async def many(share: int) -> int:
                return sum(
                    [
                        (await session.pool.request("GET", "/")).read() == b"once"
                        for _ in range(share)
                    ]
                )

            async def main() -> int:
                return sum(await asyncio.gather(*(many(connections // 8) for _ in range(8))))

            good = session.wait(main())
        return {
            "connections": good,
            "leaked": descriptors() - before,
            "seconds": round(time.monotonic() - begun, 2),
        }
