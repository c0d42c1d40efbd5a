"""The wire contract: a row per endpoint, sent and read in every colour."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from ostiary.governance import (
    AgentResult,
    ChatResponse,
    HealthResponse,
    RunResponse,
    SystemMetrics,
    SystemStatus,
    TraceResponse,
)
from ostiary.governance import _routes as routes

from .conftest import RUN, Client, event, says, streams

Connect = Callable[..., Client]


class Row(NamedTuple):
    """One call, what it must send, what it is answered, what it must return."""

    number: int
    call: str
    arguments: tuple[Any, ...]
    sent: str
    body: Any
    answered: Any
    returned: Any
    before: tuple[tuple[Any, int], ...] = ()
    """What is answered to the requests that come before the one shown."""


STATUS = {
    "status": "OK",
    "ollama": False,
    "vllm": False,
    "dsgk": True,
    "storage": True,
    "version": "0.3",
    "uptime_seconds": 4.5,
}
METRICS = {
    "cpu_percent": 3.0,
    "memory_percent": 20.5,
    "active_sessions": 1,
    "requests_total": 9,
    "avg_latency_ms": 1.2,
}
TRACE = {
    "trace_id": "t-9",
    "decision": "THROTTLE",
    "reason": "quota",
    "risk_score": 0.4,
    "policy": "R-2",
    "violations": [{"rule": "R-2"}],
    "mode": "NORMAL",
    "budget": 0.5,
    "latency_ms": 1.5,
    "timestamp": "2031-02-03T04:05:06Z",
}
HEALTH = {"status": "ok", "version": "0.3", "uptime_seconds": 4.5, "api_version": "v1"}
GONE = ({"code": "NOT_FOUND", "message": "no"}, 404)

ROWS = [
    Row(
        1,
        "run",
        ("count the chairs", None, "a-3", "fast", 5000),
        "POST /api/v1/run",
        {
            "input": "count the chairs",
            "context": {"session_id": None, "agent_id": "a-3", "mode_hint": "fast"},
            "options": {"timeout_ms": 5000, "stream": False},
        },
        RUN,
        RunResponse(**RUN),  # type: ignore[arg-type]
    ),
    Row(
        3,
        "chat.run",
        ("hi", "s-1"),
        "POST /api/chat",
        {"message": "hi", "session_id": "s-1"},
        {
            "response": "hello",
            "session_id": "s-1",
            "processing_time": 0.02,
            "model": "tiny",
            "trace_id": "t-2",
        },
        ChatResponse(
            result="hello",
            response="hello",
            session_id="s-1",
            processing_time=0.02,
            model="tiny",
            trace_id="t-2",
        ),
    ),
    Row(
        4,
        "agents.run",
        ("a-3", "sort", {"depth": 2}),
        "POST /api/agents/run",
        {"agent_id": "a-3", "task": "sort", "config": {"depth": 2}},
        {
            "agent_id": "a-3",
            "status": "COMPLETED",
            "output": "sorted",
            "error": None,
            "trace_id": "t-3",
        },
        AgentResult(
            agent_id="a-3", status="COMPLETED", output="sorted", result="sorted", trace_id="t-3"
        ),
    ),
    Row(
        5,
        "system.status",
        (),
        "GET /api/system/status",
        None,
        STATUS,
        SystemStatus(**STATUS),  # type: ignore[arg-type]
    ),
    Row(6, "system.config", (), "GET /api/system/config", None, {"a": [1]}, {"a": [1]}),
    Row(
        7,
        "system.metrics",
        (),
        "GET /api/system/metrics",
        None,
        METRICS,
        SystemMetrics(metrics=METRICS, **METRICS),  # type: ignore[arg-type]
    ),
    Row(
        8,
        "secrets.get",
        ("mail/pass",),
        "GET /api/secrets/mail%2Fpass",
        None,
        {"value": "p4"},
        "p4",
    ),
    Row(
        9,
        "secrets.set",
        ("mail/pass", "p4"),
        "POST /api/secrets",
        {
            "credential_ref": "mail/pass",
            "secret": "p4",
            "provider": "custom",
            "allowed_tools": ["*"],
        },
        {"stored": True},
        None,
    ),
    Row(10, "secrets.delete", ("k?",), "DELETE /api/secrets/k%3F", None, None, None),
    Row(
        11,
        "governance.explain",
        ("WRITE", {"path": "/srv/x"}),
        "POST /api/governance/explain",
        {"command_type": "WRITE", "command_input": {"path": "/srv/x"}},
        {"decision": "THROTTLE"},
        {"decision": "THROTTLE"},
    ),
    Row(
        12,
        "governance.status",
        (),
        "GET /api/governance/stability",
        None,
        {"drift": 0.02, "stability": 0.97},
        {"drift": 0.02, "stability": 0.97},
    ),
    Row(
        13,
        "governance.trace",
        ("t-9",),
        "GET /api/governance/trace/t-9",
        None,
        TRACE,
        TRACE,
    ),
    Row(
        14,
        "system.health",
        (),
        "GET /api/v1/health",
        None,
        HEALTH,
        HealthResponse(**HEALTH),  # type: ignore[arg-type]
    ),
    Row(15, "governance.trace", ("t-9",), "GET /api/v1/trace/t-9", None, TRACE, TRACE, (GONE,)),
]

# Beside the seed's: what else is called on an endpoint that has a row above.
MORE = [
    Row(
        13,
        "governance.get_trace",
        ("t-9",),
        "GET /api/governance/trace/t-9",
        None,
        TRACE,
        TraceResponse(**TRACE),  # type: ignore[arg-type]
    ),
    Row(
        14,
        "system.status",
        (),
        "GET /api/v1/health",
        None,
        HEALTH,
        SystemStatus(status="ok", version="0.3", uptime_seconds=4.5),
        (GONE,),
    ),
    Row(
        11,
        "governance.explain",
        ("WRITE",),
        "POST /api/governance/explain",
        {"command_type": "WRITE", "command_input": {}},
        {},
        {},
    ),
    Row(
        3,
        "chat.run",
        ("hi",),
        "POST /api/chat",
        {"message": "hi", "session_id": None},
        {"result": "hello", "session_id": "s-2"},
        ChatResponse(result="hello", response="hello", session_id="s-2"),
    ),
]


@pytest.mark.parametrize("row", [*ROWS, *MORE], ids=lambda row: f"{row.number}-{row.call}")
def test_a_row(row: Row, connect: Connect, peers: Any) -> None:
    peer = peers(*(says(*before) for before in row.before), says(row.answered))
    assert connect(peer).call(row.call, *row.arguments) == row.returned
    asked = peer.asked[-1]
    assert f"{asked.method} {asked.target}" == row.sent
    assert len(peer.asked) == len(row.before) + 1
    if row.body is None:
        assert asked.body == b""
        assert asked.header("content-type") is None
    else:
        # Compact, and every optional value there.
        assert asked.body == json.dumps(row.body, separators=(",", ":")).encode()
        assert asked.header("content-type") == "application/json"


def test_the_stream(connect: Connect, peers: Any) -> None:
    peer = peers(streams(event("start"), event("final"), event("done")))
    with connect(peer).stream("count the chairs", "s-1", timeout_ms=5) as stream:
        assert [one.type for one in stream] == ["start", "final", "done"]
    (asked,) = peer.asked
    assert (asked.method, asked.target) == ("POST", "/api/v1/run/stream")
    assert json.loads(asked.body) == {
        "input": "count the chairs",
        "context": {"session_id": "s-1", "agent_id": None, "mode_hint": None},
        "options": {"timeout_ms": 5, "stream": True},
    }
    assert asked.header("accept") == "text/event-stream"


def test_run_sends_what_it_is_given_and_the_defaults_of_the_guide(
    connect: Connect, peers: Any
) -> None:
    peer = peers(RUN)
    client = connect(peer)
    client.run("")
    client.run("x", session_id="s", agent_id="a", mode_hint="deep", timeout_ms=1, stream=True)
    bodies = [json.loads(asked.body) for asked in peer.asked]
    assert bodies[0] == {
        "input": "",
        "context": {"session_id": None, "agent_id": None, "mode_hint": None},
        "options": {"timeout_ms": 30000, "stream": False},
    }
    assert bodies[1]["context"] == {"session_id": "s", "agent_id": "a", "mode_hint": "deep"}
    assert bodies[1]["options"] == {"timeout_ms": 1, "stream": True}


def test_what_every_request_says_of_itself(connect: Connect, peers: Any) -> None:
    from ostiary import __version__

    peer = peers(RUN)
    connect(peer).run("x")
    connect(peer, "k-77").run("x")
    without, with_key = peer.asked
    assert without.header("authorization") is None
    assert with_key.header("authorization") == "Bearer k-77"
    assert with_key.header("user-agent") == f"hestiaos-sdk/{__version__}"


def test_a_prefix_is_kept_and_slashes_at_the_end_go(connect: Connect, peers: Any) -> None:
    peer = peers(RUN, kind="tcp")
    client = connect(peer.url("/gate/v9///"))
    client.run("x")
    assert peer.asked[0].target == "/gate/v9/api/v1/run"
    assert client.raw.base_url == peer.url("/gate/v9")


def test_every_endpoint_has_a_row() -> None:
    assert {row.number for row in ROWS} | {2} == set(range(1, 16))
    table = {
        f"{route.method} {route.template}"
        for route in vars(routes).values()
        if type(route).__name__ == "Route"
    }
    sent = {re.sub(r"/(t-9|mail%2Fpass|k%3F)$", "/{}", row.sent) for row in ROWS}
    sent.add("POST /api/v1/run/stream")
    assert {re.sub(r"\{\w+\}", "{}", one) for one in table} == sent
