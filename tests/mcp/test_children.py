"""The processes behind the gateway: whose they are, how many, and when they end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from ostiary.devserver.gateway.gate import Caller
from ostiary.devserver.gateway.mcp import McpServers
from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.mcp.child import Child
from ostiary.gateway.mcp.held import Held

from .conftest import TOOLS_SERVER

pytestmark = pytest.mark.usefixtures("no_leaked_descriptors")

COMMAND = (sys.executable, TOOLS_SERVER)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def caller(run_id: str) -> Caller:
    return Caller(
        subject=f"spiffe://x/{run_id}",
        run_id=run_id,
        org_id="o",
        txn="t",
        scope=frozenset(),
        allowed_models={},
        allowed_providers=[],
        allowed_tools={"tools": ["echo"]},
    )


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def child(command: tuple[str, ...] = COMMAND, clock: Any = None, **settings: Any) -> Child:
    settings = {"start_timeout": 30.0, "restart_delay": 4.0, **settings}
    return Child("tools", command, clock=clock or Clock(), **settings)


def test_a_child_that_cannot_start_waits_longer_each_time() -> None:
    clock = Clock()
    broken = child(("/nonexistent/program",), clock)

    async def work() -> list[tuple[int, str]]:
        seen: list[tuple[int, str]] = []
        for wait in (0.0, 0.0, 3.9, 0.2, 7.9, 0.2):
            clock.now += wait
            with pytest.raises(HttpRefusal) as caught:
                await broken.client()
            seen.append((caught.value.status, caught.value.code))
        return seen

    started, waiting = (502, "server_failed"), (503, "server_unavailable")
    assert run(work()) == [started, waiting, waiting, started, waiting, started]
    assert broken.starts == 3


def test_a_child_that_says_nothing_is_given_up() -> None:
    mute = child((*COMMAND, "--never-answer"), start_timeout=0.3)

    async def work() -> HttpRefusal:
        with pytest.raises(HttpRefusal) as caught:
            await mute.client()
        return caught.value

    assert run(work()).status == 504


def test_many_who_wait_start_one_process() -> None:
    one = child()

    async def work() -> None:
        clients = await asyncio.gather(*(one.client() for _ in range(10)))
        assert len(set(map(id, clients))) == 1
        await one.stop()

    run(work())
    assert one.starts == 1


def test_a_child_that_dies_unasked_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    one = child()

    async def work() -> None:
        client = await one.client()
        before = (await client.call_tool("count")).content[0].text  # type: ignore[union-attr]
        os.kill(int(before.split()[0]), 9)
        for _ in range(500):
            again = await one.client()
            if again is not client:
                break
            await asyncio.sleep(0.01)
        assert again is not client
        assert (await again.call_tool("echo", {"text": "back"})).content[0].text == "back"  # type: ignore[union-attr]
        await one.stop()

    run(work())
    assert one.starts == 2


def test_its_last_words_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    broken = child((*COMMAND, "--never-start"))

    async def work() -> None:
        with pytest.raises(HttpRefusal):
            await broken.client()

    run(work())
    assert "this server refuses to start" in caplog.text


def test_stopping_ends_the_process() -> None:
    async def work() -> int:
        one = child()
        client = await one.client()
        pid = int((await client.call_tool("count")).content[0].text.split()[0])  # type: ignore[union-attr]
        await one.stop()
        await one.stop()
        return pid

    pid = run(work())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_unused_processes_end_and_there_is_a_limit() -> None:
    clock = Clock()

    async def work() -> None:
        servers = McpServers({"tools": COMMAND}, max_children=2, idle_expiry=60, clock=clock)
        try:
            for name in ("a", "b"):
                await servers._child(caller(name), "tools").client()
            with pytest.raises(HttpRefusal) as caught:
                servers._child(caller("c"), "tools")
            assert caught.value.status == 503
            clock.now += 59
            await servers._child(caller("b"), "tools").client()
            clock.now += 2
            await servers.sweep()
            assert [key[2] for key in servers.children] == ["b"]
            await servers._child(caller("c"), "tools").client()
        finally:
            await servers.stop()
        assert not servers.children

    run(work())


def test_the_last_process_ends_without_another_request() -> None:
    async def work() -> None:
        servers = McpServers({"tools": COMMAND}, idle_expiry=0.05)
        await servers._child(caller("a"), "tools").client()
        while servers.children:
            await asyncio.sleep(0.02)
        await servers.stop()

    run(work())


# --- what holds them


def test_held_enters_once_and_leaves_in_the_same_task() -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def make(gone: asyncio.Event) -> Any:
        seen.append(asyncio.current_task())
        yield "entered"
        seen.append(asyncio.current_task())

    async def work() -> None:
        held: Held[str] = Held(make)
        assert await asyncio.gather(held.open(), held.open()) == ["entered"] * 2
        assert not held.ended
        await held.close()
        await held.close()
        assert held.ended

    run(work())
    assert len(seen) == 2
    assert seen[0] is seen[1]


def test_held_tells_everyone_why_it_could_not_be_entered() -> None:
    @asynccontextmanager
    async def make(gone: asyncio.Event) -> Any:
        raise BaseExceptionGroup("outer", [ExceptionGroup("inner", [OSError("why")])])
        yield

    async def work() -> None:
        held: Held[str] = Held(make)
        for _ in range(2):
            with pytest.raises(OSError, match="why"):
                await held.open()
        assert held.ended
        await held.close()

    run(work())


def test_held_may_be_closed_while_it_is_entered() -> None:
    @asynccontextmanager
    async def make(gone: asyncio.Event) -> Any:
        await asyncio.Event().wait()
        yield

    async def work() -> None:
        held: Held[str] = Held(make)
        waiting = asyncio.create_task(held.open())
        await asyncio.sleep(0)
        await held.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(work())


def test_held_leaves_when_what_it_holds_is_gone() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def make(gone: asyncio.Event) -> Any:
        yield gone
        left.append("left")

    async def work() -> None:
        held: Held[asyncio.Event] = Held(make)
        gone = await held.open()
        gone.set()
        assert held.ended
        await held.close()

    run(work())
    assert left == ["left"]
