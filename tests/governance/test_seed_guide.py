"""The guide's examples against `ostiary dev --demo`, with the import line changed.

The names, the calls and the address are the guide's; where a port is taken on this machine,
another address stands in its place. Everything runs twice on one home.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ports import lent

PATIENCE = 60
PORT = 8000


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OSTIARY_", "SANCTUM_"))}
    scripts = Path(sys.executable).parent
    return kept | {
        "HOME": str(home),
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "NO_COLOR": "1",
    }


class Guide:
    """A reader of the guide, at a machine where its server runs."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.url = url

    def _placed(self, text: str) -> str:
        # The guide's own address where its server has its own port.
        return text.replace("http://localhost:8000", self.url)

    def python(self, program: str) -> str:
        return self._run([sys.executable, "-W", "error", "-c", self._placed(program)])

    def shell(self, command: str) -> str:
        return self._run(["bash", "-euo", "pipefail", "-c", self._placed(command)])

    def _run(self, command: list[str]) -> str:
        extra = {} if self.url.endswith(f":{PORT}") else {"OSTIARY_GOVERNANCE_URL": self.url}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment(self.home) | extra,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout


@contextmanager
def dev(home: Path) -> Generator[Guide, None, None]:
    with lent(PORT) as free, _dev(home, PORT if free else 0) as guide:
        yield guide


@contextmanager
def _dev(home: Path, port: int) -> Generator[Guide, None, None]:
    ports = ["--port", "0", "--governance-port", str(port), "--no-runtime", "--no-workflow"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ostiary", "dev", "--demo", "--json", *ports],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(home),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "`ostiary dev --demo` did not start"
        where = json.loads(line)["governance"]
        yield Guide(home, where["url"].replace("127.0.0.1", "localhost"))
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def user_home() -> Generator[Path, None, None]:
    # Short: the path of a socket below it has about 100 bytes.
    path = Path(tempfile.mkdtemp(prefix="og-", dir="/tmp")).resolve()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module", params=["first", "again"])
def guide(request: pytest.FixtureRequest, user_home: Path) -> Generator[Guide, None, None]:
    """A server on the same home, a second time after the first was stopped."""
    if request.param == "again" and not (user_home / ".sanctum").exists():
        # The first time fell to another process of the run.
        with dev(user_home) as first:
            first.python(NAMESPACES)
    with dev(user_home) as one:
        yield one


ASYNC = """
import asyncio
from ostiary.governance import AsyncClient

async def main():
    async with AsyncClient(base_url="http://localhost:8000") as client:
        # Single request
        result = await client.run_async("create a report")
        print(result.result)      # "processed: create a report"
        print(result.trace_id)    # "abc-123-def"
        print(result.mode)        # "ALLOW"

        # Streaming
        async for event in client.run_stream("create a report"):
            print(f"[{event.type}] {event.data}")

asyncio.run(main())
"""

SYNC = """
from ostiary.governance import Client

client = Client(base_url="http://localhost:8000")

# Single request
result = client.run("create a report")
print(result.result)      # "processed: create a report"
print(result.trace_id)    # "abc-123-def"

# Streaming
for event in client.run_stream("create a report"):
    print(f"[{event.type}] {event.data}")
"""

NAMESPACES = """
import asyncio, json
from ostiary.governance import AsyncClient

async def main():
    async with AsyncClient() as client:
        # System
        status = await client.system.status_async()
        config = await client.system.config_async()
        metrics = await client.system.metrics_async()

        # Chat
        reply = await client.chat.run_async("Hello!", session_id="abc")

        # Agents
        result = await client.agents.run_async("agent-1", "analyze data")

        # Secrets
        await client.secrets.set_async("my-key", "my-value")
        value = await client.secrets.get_async("my-key")
        await client.secrets.delete_async("my-key")

        # Governance
        explanation = await client.governance.explain_async("WRITE", {"path": "/tmp/test"})
        trace = await client.governance.trace_async("abc-123-def")
        print(json.dumps([
            status.status, status.version, status.uptime_seconds, config, metrics.metrics,
            reply.result, reply.session_id, reply.trace_id,
            result.result, result.agent_id, result.trace_id, value, explanation, trace,
        ]))

asyncio.run(main())
"""

EVENTS = ["start", "token", "token", "token", "token", "final", "done"]


def test_async(guide: Guide) -> None:
    result, trace_id, mode, *events = guide.python(ASYNC).splitlines()
    assert (result, mode) == ("processed: create a report", "ALLOW")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", trace_id)
    assert [line.partition("]")[0][1:] for line in events] == EVENTS
    assert events[0] == "[start] {}"


def test_sync(guide: Guide) -> None:
    result, _, *events = guide.python(SYNC).splitlines()
    assert result == "processed: create a report"
    assert [line.partition("]")[0][1:] for line in events] == EVENTS


def test_namespaces(guide: Guide) -> None:
    found: list[Any] = json.loads(guide.python(NAMESPACES))
    status, _, uptime, config, metrics, reply, session, reply_trace = found[:8]
    result, agent, agent_trace, value, explanation, trace = found[8:]
    assert status == "OK"
    assert uptime >= 0
    assert isinstance(config, dict)
    assert isinstance(metrics, dict)
    assert (reply, session) == ("processed: Hello!", "abc")
    assert (result, agent) == ("processed: analyze data", "agent-1")
    assert reply_trace != agent_trace
    assert value == "my-value"
    assert explanation["decision"] == "ALLOW"
    assert trace["trace_id"] == "abc-123-def"


def test_the_command_line(guide: Guide) -> None:
    out = guide.shell('ostiary governance run "create a report"')
    assert out.splitlines()[0] == "result: processed: create a report"
    assert "status: OK" in guide.shell("ostiary governance health").splitlines()
    trace = guide.shell("ostiary governance trace abc-123-def").splitlines()
    assert "trace_id: abc-123-def" in trace
    document = json.loads(guide.shell('ostiary governance run "hello" --json | cat'))
    assert document["result"] == "processed: hello"
    custom = guide.shell("ostiary governance --base-url http://localhost:8000 health")
    assert "status: OK" in custom.splitlines()


def test_the_guide_s_checks(guide: Guide) -> None:
    out = guide.python(
        "from ostiary.governance import AsyncClient, Client, StreamEvent; print('SDK Import OK')"
    )
    assert out == "SDK Import OK\n"
    assert guide.shell("python -m ostiary.governance.contract_guard").endswith(" 0 findings\n")
