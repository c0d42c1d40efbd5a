"""MCP servers that behave badly as processes: how they are heard, and how they end."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.mcp import process
from ostiary.devserver.mcp.child import Child

from .minimal import SERVER

pytestmark = pytest.mark.usefixtures("no_leaked_descriptors")


def child(tmp_path: Path, program: str, **settings: Any) -> Child:
    file = tmp_path / "server.py"
    file.write_text(SERVER + program, "utf-8")
    command = (sys.executable, str(file))
    return Child("bad", command, start_timeout=30.0, restart_delay=0.0, **settings)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


async def called(one: Child, name: str = "t") -> str:
    result = await (await one.client()).call_tool(name)
    return result.content[0].text  # type: ignore[union-attr]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie waits for its parent, which may be nobody who cares.
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text("utf-8")


def wait_until_gone(pid: int) -> None:
    for _ in range(1000):
        if not is_alive(pid):
            return
        time.sleep(0.01)
    raise AssertionError(f"{pid} is still there")


def test_what_is_no_message_is_passed_over(tmp_path: Path) -> None:
    one = child(tmp_path, "print('Welcome!'); print('{\"a\": 1}'); print(); serve()")

    async def work() -> None:
        tools = await (await one.client()).list_tools()
        assert [tool.name for tool in tools.tools] == ["t"]
        await one.stop()

    run(work())


def test_it_knows_its_process(tmp_path: Path) -> None:
    one = child(tmp_path, "serve(lambda name: os.getpid())")
    assert one.pid is None

    async def work() -> None:
        assert int(await called(one)) == one.pid
        await one.stop()
        assert one.pid is None
        assert one.problem is None

    run(work())


def test_it_runs_where_and_with_what_it_is_told(tmp_path: Path) -> None:
    program = "serve(lambda name: os.getcwd() + os.environ['GIVEN'])"
    one = child(tmp_path, program, directory=str(tmp_path), environment={"GIVEN": "!"})

    async def work() -> None:
        assert await called(one) == f"{tmp_path.resolve()}!"
        await one.stop()

    run(work())


def test_a_line_without_end_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "_LINE_BYTES", 4096)
    one = child(tmp_path, "serve(lambda name: 'x' * 10_000)")

    async def work() -> None:
        client = await one.client()
        with pytest.raises(Exception, match="(?i)closed"):
            await client.call_tool("t")
        # The next one finds another process.
        first = one.starts
        await one.client()
        assert one.starts == first + 1
        await one.stop()

    run(work())
    assert "more than 4096 bytes" in caplog.text


def test_one_that_does_not_want_to_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.1)
    program = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
serve(lambda name: os.getpid())
while True:
    time.sleep(1)
"""
    one = child(tmp_path, program)

    async def work() -> int:
        pid = int(await called(one))
        await one.stop()
        return pid

    assert not is_alive(run(work()))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see zombies")
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
def test_what_it_started_ends_with_it(tmp_path: Path, killed: bool) -> None:
    # It holds the pipes, as the server behind npx does.
    program = """
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
serve(lambda name: helper.pid)
"""
    one = child(tmp_path, program)

    async def work() -> int:
        helper = int(await called(one))
        assert is_alive(helper)
        if killed:
            assert one.pid is not None
            os.kill(one.pid, 9)
            while one.running:
                await asyncio.sleep(0.005)
            await one.settled(30.0)
            assert one.problem is not None
            assert "SIGKILL" in one.problem
        await one.stop()
        return helper

    wait_until_gone(run(work()))


def test_one_that_shuts_its_output_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.1)
    program = """
def call(name):
    if name == "shut":
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return os.getpid()

serve(call)
"""
    one = child(tmp_path, program)

    async def work() -> None:
        before = await called(one)
        with pytest.raises(Exception, match="(?i)closed"):
            await called(one, "shut")
        assert await called(one) != before
        await one.stop()

    run(work())


def test_a_start_that_is_broken_off_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.1)
    one = child(tmp_path, "time.sleep(600)")

    async def work() -> None:
        starting = asyncio.create_task(one.client())
        while one.pid is None:
            await asyncio.sleep(0.005)
        pid = one.pid
        await one.stop()
        with pytest.raises(HttpRefusal) as caught:
            await starting
        assert (caught.value.status, caught.value.code) == (503, "server_unavailable")
        assert not is_alive(pid)
        # Whoever is cancelled himself is cancelled, and the process lives on for others.
        starting = asyncio.create_task(one.client())
        while one.pid is None:
            await asyncio.sleep(0.005)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert one.running
        await one.stop()

    run(work())
