"""A scripted peer on a real socket: it reads frames and answers exactly what a test tells it to.

Threaded, one handler call per connection; Unix, TCP v4, TCP v6 and TLS. No code of the
library under test is used here, so that a shared mistake cannot hide. Run as a program it
serves `echo`, `hold`, `flood` or `gulp` from a process of its own, to be killed or to need no GIL.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

HEADER = struct.Struct(">I")
Handler = Callable[["Connection"], object]


class Gone(Exception):
    """The client closed, or the test is over."""


class Connection:
    """One accepted connection, seen from the server."""

    def __init__(self, sock: socket.socket, number: int, over: threading.Event) -> None:
        self.sock = sock
        self.number = number
        self._over = over
        self._buffer = bytearray()
        self.requests: list[dict[str, Any]] = []

    def read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = self.sock.recv(65536)
            except (OSError, ValueError):
                raise Gone from None
            if not data:
                raise Gone
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def read_payload(self) -> bytes:
        return self.read_exactly(HEADER.unpack(self.read_exactly(4))[0])

    def read_request(self) -> dict[str, Any]:
        request = json.loads(self.read_payload())
        self.requests.append(request)
        return request

    def raw(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except (OSError, ValueError):
            raise Gone from None

    def frame(self, payload: bytes | str) -> None:
        self.raw(framed(payload))

    def reply(self, request: dict[str, Any], result: object) -> None:
        self.frame(json.dumps({"id": request["id"], "result": result}))

    def refuse(self, request: dict[str, Any], error: object) -> None:
        self.frame(json.dumps({"id": request["id"], "error": error}))

    def echo(self, request: dict[str, Any]) -> None:
        self.reply(request, answer(request["params"]))

    def drip(self, data: bytes, pause: float) -> None:
        for position in range(len(data)):
            self.raw(data[position : position + 1])
            if self._over.wait(pause):
                raise Gone

    def stall(self, seconds: float | None = None) -> None:
        """Do nothing until the test is over, or for that long."""
        if self._over.wait(seconds):
            raise Gone

    def wait_gone(self) -> None:
        """Read until the client closes."""
        with contextlib.suppress(Gone):
            while True:
                self.read_exactly(1)

    def half_close(self) -> None:
        """End our direction without a TLS farewell."""
        socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close so that the client sees ECONNRESET: unread bytes (Unix) or linger 0 (TCP)."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def framed(payload: bytes | str) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return HEADER.pack(len(data)) + data


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """What only this request can be answered with; `size` asks for that much padding."""
    n, size = params["n"], params.get("size", 0)
    return {"n": n, "check": check(n, params.get("pad", "")), "pad": padding(n, size)}


def check(n: int, pad: str) -> int:
    return zlib.crc32(f"{n}:{pad}".encode())


def padding(n: int, size: int) -> str:
    unit = f"<{n}>"
    return (unit * (size // len(unit) + 1))[:size]


def echo(link: Connection) -> None:
    """Answer everything, in order."""
    while True:
        link.echo(link.read_request())


class Peer:
    """A listening peer; use it as a context manager. A handler that fails fails the test."""

    def __init__(
        self,
        handler: Handler = echo,
        kind: str = "unix",
        *,
        server_context: ssl.SSLContext | None = None,
        client_context: ssl.SSLContext | None = None,
        backlog: int = 128,
        accepting: bool = True,
        receive_buffer: int = 0,
    ) -> None:
        self.kind = kind
        self.client_context = client_context
        self.links: list[Connection] = []
        self.failures: list[BaseException] = []
        self.clients: list[Any] = []  # closed with the peer, so that a failed test leaks nothing
        self._handler = handler
        self._server_context = server_context
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._directory: str | None = None
        self.where: Any
        if kind == "unix":
            self._directory = tempfile.mkdtemp(prefix="peer")
            self.where = os.path.join(self._directory, "s")
            self._listener = socket.socket(socket.AF_UNIX)
        else:
            family = socket.AF_INET6 if kind == "tcp6" else socket.AF_INET
            self.where = ("::1" if kind == "tcp6" else "127.0.0.1", 0)
            self._listener = socket.socket(family)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(self.where)
        self._listener.listen(backlog)
        if kind != "unix":
            self.where = self._listener.getsockname()[:2]
        if accepting:
            self._start(self._accept)

    @property
    def address(self) -> Any:
        from ostiary.config import TcpAddress, UnixAddress

        if self.kind == "unix":
            return UnixAddress(self.where)
        # A name, so that TLS has something to check.
        host = "localhost" if self.kind == "tls" else self.where[0]
        return TcpAddress(host, self.where[1], self.kind == "tls")

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request of every connection, in the order of the connections."""
        return [request for link in self.links for request in link.requests]

    def _start(self, target: Callable[..., object], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._over.is_set():
                sock.close()
                return
            link = Connection(sock, len(self.links), self._over)
            self.links.append(link)
            self._start(self._serve, link)

    def _serve(self, link: Connection) -> None:
        try:
            if self.kind != "unix":
                link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._server_context is not None:
                try:
                    link.sock = self._server_context.wrap_socket(link.sock, server_side=True)
                except (OSError, ValueError):
                    return
            self._handler(link)
        except Gone:
            pass
        except BaseException as error:  # noqa: BLE001 - shown to the test by __exit__
            self.failures.append(error)
        finally:
            link.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        for client in self.clients:
            client.close()
        self.stop()
        for thread in self._threads:
            thread.join(10)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        assert not [t for t in self._threads if t.is_alive()], "a handler did not end"
        if error is None and self.failures:
            raise self.failures[0]

    def stop(self) -> None:
        """Stop listening and drop every connection."""
        self._over.set()
        # shutdown wakes accept() on Linux; a connection of our own does elsewhere.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in list(self.links):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(link.sock, socket.SHUT_RDWR)


@contextlib.contextmanager
def spawned(behaviour: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve `behaviour` on a Unix socket from a process of its own; killed at the end."""
    directory = tempfile.mkdtemp(prefix="peer")
    path = os.path.join(directory, "s")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), behaviour, path], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield path, process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        shutil.rmtree(directory, ignore_errors=True)


def hold(link: Connection) -> None:
    """Answer requests until one says `hold`; say so on stdout and never answer that."""
    while True:
        request = link.read_request()
        if request["method"] == "hold":
            print("held", flush=True)
            signal.pause()
        link.echo(request)


def flood(link: Connection) -> None:
    """Answer with a frame of 16 MiB, one byte at a time, as fast as that goes."""
    link.read_request()
    link.raw(HEADER.pack(16 * 1024 * 1024))
    one = link.sock.send
    try:
        while True:
            one(b" ")
    except OSError:
        raise Gone from None


def gulp(link: Connection) -> None:
    """Read a little of whatever comes, then close with the rest unread."""
    link.read_exactly(1)
    time.sleep(0.002)
    link.close()
    raise Gone


def _main(behaviour: str, path: str) -> None:
    with Peer({"echo": echo, "hold": hold, "flood": flood, "gulp": gulp}[behaviour]) as peer:
        os.rename(peer.where, path)
        print("ready", flush=True)
        # Our parent kills us; if it died first, its end of the pipe tells.
        while os.getppid() != 1:
            time.sleep(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
