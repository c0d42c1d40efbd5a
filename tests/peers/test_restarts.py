"""Servers that are reloaded, restarted or killed while they are used."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from ostiary.errors import ConnectionLostError, OstiaryError
from tests.peers.application import noise
from tests.peers.conftest import PROXIES, UVICORN, Servers
from tests.peers.driver import COLOURS, Session

WORKERS = 4


class Traffic:
    """Requests that go on until told to stop; every answer is checked."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.over = threading.Event()
        self.good = 0
        self.errors: list[OstiaryError] = []
        self.wrong: list[BaseException] = []
        self.seen: set[str] = set()
        self._threads: list[threading.Thread] = []

    def take(self, response: Any, n: int) -> None:
        assert response.read() == noise(n % 5000, n)
        self.seen.add(response.headers["x-connection"])
        self.good += 1

    def one(self, first: int) -> None:
        n = first
        try:
            while not self.over.is_set():
                n += WORKERS
                try:
                    path = f"/bytes?size={n % 5000}&seed={n}"
                    self.take(self.session.pool.request("GET", path), n)
                except OstiaryError as error:
                    self.errors.append(error)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.wrong.append(error)

    async def aone(self, first: int) -> None:
        n = first
        try:
            while not self.over.is_set():
                n += WORKERS
                try:
                    path = f"/bytes?size={n % 5000}&seed={n}"
                    self.take(await self.session.pool.request("GET", path), n)
                except OstiaryError as error:
                    self.errors.append(error)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.wrong.append(error)

    def loop(self) -> None:
        async def every() -> None:
            await asyncio.gather(*(self.aone(n) for n in range(WORKERS)))

        self.session.wait(every())

    def start(self) -> None:
        if self.session.runner is None:
            self._threads = [threading.Thread(target=self.one, args=(n,)) for n in range(WORKERS)]
        else:
            self._threads = [threading.Thread(target=self.loop)]
        for thread in self._threads:
            thread.start()

    def until(self, more: int) -> None:
        """Wait until that many further requests were answered."""
        target = self.good + more
        end = time.monotonic() + 60
        while self.good < target:
            assert time.monotonic() < end, (self.good, self.errors[-3:], self.wrong)
            assert not self.wrong, self.wrong
            time.sleep(0.002)

    def stop(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()
        assert not self.wrong


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("server", PROXIES)
def test_a_reload_is_not_noticed(servers: Servers, server: str, colour: str) -> None:
    with servers.session(server, "unix", colour) as session:
        traffic = Traffic(session)
        traffic.start()
        try:
            traffic.until(50)
            before = set(traffic.seen)
            servers.proxy(server).reload()
            end = time.monotonic() + 30
            # New workers: none of the old connections is left.
            while not traffic.seen - before:
                traffic.until(20)
                assert time.monotonic() < end, "the server was not reloaded"
            traffic.until(200)
        finally:
            traffic.stop()
        assert traffic.errors == []


@pytest.mark.parametrize("server", UVICORN)
def test_a_killed_server_comes_back(servers: Servers, server: str) -> None:
    """Its connections are lost, and every call after it is back is good."""
    names = ("uvicorn-h11", "http.server") if server == "uvicorn-h11" else (server,)
    if server == "uvicorn-httptools":
        pytest.importorskip("httptools", reason="httptools is not installed")
    sessions = [servers.session(server, "unix", colour, max_retries=0) for colour in COLOURS]
    try:
        first = [session.request("GET", "/bytes?size=5").headers["x-pid"] for session in sessions]
        assert len(set(first)) == 1
        servers.restart(*names)
        for session in sessions:
            # The dead connection is seen before anything is sent: a POST is safe, too.
            said = session.request("POST", "/digest", body=b"abc").json()
            assert said["size"] == 3
            assert session.request("GET", "/bytes?size=5").headers["x-pid"] != first[0]
    finally:
        for session in sessions:
            session.close()


@pytest.mark.parametrize("colour", COLOURS)
def test_a_server_killed_in_the_middle_of_an_answer(servers: Servers, colour: str) -> None:
    name = "uvicorn-h11", "http.server"
    with servers.session("uvicorn-h11", "unix", colour, max_retries=0) as session:
        with (
            pytest.raises(ConnectionLostError) as caught,
            session.events("GET", "/endless", terminator=b"[DONE]") as stream,
        ):
            stream.next()
            servers.restart(*name)
            while True:
                stream.next()
        assert caught.value.sent
        assert session.request("GET", "/bytes?size=8").read() == noise(8)
