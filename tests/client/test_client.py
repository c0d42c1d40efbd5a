"""One object for all domains: lazy, closed once, pickled, forked, checked; in both colours."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ostiary
from ostiary.client import AsyncOstiary, Health, Ostiary, OstiaryConfig
from ostiary.client.sections import DOMAINS
from ostiary.devserver.inprocess import RunningVault
from ostiary.errors import ClientStateError, ConnectError, OstiaryError
from tests.client.conftest import Client

pytestmark = pytest.mark.usefixtures("no_leaked_descriptors")

Make = Callable[..., Client]


def test_the_package_gives_it_when_it_is_asked_for() -> None:
    assert ostiary.Ostiary is Ostiary
    assert ostiary.AsyncOstiary is AsyncOstiary
    assert ostiary.OstiaryConfig is OstiaryConfig
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        ostiary.nothing_of_ours  # noqa: B018
    program = (
        "import sys, ostiary\n"
        "client = ostiary.Ostiary(governance={})\n"
        "rooms = {n.split('.')[1] for n in sys.modules if n.startswith('ostiary.')}\n"
        "print(sorted(rooms & {'vault', 'gateway', 'runtime', 'workflow', 'governance'}))\n"
        "client.governance\n"
        "print('ostiary.governance' in sys.modules, 'asyncio' in sys.modules)\n"
        "client.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["[]", "True False"]


def test_all_five_domains_through_one(
    make: Make, everything: dict[str, Any], plane: RunningVault
) -> None:
    plane.put("notes/one", "written here")
    client = make(**everything)
    assert client.call("vault.retrieve", "notes/one") == "written here"
    assert client.call("gateway.chat", "well?").text == "well?"
    assert client.call("runtime.get_status").healthy is True
    assert client.call("workflow.health").status == "ok"
    assert client.health().status == "ok"


def test_a_client_is_made_once_and_connects_with_its_first_call(
    make: Make, everything: dict[str, Any]
) -> None:
    client = make(**everything)
    raw = client.raw
    assert raw._clients == {}
    for domain in DOMAINS:
        assert getattr(raw, domain) is getattr(raw, domain)
    assert set(raw._clients) == set(DOMAINS)
    assert [raw.runtime.pool.open_connections, raw.workflow.pool.open_connections] == [0, 0]
    client.call("runtime.get_status")
    assert raw.runtime.pool.open_connections == 1
    assert raw.workflow.pool.open_connections == 0


def test_threads_that_come_together_get_one_client(everything: dict[str, Any], bare: Path) -> None:
    with Ostiary(**everything) as client:
        gate = threading.Barrier(8)
        found: list[Any] = []

        def ask() -> None:
            gate.wait()
            found.append(client.workflow)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(map(id, found))) == 1


# --- the end


def test_closing_closes_what_was_made_the_last_first(
    make: Make, everything: dict[str, Any], colour: str
) -> None:
    client = make(**everything)
    raw, order = client.raw, []
    for domain in ("runtime", "vault", "workflow"):
        one = getattr(raw, domain)
        close = getattr(one, "aclose", one.close)

        def noted(domain: str = domain, close: Any = close) -> Any:
            order.append(domain)
            return close()

        # The object took the method when it made the client.
        exits = raw._exits._exit_callbacks
        exits.pop()
        (raw._exits.callback if colour == "sync" else raw._exits.push_async_callback)(noted)
    client.call("runtime.get_status")
    client.call("vault.list")
    client.close()
    client.close()
    assert order == ["workflow", "vault", "runtime"]
    assert raw.closed
    assert raw.runtime.pool.closed
    assert not raw.vault._transport.is_open
    with pytest.raises(ClientStateError, match="is closed"):
        _ = raw.gateway
    with pytest.raises(ClientStateError, match="is closed"):
        client.call("check")
    with pytest.raises(ClientStateError):
        client.call("runtime.get_status")
    with pytest.raises(ClientStateError, match="is closed"):
        client.wait(raw.__enter__() if colour == "sync" else raw.__aenter__())
    # The vault's alone is opened by hand too, wherever it comes from: it is the caller's then.
    with pytest.raises(ClientStateError, match=r"call connect\(\) first"):
        client.call("vault.list")
    client.call("vault.connect")
    assert client.call("vault.list")
    client.call("vault.close")


def test_one_that_cannot_be_closed_keeps_none_open(
    make: Make, everything: dict[str, Any], monkeypatch: pytest.MonkeyPatch, colour: str
) -> None:
    client = make(**everything)
    raw = client.raw
    raw.runtime, raw.workflow  # noqa: B018
    failure = ConnectError("it is stuck")

    def stuck() -> Any:
        if colour == "sync":
            raise failure

        async def main() -> None:
            raise failure

        return main()

    (raw._exits.callback if colour == "sync" else raw._exits.push_async_callback)(stuck)
    with pytest.raises(ConnectError) as caught:
        client.close()
    assert caught.value is failure
    assert raw.runtime.pool.closed
    assert raw.workflow.pool.closed


def test_a_with_block_closes(everything: dict[str, Any], bare: Path) -> None:
    with Ostiary(**everything) as client:
        client.runtime.get_status()
        kept = client.runtime
    assert kept.pool.closed

    async def main() -> Any:
        async with AsyncOstiary(**everything) as client:
            await client.runtime.get_status()
            return client.runtime

    assert asyncio.run(main()).pool.closed


# --- elsewhere


def status_of(client: Ostiary) -> bool:
    with client:
        return client.runtime.get_status().healthy is True


def test_it_travels_as_its_configuration(make: Make, everything: dict[str, Any]) -> None:
    client = make(**everything, trace_id="ab" * 16)
    client.call("runtime.get_status")
    arrived = make(of=pickle.loads(pickle.dumps(client.raw)))
    assert type(arrived.raw) is type(client.raw)
    assert arrived.raw is not client.raw
    assert arrived.raw.config == client.raw.config
    assert arrived.raw.trace_id == client.raw.trace_id
    assert arrived.raw._trace.traceparent == client.raw._trace.traceparent
    assert arrived.raw._clients == {}
    assert arrived.call("runtime.get_status").healthy is True
    assert arrived.call("vault.list")


def test_a_spawned_process_makes_clients_of_its_own(everything: dict[str, Any], bare: Path) -> None:
    with (
        Ostiary(**everything) as client,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        client.runtime.get_status()
        assert pool.submit(status_of, client).result(60) is True
        assert client.runtime.get_status().healthy is True


def test_a_forked_child_goes_on_with_it(make: Make, everything: dict[str, Any]) -> None:
    client = make(**everything)
    client.call("runtime.get_status")
    client.call("vault.list")
    held = client.raw._lock
    held.acquire()  # as a thread of ours might at that moment
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # a child that hangs is not left behind
        status = 1
        os.close(reading)
        try:
            if type(client.raw) is Ostiary:
                client.raw.runtime.get_status()
                client.raw.vault.list()
                client.raw.workflow.health()
            else:

                async def main() -> None:
                    await client.raw.runtime.get_status()
                    await client.raw.vault.list()
                    await client.raw.workflow.health()

                asyncio.run(main())
            status = 0
        finally:
            os.write(writing, bytes([status]))
            os._exit(status)
    held.release()
    os.close(writing)
    said = os.read(reading, 1)
    os.close(reading)
    assert said == b"\0"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.call("runtime.get_status").healthy is True
    assert client.call("vault.list")


# --- how they are


def test_check_asks_each_that_is_configured(make: Make, everything: dict[str, Any]) -> None:
    client = make(**everything)
    answers: dict[str, Health] = client.call("check")
    assert list(answers) == list(DOMAINS)
    assert all(one.ok and one.seconds > 0 for one in answers.values())
    assert answers["vault"].said == "agent bot, leases held: 0"
    assert answers["runtime"].said == "healthy"


def test_check_gives_each_failure_in_its_own_answer(
    make: Make, everything: dict[str, Any], bare: Path
) -> None:
    broken = everything | {
        "runtime": {"base_url": f"unix://{bare}/nobody.sock", "max_retries": 0},
        "governance": {"base_url": "ftp://nowhere"},
        "vault": everything["vault"] | {"key_path": bare / "none.key"},
    }
    del broken["workflow"]
    answers: dict[str, Health] = make(**broken).call("check", timeout=2)
    assert {name: one.ok for name, one in answers.items()} == {
        "vault": False,
        "gateway": True,
        "runtime": False,
        "governance": False,
    }
    assert isinstance(answers["runtime"].error, ConnectError)
    assert "key file" in str(answers["vault"].error)
    assert "http://" in str(answers["governance"].error)
    assert all(isinstance(o.error, OstiaryError | None) for o in answers.values())
    gateway = everything["gateway"] | {"gateway": str(bare / "none.sock")}
    answers = make(gateway=gateway).call("check", timeout=2)
    assert "does not answer" in str(answers["gateway"].error)


def test_it_says_what_it_is(make: Make, everything: dict[str, Any]) -> None:
    client = make(**everything)
    name = type(client.raw).__name__
    assert repr(client.raw) == f"<{name} nothing open>"
    client.raw.workflow  # noqa: B018
    assert repr(client.raw) == f"<{name} workflow open>"
    client.close()
    assert repr(client.raw) == f"<{name} closed>"
    kind: Any = type(client.raw)
    assert "not configured" in repr(kind.__new__(kind))
