"""Everything the client can ask, against the embedded server, in every colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ostiary.devserver import running
from ostiary.governance import (
    GovernanceBlock,
    HestiaAuthenticationError,
    HestiaGatewayTimeoutError,
    NotFound,
    TraceResponse,
)

Connect = Callable[..., Any]
BLOCKED = "delete all production data"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with running() as one:
        yield one


@pytest.fixture(params=["unix", "tcp"])
def client(request: pytest.FixtureRequest, server: Any, connect: Connect) -> Any:
    url = server.governance_unix_url if request.param == "unix" else server.governance_url
    return connect(url, server.governance_token, strict=True)


def test_a_tour(client: Any) -> None:
    run = client.run("create a report", session_id="s-1", agent_id="a-1", mode_hint="fast")
    assert (run.decision, run.text) == ("ALLOW", "processed: create a report")
    events = list(client.stream("create a report"))
    assert [events[0].type, events[-2].type, events[-1].type] == ["start", "final", "done"]
    assert client.stream("create a report").collect().text == run.text
    for trace_id in (run.trace_id, events[0].trace_id):
        trace = client.call("governance.get_trace", trace_id)
        assert isinstance(trace, TraceResponse)
        assert (trace.trace_id, trace.decision) == (trace_id, "ALLOW")
    assert client.call("governance.trace", "no-such-trace") is None
    assert client.call("system.status").status == "OK"
    assert client.call("system.health").status == "ok"
    assert client.call("system.metrics").requests_total > 0
    assert client.call("system.config")
    reply = client.call("chat.run", "hi", "s-1")
    assert (reply.result, reply.session_id) == ("processed: hi", "s-1")
    result = client.call("agents.run", "a-1", "sort", {"depth": 2})
    assert (result.output, result.status) == ("processed: sort", "COMPLETED")
    assert 0 <= client.call("governance.status")["stability"] <= 1


def test_blocked(client: Any) -> None:
    for attempt in (
        lambda: client.run(BLOCKED),
        lambda: next(client.stream(BLOCKED)),
        lambda: client.call("chat.run", BLOCKED),
    ):
        with pytest.raises(GovernanceBlock) as caught:
            attempt()
        trace = client.call("governance.get_trace", caught.value.trace_id)
        assert trace.decision == "BLOCK"
        assert trace.violations
    explained = client.call("governance.explain", "RUN", {"input": BLOCKED})
    assert explained["decision"] == "BLOCK"


@pytest.mark.parametrize("key", ["k", "a/b", "..x", "a b?c#d", "ä", "100%", "%2F"])
def test_secrets_under_any_name(client: Any, key: str) -> None:
    client.call("secrets.set", key, "välue\n")
    assert client.call("secrets.get", key) == "välue\n"
    client.call("secrets.set", key, "another", provider="mail")
    assert client.call("secrets.get", key) == "another"
    client.call("secrets.delete", key)
    with pytest.raises(NotFound):
        client.call("secrets.get", key)


def test_the_server_s_own_time(server: Any, connect: Connect) -> None:
    client = connect(server.governance_unix_url, server.governance_token)
    long = "word " * 20_000
    with pytest.raises(HestiaGatewayTimeoutError):
        for _ in range(50):
            client.run(long, timeout_ms=1)


@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_the_key(server: Any, connect: Connect, key: str) -> None:
    client = connect(server.governance_unix_url, key)
    for attempt in (lambda: client.run("x"), lambda: next(client.stream("x"))):
        with pytest.raises(HestiaAuthenticationError) as caught:
            attempt()
        assert caught.value.status == 401


def test_a_thousand_runs_on_one_connection(client: Any) -> None:
    ids = {client.run("x").trace_id for _ in range(100)}
    assert len(ids) == 100
    assert client.raw.pool.open_connections == 1
