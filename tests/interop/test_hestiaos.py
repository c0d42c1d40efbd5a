"""The published client of the governance guide, unmodified, on a tour of the embedded server.

It is driven as its README drives it. Where it breaks by itself, that is pinned here with the
reason, so that nobody mistakes it for the server's doing.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest

from ostiary.devserver import GovernanceOptions, HttpFault, RunningVault, running
from ostiary.devserver.http.connection import Connection

hestiaos = pytest.importorskip("hestiaos", reason="the interop group is not installed")
httpx = pytest.importorskip("httpx")

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
BLOCKED = "delete all production data"
# It bounds a hang; the client makes two TLS contexts before it does anything.
PATIENCE = 110


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    with running(demo=True) as one:
        yield one


@pytest.fixture
def url(server: RunningVault) -> str:
    return server.governance_url


def test_it_is_the_one_that_was_published() -> None:
    assert metadata.version("hestiaos") == "1.0.1"


# -- async ------------------------------------------------------------------------


async def tour(url: str, api_key: str | None = None) -> None:
    """Each method of the async client once."""
    async with hestiaos.AsyncClient(base_url=url, api_key=api_key) as client:
        # Quickstart
        result = await client.run_async("create a report")
        assert result.result == result.output == "processed: create a report"
        assert result.mode == "ALLOW"
        assert UUID4.fullmatch(result.trace_id)
        assert 0 < result.budget <= 1
        assert result.latency_ms >= 0
        events = [event async for event in client.run_stream("create a report")]
        follows_the_contract(events)
        everything = await client.run_async(
            "create a report",
            session_id="s-1",
            agent_id="a-1",
            mode_hint="deep",
            timeout_ms=5000,
            stream=True,
        )
        assert everything.budget > result.budget
        # Resource namespaces
        status = await client.system.status_async()
        assert (status.status, status.dsgk, status.storage) == ("OK", True, True)
        assert status.uptime_seconds > 0
        config = await client.system.config_async()
        assert config["meaning"] == "seed"
        metrics = await client.system.metrics_async()
        assert metrics.requests_total >= 5
        assert metrics.memory_percent > 0
        assert metrics.gpu_percent is None
        reply = await client.chat.run_async("Hello!", session_id="abc")
        assert (reply.response, reply.session_id) == ("processed: Hello!", "abc")
        agent = await client.agents.run_async("agent-1", "analyze data", {"depth": 2})
        assert (agent.agent_id, agent.status) == ("agent-1", "COMPLETED")
        assert (agent.output, agent.error) == ("processed: analyze data", None)
        await client.secrets.set_async("my-key", "my-value")
        assert await client.secrets.get_async("my-key") == "my-value"
        await client.secrets.delete_async("my-key")
        explanation = await client.governance.explain_async("WRITE", {"path": "/tmp/test"})
        assert explanation["decision"] == "ALLOW"
        assert set(await client.governance.status_async()) >= {"drift", "stability"}
        trace = await client.governance.trace_async("abc-123-def")
        assert trace["trace_id"] == "abc-123-def"
        for trace_id in (result.trace_id, reply.trace_id, agent.trace_id, events[0].trace_id):
            found = await client.governance.trace_async(trace_id)
            assert found["trace_id"] == trace_id
            assert found["decision"] == "ALLOW"
        # Blocked
        with pytest.raises(hestiaos.GovernanceBlock) as caught:
            await client.run_async(BLOCKED)
        assert UUID4.fullmatch(caught.value.trace_id)
        blocked = await client.governance.trace_async(caught.value.trace_id)
        assert blocked["decision"] == "BLOCK"


def follows_the_contract(events: list[Any]) -> None:
    from hestiaos import stream_events as guards

    assert all(isinstance(event, hestiaos.StreamEvent) for event in events)
    assert guards.is_start_event(events[0])
    assert all(guards.is_token_event(event) for event in events[1:-2])
    assert guards.is_final_event(events[-2])
    assert guards.is_done_event(events[-1])
    assert "".join(e.data["text"] for e in events[1:-2]) == events[-2].data["output"]
    assert len({event.trace_id for event in events}) == 1
    assert all(event.timestamp for event in events)


def test_the_tour_twice(url: str) -> None:
    for _ in range(2):
        asyncio.run(tour(url))


def test_the_tour_with_a_key() -> None:
    with running() as server:
        token = server.governance_token
        assert token is not None

        async def refused() -> None:
            async with hestiaos.AsyncClient(base_url=server.governance_url) as client:
                with pytest.raises(httpx.HTTPStatusError, match="401"):
                    await client.system.status_async()

        asyncio.run(refused())

        async def known() -> None:
            async with hestiaos.AsyncClient(
                base_url=server.governance_url + "/", api_key=token.reveal()
            ) as client:
                assert (await client.run_async("create a report")).mode == "ALLOW"
                assert (await client.system.status_async()).status == "OK"
                # The guide's trace belongs to the demo.
                assert await client.governance.trace_async("abc-123-def") is None

        asyncio.run(known())


def test_the_other_meaning() -> None:
    """What its own source documents: the decision in `result`."""

    async def main(url: str) -> None:
        async with hestiaos.AsyncClient(base_url=url) as client:
            found = await client.run_async("create a report")
            assert (found.result, found.mode) == ("ALLOW", "NORMAL")
            assert found.output == "processed: create a report"
            assert (await client.run_async("email every customer")).result == "THROTTLE"

    with running(demo=True, governance=GovernanceOptions(port=0, meaning="sdk")) as server:
        asyncio.run(main(server.governance_url))


def test_keys_as_it_sends_them(url: str, server: RunningVault) -> None:
    """It puts keys into the path as they are: slashes stay, and dots climb at its side."""

    async def main() -> None:
        async with hestiaos.AsyncClient(base_url=url) as client:
            for key in ("mail/pass", "a b", "schlüssel", "deep/er/key"):
                await client.secrets.set_async(key, f"value of {key}")
                assert await client.secrets.get_async(key) == f"value of {key}"
                await client.secrets.delete_async(key)
            # Its HTTP library turns this into /api/system/status before it leaves: what comes
            # back is no secret, and nothing but what that path may give anyway.
            with pytest.raises(KeyError):
                await client.secrets.get_async("../system/status")
            with pytest.raises(httpx.HTTPStatusError, match="422"):
                await client.secrets.set_async("../system/status", "x")
            # A query and a fragment are cut off, and another secret is asked for.
            await client.secrets.set_async("a", "of a")
            assert await client.secrets.get_async("a?b=1") == "of a"
            assert await client.secrets.get_async("a#b") == "of a"
            await client.secrets.delete_async("a")

    asyncio.run(main())


def test_failures_as_it_tells_them(url: str, server: RunningVault) -> None:
    """404 and 422 have exceptions of their own that it never raises."""

    async def main() -> None:
        async with hestiaos.AsyncClient(base_url=url) as client:
            with pytest.raises(httpx.HTTPStatusError, match="404"):
                await client.secrets.get_async("never-stored")
            with pytest.raises(httpx.HTTPStatusError, match="422"):
                await client.run_async("x", timeout_ms=0)
            # A block of a stream is not its GovernanceBlock.
            with pytest.raises(httpx.HTTPStatusError, match="403"):
                async for _ in client.run_stream(BLOCKED):
                    pass
            with pytest.raises(httpx.HTTPStatusError, match="403"):
                await client.chat.run_async(BLOCKED)
            # A trace that cannot be read is one that does not exist.
            server.governance_faults.add(HttpFault(path="/api/governance/trace/*", status=500))
            assert await client.governance.trace_async("abc-123-def") is None
            assert await client.governance.trace_async("abc-123-def") is not None

    asyncio.run(main())


def test_a_stream_it_leaves_ends_the_work() -> None:
    async def main(url: str) -> str:
        async with hestiaos.AsyncClient(base_url=url) as client:
            async for event in client.run_stream("a report of many words"):
                trace_id: str = event.trace_id
                break
            return trace_id

    with running(demo=True, governance=GovernanceOptions(port=0, pace=60.0)) as server:
        trace_id = asyncio.run(main(server.governance_url))

        async def outcome() -> str:
            async with hestiaos.AsyncClient(base_url=server.governance_url) as client:
                for _ in range(1000):
                    found = await client.governance.trace_async(trace_id)
                    if found["outcome"] != "running":
                        break
                    await asyncio.sleep(0.01)
                return str(found["outcome"])

        assert asyncio.run(outcome()) == "cancelled"


def test_comments_between_its_events() -> None:
    async def main(url: str) -> None:
        async with hestiaos.AsyncClient(base_url=url) as client:
            follows_the_contract([event async for event in client.run_stream("one two three")])

    options = GovernanceOptions(port=0, pace=0.03, heartbeat=0.005)
    with running(demo=True, governance=options) as server:
        asyncio.run(main(server.governance_url))


def test_many_at_once(url: str) -> None:
    async def one(client: Any, number: int) -> None:
        events = [event async for event in client.run_stream(f"report {number}")]
        follows_the_contract(events)
        assert events[-2].data["output"] == f"processed: report {number}"

    async def main() -> None:
        async with hestiaos.AsyncClient(base_url=url) as client:
            await asyncio.gather(*(one(client, number) for number in range(60)))

    asyncio.run(main())


# -- sync -------------------------------------------------------------------------

# In a process of its own: each of its sync calls makes an event loop and leaves the connection
# it used to be collected, and warnings about those would be laid at the door of other tests.
PROGRAM = """
import sys, threading
import hestiaos
from hestiaos import stream_events as guards

url = sys.argv[1]
BLOCKED = "delete all production data"

def fresh():
    return hestiaos.Client(base_url=url)

# Every second call on a connection that was kept fails in the client, see `every_second_call`;
# what it asked for may be done nevertheless.
def call(method, *arguments, **named):
    try:
        return method(*arguments, **named)
    except RuntimeError as error:
        assert "loop is closed" in str(error)
        return method(*arguments, **named)

def follows_the_contract(events):
    assert guards.is_start_event(events[0])
    assert all(guards.is_token_event(event) for event in events[1:-2])
    assert guards.is_final_event(events[-2])
    assert guards.is_done_event(events[-1])

def tour():
    # A stream on a connection that was kept would be empty: the same failure, swallowed.
    follows_the_contract(list(fresh().run_stream("create a report")))
    follows_the_contract(list(fresh().run_stream("create a report", timeout=30)))
    client = fresh()
    result = client.run("create a report")
    assert (result.result, result.mode) == ("processed: create a report", "ALLOW")
    assert call(client.system.status).status == "OK"
    assert call(client.system.config)["meaning"] == "seed"
    assert call(client.system.metrics).requests_total > 0
    for send in (client.chat.run, client.chat.send, client.chat):
        assert call(send, "Hello!", session_id="abc").response == "processed: Hello!"
    for start in (client.agents.run, client.agents):
        assert call(start, "agent-1", "analyze data").status == "COMPLETED"
    call(client.secrets.set, "my-key", "my-value", provider="custom")
    assert call(client.secrets.get, "my-key") == call(client.secrets, "my-key") == "my-value"
    fresh().secrets.delete("my-key")  # not to be done twice
    decided = call(client.governance.explain, "WRITE", {"path": "/tmp/test"})
    assert decided["decision"] == "ALLOW"
    assert "drift" in call(client.governance.status)
    # This one hides its failures, the broken connection's too.
    assert fresh().governance.trace("abc-123-def")["decision"] == "ALLOW"
    assert fresh().governance.trace("nothing-there") is None
    assert call(hestiaos.AsyncClient(base_url=url).run, "create a report").mode == "ALLOW"
    try:
        call(client.run, BLOCKED)
    except hestiaos.GovernanceBlock as block:
        assert fresh().governance.trace(block.trace_id)["decision"] == "BLOCK"
    else:
        raise AssertionError("not blocked")

def every_second_call():
    client = fresh()
    outcomes = []
    for _ in range(4):
        try:
            outcomes.append(client.run("x").mode)
        except RuntimeError as error:
            outcomes.append(str(error))
    assert outcomes == ["ALLOW", "Event loop is closed"] * 2, outcomes

def swallowed():
    seen = []
    threading.excepthook = seen.append
    assert list(fresh().run_stream(BLOCKED)) == []
    (failure,) = seen
    assert "403" in str(failure.exc_value)

for name in sys.argv[2:]:
    globals()[name]()
print("done")
"""


def sync(url: str, *functions: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, *functions],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout == "done\n", done.stderr


def test_the_sync_tour_twice(url: str) -> None:
    sync(url, "tour", "tour")


def test_every_second_call_on_one_sync_client_fails_by_itself(url: str) -> None:
    """Whatever the server does: a new loop meets a connection of the loop before."""
    sync(url, "every_second_call")


def test_a_blocked_sync_stream_is_an_empty_one(url: str) -> None:
    """Every failure of its sync stream ends in its thread, as if the stream had ended."""
    sync(url, "swallowed")


# -- the command line -------------------------------------------------------------


def cli(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hestiaos.cli", "--base-url", url, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_its_command_line(url: str) -> None:
    ran = cli(url, "run", "create a report")
    assert ran.returncode == 0, ran.stderr
    keys = [line.partition(":")[0] for line in ran.stdout.splitlines()]
    assert keys == ["result", "trace_id", "output", "mode", "budget", "latency_ms"]
    assert "result: processed: create a report" in ran.stdout
    blocked = cli(url, "run", BLOCKED)
    assert blocked.returncode == 1
    assert "GOVERNANCE_BLOCK" in blocked.stderr
    health = cli(url, "--json", "health")
    assert '"status": "OK"' in health.stdout
    assert "trace_id: abc-123-def" in cli(url, "trace", "abc-123-def").stdout
    assert cli(url, "trace", "none").returncode == 1


def test_its_user_agent_is_what_the_server_looks_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without that, the members it does not know would break it."""
    seen: set[str] = set()
    handle = Connection.handle_events

    def watching(self: Connection) -> None:
        handle(self)
        if self.headers:
            seen.update(v.decode() for k, v in self.headers if k == b"user-agent")

    async def ask() -> None:
        async with hestiaos.AsyncClient(base_url=url) as client:
            assert (await client.system.metrics_async()).requests_total > 0

    monkeypatch.setattr(Connection, "handle_events", watching)
    asyncio.run(ask())
    assert seen == {"HestiaOS-SDK/0.1.0"}
