"""Leases and answers through storms: cancels, threads, forks, the end of the interpreter."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ostiary.vault import AsyncVaultClient, VaultClient, VaultDeadlineError

from .scripted import Handler, ScriptedVault

Script = Callable[[Handler], ScriptedVault]
Run = Callable[..., Any]


class Granting:
    """Grants every path its own name as value, and counts leases as a vault would."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.granted = 0
        self.held: dict[str, int] = {}
        """lease id -> number of the connection it hangs on"""

    def __call__(self, method: str, params: dict[str, Any], number: int) -> Any:
        with self.lock:
            if method == "retrieve":
                self.granted += 1
                lease_id = f"L{self.granted}"
                self.held[lease_id] = number
                return {"lease_id": lease_id, "value": params["path"].encode().hex(), "ttl": 300}
            if method == "release_lease":
                self.held.pop(params["lease_id"], None)
            return {}

    def end(self, number: int) -> None:
        """End what hangs on a connection that is gone, as a vault does."""
        with self.lock:
            self.held = {lease: on for lease, on in self.held.items() if on != number}

    def all_given_back(self) -> bool:
        """Wait for the releases under way, and say whether nothing is held."""
        for _ in range(200):
            with self.lock:
                if not self.held:
                    return True
            time.sleep(0.02)
        return False


def clients(vault: ScriptedVault) -> dict[str, Any]:
    return {"socket_path": vault.path, "key_path": vault.key_path}


def test_2400_calls_cancelled_at_random_then_1000_good_ones(scripted: Script, run: Run) -> None:
    book = Granting()
    vault = scripted(book)
    rng = random.Random(20)

    async def main() -> tuple[int, int, int]:
        async with AsyncVaultClient("demo", **clients(vault)) as client:
            ended = cancelled = wrong = 0
            for round_ in range(24):
                tasks = [
                    asyncio.create_task(client.retrieve(f"storm/{round_}/{i}")) for i in range(100)
                ]
                for task in rng.sample(tasks, 100):
                    if rng.random() < 0.2:
                        await asyncio.sleep(0)
                    task.cancel()
                for i, result in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                    if isinstance(result, asyncio.CancelledError):
                        cancelled += 1
                    else:
                        ended += 1
                        wrong += result != f"storm/{round_}/{i}"
            for start in range(0, 1000, 50):
                names = [f"good/{start + i}" for i in range(50)]
                values = await asyncio.gather(*map(client.retrieve, names))
                wrong += sum(a != b for a, b in zip(names, values, strict=True))
            return ended, cancelled, wrong

    ended, cancelled, wrong = run(main())
    assert ended + cancelled == 2400
    assert cancelled > 240  # how many depends on how soon replies come
    assert wrong == 0
    assert book.all_given_back()
    assert vault.connections == 1


def test_cancel_after_any_number_of_loop_turns(scripted: Script, run: Run) -> None:
    book = Granting()
    vault = scripted(book)
    vault.on_end = book.end

    async def work(client: AsyncVaultClient) -> None:
        await client.connect()
        async with client.lease("a") as lease:
            assert lease.value.reveal() == "a"
            assert await client.use("b", "sign") == {}
            assert await client.retrieve_many(["c", "d"]) == {"c": "c", "d": "d"}
        await client.close()

    async def main() -> int:
        turns = 0
        while True:
            client = AsyncVaultClient("demo", **clients(vault))
            task = asyncio.create_task(work(client))
            for _ in range(turns):
                await asyncio.sleep(0)
                if turns > 40:  # the vault answers on other threads: give them time as well
                    await asyncio.sleep(0.0005)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            else:
                return turns
            # Whatever was interrupted, the same client serves the next caller rightly.
            async with client:
                assert await client.retrieve(f"after/{turns}") == f"after/{turns}"
            turns += 1

    assert run(main()) > 5
    assert book.all_given_back()


def test_threads_share_one_blocking_client(scripted: Script) -> None:
    book = Granting()
    vault = scripted(book)
    wrong: list[str] = []
    with VaultClient("demo", max_connections=4, **clients(vault)) as client:

        def work(name: str) -> None:
            for i in range(50):
                path = f"{name}/{i}"
                if client.retrieve(path) != path:
                    wrong.append(path)

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert book.granted == 800
    assert book.all_given_back()
    assert vault.connections <= 4


def test_four_forked_children_make_50_calls_each_and_the_parent_goes_on(scripted: Script) -> None:
    book = Granting()
    vault = scripted(book)
    with VaultClient("demo", **clients(vault)) as client:
        client.retrieve("parent/0")
        children: list[int] = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    names = [f"child/{child}/{i}" for i in range(50)]
                    status = int([client.retrieve(name) for name in names] != names)
                    client.close()
                finally:
                    os._exit(status)
            children.append(pid)
        values = [client.retrieve(f"parent/{i}") for i in range(50)]
        assert values == [f"parent/{i}" for i in range(50)]
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0, 0]
        # The children gave back their own 200 leases; the parent's are still held.
        assert len(book.held) == 51
    assert book.granted == 251
    assert book.all_given_back()


def test_an_async_client_serves_a_forked_child_on_a_loop_of_its_own(scripted: Script) -> None:
    book = Granting()
    vault = scripted(book)

    async def child(client: AsyncVaultClient) -> bool:
        good = await client.retrieve("child") == "child"
        await client.close()
        return good

    async def parent() -> int:
        async with AsyncVaultClient("demo", **clients(vault)) as client:
            assert await client.retrieve("parent") == "parent"
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    asyncio._set_running_loop(None)
                    with asyncio.Runner() as runner:
                        status = 0 if runner.run(child(client)) else 1
                finally:
                    os._exit(status)
            while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0):
                assert await client.retrieve("beside") == "beside"
            assert await client.retrieve("after") == "after"
            return done[1]

    assert asyncio.run(parent()) == 0
    assert book.all_given_back()


EXITS = {
    "sync": """
        client = VaultClient("demo", socket_path=sys.argv[1], key_path=sys.argv[2]).connect()
        for i in range(3):
            client.retrieve(f"k{i}")
    """,
    "raised": """
        client = VaultClient("demo", socket_path=sys.argv[1], key_path=sys.argv[2]).connect()
        client.retrieve("k")
        raise SystemExit(3)
    """,
    "async": """
        async def main():
            client = await AsyncVaultClient(
                "demo", socket_path=sys.argv[1], key_path=sys.argv[2]
            ).connect()
            await client.retrieve("k")
            return client
        client = asyncio.run(main())
    """,
    "thread": """
        client = VaultClient("demo", socket_path=sys.argv[1], key_path=sys.argv[2]).connect()
        client.retrieve("k")
        threading.Thread(target=client.use, args=("slow", "sign"), daemon=True).start()
        time.sleep(0.3)
    """,
}


@pytest.mark.parametrize("how", EXITS)
def test_leases_go_back_when_the_interpreter_ends(scripted: Script, how: str) -> None:
    book = Granting()
    released: list[str] = []

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if params.get("path") == "slow":
            time.sleep(20)
        if method == "release_lease":
            released.append(params["lease_id"])
        return book(method, params, number)

    vault = scripted(handler)
    source = (
        "import asyncio, sys, threading, time\n"
        "from ostiary.vault import AsyncVaultClient, VaultClient\n" + textwrap.dedent(EXITS[how])
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", source, os.fspath(vault.path), vault.key_path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == (3 if how == "raised" else 0), done.stderr
    if how == "thread":
        # Its one connection is busy: it is dropped, and the vault ends what hung on it.
        return
    assert book.all_given_back()
    assert len(released) == book.granted


def test_an_interrupted_blocking_call_does_not_poison_the_next(scripted: Script) -> None:
    book = Granting()

    def handler(method: str, params: dict[str, Any], number: int) -> Any:
        if params.get("path") == "slow":
            time.sleep(0.5)
        return book(method, params, number)

    vault = scripted(handler)

    class Stop(BaseException):
        pass

    def stop(signum: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with VaultClient("demo", **clients(vault)) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Stop):
                client.retrieve("slow")
            assert client.retrieve("next") == "next"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_dripping_vault_cannot_extend_the_deadline(scripted: Script, run: Run) -> None:
    """One byte at a time, each well within any idle limit: the whole call still has one end."""
    vault = scripted(Granting())
    drip = threading.Event()

    def serve(sock: Any, number: int) -> None:
        try:
            sock.recv(4096)
            sock.sendall(b"\x00\x00\x10\x00")
            while not drip.wait(0.05):
                sock.sendall(b" ")
        except OSError:
            pass
        finally:
            sock.close()

    vault._serve = serve  # type: ignore[method-assign]

    async def main() -> None:
        with pytest.raises(VaultDeadlineError):
            await AsyncVaultClient("demo", timeout=1.0, **clients(vault)).connect()

    begun = time.monotonic()
    try:
        run(main())
        with pytest.raises(VaultDeadlineError):
            VaultClient("demo", timeout=1.0, **clients(vault)).connect()
    finally:
        drip.set()
    # Not a measurement: without a deadline this would take 400 seconds.
    assert time.monotonic() - begun < 60
