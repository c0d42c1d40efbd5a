"""What an adaptive limit does for a server that slows down, on real sockets.

    python -m tests.http.overload [--seconds 6]

The server has so many workers, and each request takes one of them for the same time: beyond
that, answers take longer the more there are at once. As most servers do, it works on for
clients that have given up. In the middle of the run seven of eight workers are taken away.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ostiary.errors import OstiaryError
from ostiary.http import AsyncPool

__all__ = ["SlowingServer", "serving"]

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class SlowingServer:
    """A service of `workers` that each serve a request in `seconds`; both may be changed."""

    def __init__(self, workers: int, seconds: float) -> None:
        self.workers = workers
        self.seconds = seconds
        self.at_once = 0
        self.most_at_once = 0
        self.served = 0
        self._busy = 0
        self._waiting: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
        self._handlers: set[asyncio.Task[None]] = set()

    async def serve(self, path: Path, started: threading.Event, ended: asyncio.Event) -> None:
        """Listen until `ended`."""
        server = await asyncio.start_unix_server(self._connected, path, backlog=1024)
        started.set()
        await ended.wait()
        server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    await self._work()
                finally:
                    self.at_once -= 1
                writer.write(_ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # the client has closed it, or the server ends
        finally:
            self._handlers.discard(handler)
            writer.close()

    async def _work(self) -> None:
        if self._busy >= self.workers:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.put_nowait(turn)
            await turn
        self._busy += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self._busy -= 1
            self.served += 1
            if self._busy < self.workers and not self._waiting.empty():
                next_one = self._waiting.get_nowait()
                if not next_one.done():
                    next_one.set_result(None)


@contextmanager
def serving(workers: int, seconds: float) -> Iterator[tuple[SlowingServer, str]]:
    """Yield a server on a thread of its own, and its base URL."""
    server = SlowingServer(workers, seconds)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="ostiary-") as directory:
        path = Path(directory, "slowing")
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(server.serve(path, started, ended))
        )
        thread.start()
        started.wait()
        try:
            yield server, f"http+unix://{quote(str(path), safe='')}"
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()
            loop.close()


class _Call(NamedTuple):
    ended: float
    seconds: float
    fine: bool


async def _load(
    server: SlowingServer, url: str, adaptive: bool, clients: int, timeout: float, seconds: float
) -> list[tuple[str, list[_Call], int, int | None]]:
    """Have `clients` call again and again; return for each phase its calls and what was seen."""
    calls: list[_Call] = []
    phases: list[tuple[str, list[_Call], int, int | None]] = []
    async with AsyncPool(
        url, timeout=timeout, max_retries=0, max_connections=4 * clients, adaptive=adaptive
    ) as pool:

        async def client() -> None:
            while True:
                began = time.monotonic()
                try:
                    await pool.request("GET", "/")
                    fine = True
                except OstiaryError:
                    fine = False
                ended = time.monotonic()
                calls.append(_Call(ended, ended - began, fine))

        tasks = [asyncio.ensure_future(client()) for _ in range(clients)]
        workers = server.workers
        for name, of in (("healthy", 1), ("slow", 8), ("recovered", 1)):
            server.workers = max(1, workers // of)
            server.most_at_once = 0
            calls.clear()
            await asyncio.sleep(seconds)
            phases.append((name, list(calls), server.most_at_once, pool.adaptive_limit))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return phases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each of three phases")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--timeout", type=float, default=0.5)
    options = parser.parse_args()
    print(
        f"{options.clients} clients, a timeout of {options.timeout:g} s, "
        f"{options.workers} workers of 40 ms each, an eighth of them while it is slow"
    )
    print(
        f"{'limit':8} {'phase':10} {'good/s':>8} {'failed':>7} {'p50 ms':>7} {'p99 ms':>7} at once"
    )
    for adaptive in (False, True):
        with serving(options.workers, 0.04) as (server, url):
            for name, calls, at_once, limit in asyncio.run(
                _load(server, url, adaptive, options.clients, options.timeout, options.seconds)
            ):
                good = sorted(call.seconds for call in calls if call.fine)
                p50, p99 = (
                    (f"{good[int(len(good) * part)] * 1000:.0f}" if good else "-")
                    for part in (0.5, 0.99)
                )
                print(
                    f"{'adaptive' if adaptive else 'none':8} {name:10} "
                    f"{len(good) / options.seconds:8.0f} {len(calls) - len(good):7} "
                    f"{p50:>7} {p99:>7} {at_once:7}"
                    + (f"  (limit {limit})" if limit is not None else "")
                )


if __name__ == "__main__":
    main()
