"""The servers written in Python, in one process: uvicorn with each of its parsers, http.server.

    python -m tests.peers.origin DIRECTORY

Each listens on a Unix socket, on TCP and on TLS, and once more with a short keep-alive; where,
is printed as one line of JSON. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import uvicorn

from tests.peers.application import application, digest, noise

KEEP_ALIVE = 30.0
BRIEF = 0.2  # seconds a connection may idle where a test waits for the end of that
Places = dict[str, Any]


def listen(path: str | None) -> socket.socket:
    # asyncio looks at the protocol of a listener to tell where Nagle's delay can be turned off.
    sock = (
        socket.socket(socket.AF_UNIX)
        if path
        else socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    )
    if path:
        with suppress(FileNotFoundError):
            os.unlink(path)
        sock.bind(path)
    else:
        sock.bind(("127.0.0.1", 0))
    sock.listen(256)
    return sock


def sockets(name: str, directory: str) -> tuple[list[socket.socket], Places]:
    """Return listeners for unix, tcp and tls, and where they are."""
    path = os.path.join(directory, f"{name}.sock")
    every = [listen(path), listen(None), listen(None)]
    return every, {"unix": path, "tcp": every[1].getsockname()[1], "tls": every[2].getsockname()[1]}


class Plain(http.server.BaseHTTPRequestHandler):
    """What asks for no length and speaks HTTP/1.0, with interim responses where asked."""

    # Whole answers, one write each: between a final head and its body, haproxy sometimes
    # forgets a body that follows interim responses (about one in a hundred).
    wbufsize = -1

    server_version = "odd"
    numbers: ClassVar[list[int]] = [0]

    def setup(self) -> None:
        super().setup()
        self.numbers[0] += 1
        self.number = self.numbers[0]

    def log_message(self, *_: object) -> None:
        pass

    def head(self, status: int = 200, *, version: str = "HTTP/1.0", **headers: str) -> None:
        self.protocol_version = version
        self.send_response(status)
        self.send_header("X-Connection", str(self.number))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        data = noise(int(query.get("size", 100)), int(query.get("seed", 0)))
        length = str(len(data))
        self.close_connection = True
        match url.path.rpartition("/")[2]:
            case "rest":  # HTTP/1.0, delimited by the end of the connection
                self.head()
            case "length":
                self.head(Content_Length=length)
            case "kept":  # HTTP/1.0 that asks to keep the connection
                self.head(Content_Length=length, Connection="keep-alive")
                self.close_connection = False
            case "modern-rest":  # HTTP/1.1, delimited by the end of the connection
                self.head(version="HTTP/1.1", Connection="close")
            case "hints":
                self.protocol_version = "HTTP/1.1"
                for n in range(int(query.get("count", 2))):
                    self.send_response_only(103)
                    self.send_header("Link", f"</{n}>; rel=preload")
                    self.end_headers()
                    self.wfile.flush()
                self.head(version="HTTP/1.1", Content_Length=length)
                self.close_connection = False
            case "trailers":
                self.head(version="HTTP/1.1", Transfer_Encoding="chunked", Trailer="X-Sum")
                chunk = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
                data = chunk + b"0\r\nX-Sum: %s\r\n\r\n" % digest(data).encode()
                self.close_connection = False
            case _:
                self.head(404, Content_Length="0")
                data = b""
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = json.dumps({"size": len(data), "digest": digest(data), "method": "POST"}).encode()
        self.head(Content_Length=str(len(said)))
        self.wfile.write(said)


class Threaded(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """http.server's way of serving, on a socket of ours of any family."""

    daemon_threads = True

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        super().__init__(("", 0), Plain, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.context = context

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, _ = self.socket.accept()
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, ("client", 0)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.context is not None:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                return
        super().finish_request(request, client_address)
        if self.context is not None:
            # The closing record: without it a body that ends with the connection is cut short.
            with suppress(OSError):
                request.unwrap()
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Server(uvicorn.Server):
    """uvicorn's, without its signal handlers: several run in one loop."""

    def capture_signals(self) -> Any:
        return nullcontext()


async def serve(directory: str, names: list[str]) -> None:
    certificate = os.path.join(directory, "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    found: dict[str, Places] = {}
    running: list[Any] = []
    started: list[Server] = []

    def start(name: str, parser: str, keep_alive: float) -> None:
        every, found[name] = sockets(name, directory)
        for listeners, tls in ((every[:2], False), (every[2:], True)):
            config = uvicorn.Config(
                application,
                http=parser,
                loop="asyncio",
                lifespan="on",
                log_level="warning",
                access_log=False,
                timeout_keep_alive=keep_alive,  # type: ignore[arg-type]  # it may be a fraction
                timeout_graceful_shutdown=1,
                ssl_certfile=certificate if tls else None,
                h11_max_incomplete_event_size=1 << 20,
            )
            server = Server(config)
            started.append(server)
            running.append(server.serve(sockets=listeners))

    for name in names:
        parser = name.partition("-")[2]
        if parser:
            start(name, parser, KEEP_ALIVE)
            start(f"{name}.brief", parser, BRIEF)
        else:
            every, found[name] = sockets(name, directory)
            for sock, tls in zip(every, (None, None, context), strict=True):
                threaded = Threaded(sock, tls)
                threading.Thread(
                    target=threaded.serve_forever, kwargs={"poll_interval": 3600}, daemon=True
                ).start()
    tasks = [asyncio.ensure_future(one) for one in running]
    while not all(server.started for server in started):
        await asyncio.sleep(0.005)
    print(json.dumps(found), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in started:
        server.should_exit = True
    await asyncio.gather(*tasks)


def main(directory: str, *names: str) -> None:
    run: Callable[[Any], Any] = asyncio.run
    run(serve(directory, list(names)))
    os._exit(0)  # threads of http.server may still hold a connection


if __name__ == "__main__":
    main(*sys.argv[1:])
