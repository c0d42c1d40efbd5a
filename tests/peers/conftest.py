"""Real servers, started when the first test asks for one and shared by all."""

from __future__ import annotations

import importlib.util
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.peers.driver import COLOURS, PARSERS, Session, open_uvloop_once
from tests.peers.proxies import Haproxy, Nginx, Proxy

UVICORN = ["uvicorn-h11", "uvicorn-httptools"]
PROXIES = ["nginx", "haproxy"]


class Servers:
    """Where each server is."""

    def __init__(self, root: Path) -> None:
        # A short path: a socket's has 107 bytes at most.
        self.here = Path(tempfile.mkdtemp(prefix="peers"))
        self.root = root
        trustme = pytest.importorskip("trustme")
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        self.certificate = self.here / "server.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(self.certificate)
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        self.where: dict[str, dict[str, Any]] = {}
        self._origins: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}
        self._proxies: dict[str, Proxy] = {}
        self._unusable: dict[str, str] = {}

    def origin(self, *names: str) -> None:
        """Start these servers in a process of their own."""
        self._spawn(*names)
        self._await(*names)

    def _spawn(self, *names: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.peers.origin", str(self.here), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.root,
        )
        self._origins[names] = process

    def _await(self, *names: str) -> None:
        process = self._origins[names]
        assert process.stdout is not None
        self.where |= json.loads(process.stdout.readline())

    def start(self) -> None:
        """Start everything there is; what is missing is remembered with the reason."""
        plain, fast = ("uvicorn-h11", "http.server"), ("uvicorn-httptools",)
        self._spawn(*plain)
        if importlib.util.find_spec("httptools") is not None:
            self._spawn(*fast)
            self._await(*fast)
        else:
            self._unusable[fast[0]] = "httptools is not installed"
        self._await(*plain)
        behind = self.where["uvicorn-h11"]["unix"], self.where["http.server"]["unix"]
        for kind in (Nginx, Haproxy):
            here = self.here / kind.name
            here.mkdir()
            try:
                self._proxies[kind.name] = kind.start(here, self.certificate, *behind)
            except FileNotFoundError as reason:
                self._unusable[kind.name] = str(reason)
            else:
                self.where |= self._proxies[kind.name].where

    def restart(self, *names: str) -> None:
        """Kill the process of these servers and start another at the same Unix sockets."""
        self._end(self._origins.pop(names), kill=True)
        self.origin(*names)

    def proxy(self, name: str) -> Proxy:
        if name in self._unusable:
            pytest.skip(self._unusable[name])
        return self._proxies[name]

    def usable(self, names: list[str]) -> list[str]:
        return [name for name in names if name not in self._unusable]

    def url(self, server: str, transport: str) -> str:
        """Return the base URL of a server; `name.brief` is the one with a short keep-alive."""
        name = server.removesuffix(".brief")
        if name in self._unusable:
            pytest.skip(self._unusable[name])
        place = self.where[server][transport]
        if transport == "unix":
            return f"http+unix://{quote(place, safe='')}"
        # A name, so that TLS has something to check; an address would do for TCP.
        return f"https://localhost:{place}" if transport == "tls" else f"http://127.0.0.1:{place}"

    def session(self, server: str, transport: str, colour: str = "sync", **options: Any) -> Session:
        if transport == "tls":
            options.setdefault("ssl_context", self.context)
        options.setdefault("timeout", 30)
        return Session(colour, self.url(server, transport), **options)

    def stop(self) -> None:
        for proxy in self._proxies.values():
            proxy.stop()
        for process in self._origins.values():
            self._end(process)
        shutil.rmtree(self.here, ignore_errors=True)

    @staticmethod
    def _end(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        if kill:
            process.kill()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    found = Servers(Path(__file__).resolve().parents[2])
    open_uvloop_once()
    try:
        found.start()
        yield found
    finally:
        found.stop()


# Every transport, every colour, every parser and every pair of them that meet in our code; not
# every triple, which would take four times as long.
WAYS = [
    *(("unix", colour, parser) for colour in COLOURS for parser in PARSERS),
    *(("tcp", "sync", "strict"), ("tcp", "asyncio", "h11"), ("tcp", "uvloop", "strict")),
    *(("tls", "sync", "strict"), ("tls", "sync", "h11")),
    *(("tls", "asyncio", "strict"), ("tls", "asyncio", "h11"), ("tls", "uvloop", "strict")),
]


@pytest.fixture(params=WAYS, ids="-".join)
def reach(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Any]:
    """`reach(server)` is a session with it; the test runs in every way there is to one."""
    transport, colour, parser = request.param
    made: list[Session] = []

    def one(server: str, **options: Any) -> Session:
        made.append(servers.session(server, transport, colour, parser=parser, **options))
        return made[-1]

    yield one
    for session in made:
        session.close()
        assert session.pool.open_connections == 0
