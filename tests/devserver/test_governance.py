"""The governance API endpoint by endpoint: shapes, meanings, validation, traces, secrets."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ostiary.devserver import GovernanceOptions, RunningVault, running
from ostiary.errors import InvalidArgumentError
from ostiary.secret import Secret
from tests.devserver.web import Reply, Web

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ORIGINAL = {"User-Agent": "HestiaOS-SDK/0.1.0"}
CONTRACT = {"User-Agent": "hestiaos-sdk/1.0.1"}
RUN_FIELDS = ["result", "trace_id", "output", "mode", "budget", "latency_ms"]
TRACE_FIELDS = {
    *("trace_id", "decision", "reason", "policy", "mode", "risk_score", "budget", "violations"),
    *("latency_ms", "timestamp", "command", "outcome"),
}
BLOCKED = "delete all production data"
THROTTLED = "email every customer"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    with running(demo=True, tcp=False) as one:
        yield one


@pytest.fixture
def web(server: RunningVault) -> Iterator[Web]:
    with Web(server.governance_socket) as one:
        yield one


def run(web: Web, text: str = "create a report", **more: Any) -> Any:
    reply = web.post("/api/v1/run", {"input": text, **more})
    assert reply.status == 200, reply
    return reply.document


def invalid(reply: Reply, field: str | None) -> str:
    assert reply.status == 422, reply
    body = reply.document
    assert body["code"] == "INVALID_INPUT"
    assert body["error"] == "invalid"
    assert body["trace_id"] is None
    assert body["details"] == (None if field is None else {"field": field})
    message: str = body["message"]
    return message


# -- run --------------------------------------------------------------------------


def test_the_guides_quickstart(web: Web) -> None:
    found = run(web)
    assert list(found) == RUN_FIELDS
    assert found["result"] == found["output"] == "processed: create a report"
    assert found["mode"] == "ALLOW"
    assert UUID4.fullmatch(found["trace_id"])
    assert 0 < found["budget"] <= 1
    assert found["latency_ms"] >= 0


def test_the_published_clients_meaning() -> None:
    with (
        running(
            demo=True, tcp=False, governance=GovernanceOptions(port=None, meaning="sdk")
        ) as server,
        Web(server.governance_socket) as web,
    ):
        found = run(web)
        assert found["result"] == "ALLOW"
        assert found["output"] == "processed: create a report"
        assert found["mode"] == "NORMAL"
        assert run(web, THROTTLED)["result"] == "THROTTLE"
        assert web.get("/api/system/config").document["meaning"] == "sdk"
        web.send("POST", "/api/v1/run/stream", {"input": "x"})
        web.head()
        (final,) = [event["data"] for event in web.events() if event["type"] == "final"]
        assert (final["result"], final["output"], final["mode"]) == (
            "ALLOW",
            "processed: x",
            "NORMAL",
        )


def test_repeating_a_run_gives_the_same_answer(web: Web) -> None:
    first, second = run(web), run(web)
    for name in ("result", "output", "mode", "budget"):
        assert first[name] == second[name]
    assert first["trace_id"] != second["trace_id"]


@pytest.mark.parametrize(
    "body",
    [
        {"input": "x"},
        {"input": "x", "context": None, "options": None},
        {"input": "x", "context": {}, "options": {}},
        {
            "input": "x",
            "context": {"session_id": None, "agent_id": None, "mode_hint": None},
            "options": {"timeout_ms": None, "stream": None},
        },
        {
            "input": "x",
            "context": {"session_id": "s", "agent_id": "a", "mode_hint": "deep", "more": 1},
            "options": {"timeout_ms": 1000, "stream": True, "more": [1]},
            "more": {"a": None},
        },
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/run", "/api/v1/run/stream"])
def test_bodies_that_are_fine(web: Web, path: str, body: Any) -> None:
    assert web.post(path, body).status == 200


@pytest.mark.parametrize("text", ["", " ", "\n", "ünïcode 😀", "\x00", '"', "x" * 1_000_000])
def test_every_text_is_carried_out(web: Web, text: str) -> None:
    assert run(web, text)["output"] == f"processed: {text}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "input"),
        (b'{"input": null}', "input"),
        (b'{"input": 5}', "input"),
        (b'{"input": ["x"]}', "input"),
        (b'{"input": "x", "context": []}', "context"),
        (b'{"input": "x", "context": {"session_id": 5}}', "context.session_id"),
        (b'{"input": "x", "context": {"mode_hint": {}}}', "context.mode_hint"),
        (b'{"input": "x", "options": "no"}', "options"),
        (b'{"input": "x", "options": {"timeout_ms": "5"}}', "options.timeout_ms"),
        (b'{"input": "x", "options": {"timeout_ms": 1.5}}', "options.timeout_ms"),
        (b'{"input": "x", "options": {"timeout_ms": true}}', "options.timeout_ms"),
        (b'{"input": "x", "options": {"timeout_ms": 0}}', "options.timeout_ms"),
        (b'{"input": "x", "options": {"timeout_ms": -1}}', "options.timeout_ms"),
        (b'{"input": "x", "options": {"timeout_ms": 3600001}}', "options.timeout_ms"),
        (b'{"input": "x", "options": {"timeout_ms": 1e400}}', "options.timeout_ms"),
        (b'{"input": "x", "options": {"stream": 1}}', "options.stream"),
        (b'{"input": "x", "context": {"agent_id": "' + b"a" * 513 + b'"}}', "agent_id"),
        (b"", None),
        (b"null", None),
        (b"[]", None),
        (b'"input"', None),
        (b'{"input": "x"', None),
        (b'{"input": "x"} {}', None),
        (b'{"input": "\\ud800"}', None),
        (b'{"input": "\xff"}', None),
        (b'{"input": NaN}', None),
        (b'{"input": "x", "context": {"more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", None),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/run", "/api/v1/run/stream"])
def test_bodies_that_are_refused(web: Web, path: str, body: bytes, field: str | None) -> None:
    reply = web.post(path, body=body, headers={"Content-Type": "application/json"})
    message = invalid(reply, field)
    assert message
    assert len(reply.body) < 1000
    assert run(web)["mode"] == "ALLOW"


def test_a_refusal_names_no_value(web: Web) -> None:
    reply = web.post("/api/secrets", {"credential_ref": "k", "secret": {"value": "hush-hush"}})
    invalid(reply, "secret")
    assert b"hush" not in reply.body


@pytest.mark.parametrize("path", ["/api/v1/run", "/api/v1/run/stream"])
def test_a_block_is_an_answer_before_any_stream(web: Web, path: str) -> None:
    reply = web.post(path, {"input": BLOCKED})
    assert reply.status == 403
    body = reply.document
    assert body["error"] == "blocked"
    assert body["code"] == "GOVERNANCE_BLOCK"
    assert UUID4.fullmatch(body["trace_id"])
    assert body["details"]["rule"] == "R-1"
    assert body["details"]["risk_score"] > 0.9
    assert {v["rule"] for v in body["details"]["violations"]} == {"R-1", "R-6"}
    trace = web.get(f"/api/governance/trace/{body['trace_id']}").document
    assert trace["decision"] == "BLOCK"
    assert trace["outcome"] == "blocked"
    assert trace["budget"] == 0.0


def test_a_throttled_run_costs_and_says_so(web: Web) -> None:
    allowed, throttled = run(web), run(web, THROTTLED)
    assert throttled["mode"] == "THROTTLE"
    assert throttled["output"] == f"processed: {THROTTLED}"
    assert 0 < throttled["budget"] < allowed["budget"]


def test_throttled_runs_of_one_agent_wait_for_one_another() -> None:
    """An hour apart, so that none but the first of an agent can begin in time."""
    hourly = GovernanceOptions(port=None, throttled_every=3600.0)
    with (
        running(demo=True, tcp=False, governance=hourly) as server,
        Web(server.governance_socket) as web,
    ):

        def throttled(**context: str) -> int:
            options = {"timeout_ms": 20}
            body = {"input": THROTTLED, "context": context, "options": options}
            return web.post("/api/v1/run", body).status

        assert [throttled(agent_id="a-1") for _ in range(3)] == [200, 504, 504]
        assert throttled(agent_id="a-1", session_id="s-2") == 504
        assert throttled(agent_id="a-2") == 200
        assert [throttled(session_id="s-1") for _ in range(2)] == [200, 504]
        assert [throttled() for _ in range(2)] == [200, 504]
        body = {"input": "create a report", "context": {"agent_id": "a-1"}}
        assert web.post("/api/v1/run", body).status == 200


def test_the_hint_sets_the_budget(web: Web) -> None:
    budgets = [
        run(web, context={"mode_hint": hint})["budget"]
        for hint in ("fast", "balanced", "deep", None, "whatever")
    ]
    assert budgets[0] < budgets[1] < budgets[2]
    assert budgets[3] == budgets[4] == budgets[1]


def test_a_run_that_takes_too_long() -> None:
    with (
        running(demo=True, tcp=False, governance=GovernanceOptions(port=None, pace=60.0)) as server,
        Web(server.governance_socket) as web,
    ):
        body = {"input": "x", "options": {"timeout_ms": 20}}
        reply = web.post("/api/v1/run", body)
        assert reply.status == 504
        found = reply.document
        assert (found["error"], found["code"]) == ("timeout", "TIMEOUT")
        assert found["details"] == {"timeout_ms": 20}
        trace = web.get(f"/api/v1/trace/{found['trace_id']}").document
        assert trace["outcome"] == "timeout"
        assert trace["decision"] == "ALLOW"
        # One that is long before it has begun ends the same way.
        body = {"input": "x", "options": {"timeout_ms": 1}}
        assert web.post("/api/v1/run", body).status == 504


# -- chat, agents -----------------------------------------------------------------


def test_chat(web: Web) -> None:
    message = {"message": "Hello!", "session_id": "abc"}
    for agent in ({}, CONTRACT, {"User-Agent": "my HestiaOS-SDK/0.1.0"}):
        found = web.post("/api/chat", message, headers=agent).document
        assert found["response"] == found["result"] == "processed: Hello!"
        assert found["session_id"] == "abc"
        assert UUID4.fullmatch(found["trace_id"])
        assert found["processing_time"] >= 0
        assert isinstance(found["model"], str)
    found = web.post("/api/chat", message, headers=ORIGINAL).document
    assert set(found) == {"response", "session_id", "processing_time", "model", "trace_id"}


def test_chat_without_a_session(web: Web) -> None:
    first = web.post("/api/chat", {"message": "a"}).document["session_id"]
    second = web.post("/api/chat", {"message": "a", "session_id": None}).document["session_id"]
    assert UUID4.fullmatch(first)
    assert first != second


def test_an_agent(web: Web) -> None:
    task = {"agent_id": "agent-1", "task": "analyze data", "config": None}
    found = web.post("/api/agents/run", task, headers=CONTRACT).document
    assert found["result"] == found["output"] == "processed: analyze data"
    assert (found["agent_id"], found["status"], found["error"]) == ("agent-1", "COMPLETED", None)
    found = web.post("/api/agents/run", task, headers=ORIGINAL).document
    assert set(found) == {"agent_id", "status", "output", "error", "trace_id"}
    assert web.post("/api/agents/run", {"agent_id": "a", "task": "x"}).status == 200


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/chat", {}, "message"),
        ("/api/chat", {"message": 1}, "message"),
        ("/api/chat", {"message": "x", "session_id": "s" * 513}, "session_id"),
        ("/api/agents/run", {"task": "x"}, "agent_id"),
        ("/api/agents/run", {"agent_id": "", "task": "x"}, "agent_id"),
        ("/api/agents/run", {"agent_id": "a"}, "task"),
        ("/api/agents/run", {"agent_id": "a", "task": "x", "config": []}, "config"),
        ("/api/governance/explain", {}, "command_type"),
        ("/api/governance/explain", {"command_type": "X", "command_input": 1}, "command_input"),
        ("/api/secrets", {"credential_ref": "k"}, "secret"),
        ("/api/secrets", {"secret": "v"}, "credential_ref"),
        ("/api/secrets", {"credential_ref": "", "secret": "v"}, "credential_ref"),
        ("/api/secrets", {"credential_ref": "k", "secret": ""}, "secret"),
        (
            "/api/secrets",
            {"credential_ref": "k", "secret": "v", "allowed_tools": "*"},
            "allowed_tools",
        ),
    ],
)
def test_what_the_others_refuse(web: Web, path: str, body: Any, field: str) -> None:
    invalid(web.post(path, body), field)


def test_chat_and_agents_are_governed(web: Web) -> None:
    for path, body in (
        ("/api/chat", {"message": BLOCKED}),
        ("/api/agents/run", {"agent_id": "a", "task": BLOCKED}),
        ("/api/agents/run", {"agent_id": "a", "task": "go", "config": {"then": [BLOCKED]}}),
    ):
        reply = web.post(path, body)
        assert reply.status == 403
        assert reply.document["code"] == "GOVERNANCE_BLOCK"
        assert web.get(f"/api/v1/trace/{reply.document['trace_id']}").status == 200


# -- traces -----------------------------------------------------------------------


def test_every_command_leaves_a_trace(web: Web) -> None:
    commands = {
        "run": ("/api/v1/run", {"input": "x"}),
        "chat": ("/api/chat", {"message": "x"}),
        "agent": ("/api/agents/run", {"agent_id": "a", "task": "x"}),
    }
    for kind, (path, body) in commands.items():
        trace_id = web.post(path, body).document["trace_id"]
        trace = web.get(f"/api/governance/trace/{trace_id}").document
        assert set(trace) == TRACE_FIELDS
        assert trace["trace_id"] == trace_id
        assert (trace["command"], trace["outcome"]) == (kind, "completed")
        assert (trace["decision"], trace["policy"], trace["violations"]) == ("ALLOW", "R-0", [])
        assert 0 < trace["risk_score"] < 0.1
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", trace["timestamp"])
        assert web.get(f"/api/v1/trace/{trace_id}").document == trace


def test_the_guides_trace_is_known_in_the_demo_alone(web: Web) -> None:
    for path in ("/api/governance/trace", "/api/v1/trace"):
        found = web.get(f"{path}/abc-123-def").document
        assert found["trace_id"] == "abc-123-def"
        assert found["decision"] == "ALLOW"
    with running(tcp=False) as bare:
        token = bare.governance_token
        assert token is not None
        with Web(
            bare.governance_socket, headers={"Authorization": f"Bearer {token.reveal()}"}
        ) as other:
            assert other.get("/api/governance/trace/abc-123-def").status == 404


@pytest.mark.parametrize("id", ["", "nope", "a/b", "a%2Fb", "%20", "x" * 5000, "' OR 1=1 --"])
def test_unknown_traces(web: Web, id: str) -> None:
    for path in ("/api/governance/trace", "/api/v1/trace"):
        reply = web.get(f"{path}/{quote(id, safe='/%')}")
        assert reply.status == 404
        assert reply.document["code"] == "NOT_FOUND"
        assert id not in reply.document["message"] or not id.strip("%20")


def test_traces_survive_and_what_was_said_is_not_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, demo=True, tcp=False) as server, Web(server.governance_socket) as web:
        trace_id = run(web, "remember the teapot")["trace_id"]
        first = web.get(f"/api/v1/trace/{trace_id}").document
    with running(home, demo=True, tcp=False) as server, Web(server.governance_socket) as web:
        assert web.get(f"/api/v1/trace/{trace_id}").document == first
        assert web.get("/api/v1/trace/abc-123-def").status == 200
    for file in home.rglob("*"):
        if file.is_file():
            assert b"teapot" not in file.read_bytes()
    with closing(sqlite3.connect(home / "governance.db")) as db:
        assert db.execute("SELECT COUNT(*) FROM traces").fetchone() == (2,)


def test_a_trace_is_on_file_before_it_is_answered(tmp_path: Path) -> None:
    with (
        running(tmp_path / "home", demo=True, tcp=False) as server,
        Web(server.governance_socket) as web,
        closing(sqlite3.connect(tmp_path / "home" / "governance.db")) as db,
    ):
        for _ in range(20):
            trace_id = run(web)["trace_id"]
            found = db.execute("SELECT 1 FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
            assert found == (1,)


def test_old_traces_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        running(tmp_path / "home", demo=True, tcp=False) as server,
        Web(server.governance_socket) as web,
    ):
        from ostiary.devserver.governance import traces

        monkeypatch.setattr(traces, "_KEPT", 5)
        monkeypatch.setattr(traces, "_PRUNE_EVERY", 1)
        ids = [run(web)["trace_id"] for _ in range(10)]
        statuses = [web.get(f"/api/v1/trace/{id}").status for id in ids]
        assert statuses == [404] * 5 + [200] * 5


def test_when_traces_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is answered as done that is not on record."""
    with running(demo=True, tcp=False) as server, Web(server.governance_socket) as web:
        from ostiary.devserver.governance.traces import Traces

        def full(self: Traces, rows: Any) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(Traces, "_write", full)
            for path in ("/api/v1/run", "/api/chat"):
                reply = web.post(path, {"input": "x", "message": "x"})
                assert reply.status == 503
                assert reply.document["code"] == "STORAGE_FAILED"
            assert web.post("/api/v1/run", {"input": BLOCKED}).status == 503
            status = web.get("/api/system/status").document
            assert (status["status"], status["storage"]) == ("DEGRADED", False)
            assert web.get("/api/v1/health").document["status"] == "degraded"
            web.send("POST", "/api/v1/run/stream", {"input": "x"})
            web.head()
            *_, error, done = web.events()
            assert (error["type"], error["data"]["code"]) == ("error", "STORAGE_FAILED")
            assert done["type"] == "done"
        assert run(web)["mode"] == "ALLOW"
        assert web.get("/api/system/status").document["status"] == "OK"


def test_a_damaged_record_is_not_replaced(tmp_path: Path) -> None:
    from ostiary.devserver import DevserverError

    home = tmp_path / "home"
    with running(home, demo=True, tcp=False) as server:
        assert server.governance_socket
    file = home / "governance.db"
    file.write_bytes(b"not a database, and long enough to be taken for one" * 100)
    before = file.read_bytes()
    with (
        running(home, demo=True, tcp=False) as server,
        pytest.raises(DevserverError, match="move it away"),
    ):
        _ = server.governance_socket
    assert file.read_bytes() == before


# -- explain, stability -----------------------------------------------------------


def test_explain(web: Web) -> None:
    def explain(kind: str, **arguments: Any) -> Any:
        body = {"command_type": kind, "command_input": arguments}
        return web.post("/api/governance/explain", body).document

    before = web.get("/api/governance/stability").document["decisions"]
    found = explain("WRITE", path="/tmp/test")
    assert set(found) == {
        *("decision", "reason", "risk_score", "policy", "violations", "mode", "budget")
    }
    assert (found["decision"], found["mode"]) == ("ALLOW", "NORMAL")
    assert explain("WRITE", path="/etc/passwd")["policy"] == "R-4"
    assert explain("WRITE", path="/tmp/../etc/passwd")["decision"] == "BLOCK"
    assert explain("READ", path="/etc/passwd")["decision"] == "ALLOW"
    assert explain("exec", command="ls")["decision"] == "THROTTLE"
    assert explain("DELETE", table="orders", environment="production")["decision"] == "BLOCK"
    assert web.post("/api/governance/explain", {"command_type": "WRITE"}).status == 200
    # To explain is to decide nothing.
    assert web.get("/api/governance/stability").document["decisions"] == before


def test_stability_is_measured() -> None:
    hourly = GovernanceOptions(port=None, throttled_every=3600.0)
    with (
        running(demo=True, tcp=False, governance=hourly) as server,
        Web(server.governance_socket) as web,
    ):
        first = web.get("/api/governance/stability").document
        assert first["drift"] == 0.0
        assert first["stability"] == 1.0
        assert first["decisions"] == {"ALLOW": 0, "THROTTLE": 0, "BLOCK": 0}
        for _ in range(250):
            run(web)
        for _ in range(20):
            assert web.post("/api/v1/run", {"input": BLOCKED}).status == 403
        found = web.get("/api/governance/status").document
        assert found["decisions"] == {"ALLOW": 250, "THROTTLE": 0, "BLOCK": 20}
        assert 0 < found["drift"] < 1
        assert found["stability"] == 1.0
        # The second of two throttled ones would have to wait for longer than it has.
        late = {"input": THROTTLED, "options": {"timeout_ms": 5}}
        web.post("/api/v1/run", late)
        assert web.post("/api/v1/run", late).status == 504
        assert web.get("/api/governance/stability").document["stability"] < 1.0


# -- system -----------------------------------------------------------------------


def test_status_and_health(web: Web) -> None:
    from ostiary import __version__

    for agent in (ORIGINAL, CONTRACT):
        found = web.get("/api/system/status", headers=agent).document
        assert set(found) == {
            *("status", "version", "uptime_seconds", "ollama", "vllm", "dsgk", "storage")
        }
        assert found["status"] == "OK"
        assert found["version"] == __version__
        assert [found[name] for name in ("ollama", "vllm", "dsgk", "storage")] == [
            *(False, False, True, True)
        ]
    health = web.get("/api/v1/health").document
    assert set(health) == {"status", "version", "uptime_seconds", "api_version"}
    assert (health["status"], health["api_version"]) == ("ok", "v1")
    assert 0 < found["uptime_seconds"] <= health["uptime_seconds"]


def test_config_says_how_it_is_set_up_and_no_secret(web: Web) -> None:
    found = web.get("/api/system/config").document
    assert found["authentication"] == "none"
    assert [rule["rule"] for rule in found["rules"]] == [f"R-{n}" for n in range(1, 9)]
    with running(tcp=False, request_limit=2048) as bare:
        token = bare.governance_token
        assert token is not None
        with Web(
            bare.governance_socket, headers={"Authorization": f"Bearer {token.reveal()}"}
        ) as other:
            reply = other.get("/api/system/config")
        assert reply.document["authentication"] == "bearer"
        assert reply.document["request_limit_bytes"] == 2048
        assert token.reveal().encode() not in reply.body


def test_metrics_are_measured() -> None:
    with running(demo=True, tcp=False) as server, Web(server.governance_socket) as web:
        started = time.monotonic()
        first = web.get("/api/system/metrics", headers=CONTRACT).document
        names = {
            *("cpu_percent", "memory_percent", "active_sessions", "requests_total"),
            "avg_latency_ms",
        }
        assert set(first) == names | {"metrics"}
        assert first["metrics"] == {name: first[name] for name in names}
        assert (first["requests_total"], first["active_sessions"]) == (1, 0)
        assert first["avg_latency_ms"] == 0.0
        for session in ("a", "b", "a"):
            web.post("/api/chat", {"message": "x", "session_id": session})
        run(web, context={"agent_id": "c"})
        assert web.get("/nowhere").status == 404
        found = web.get("/api/system/metrics", headers=ORIGINAL).document
        assert set(found) == names
        assert found["requests_total"] == 7
        assert found["active_sessions"] == 3
        # No request took longer than all of them together.
        assert 0 < found["avg_latency_ms"] < (time.monotonic() - started) * 1000
        assert 0 < found["memory_percent"] < 100
        # Some work is done until the next look, however fast the machine is.
        seen = 0.0
        while seen == 0.0 and time.monotonic() < started + 30:
            run(web, "x" * 100_000)
            seen = web.get("/api/system/metrics").document["cpu_percent"]
        assert seen > 0


# -- secrets ----------------------------------------------------------------------


def put(web: Web, key: str, value: str, **more: Any) -> Reply:
    return web.post("/api/secrets", {"credential_ref": key, "secret": value, **more})


def test_a_secret_is_kept_read_and_removed_twice(web: Web) -> None:
    for _ in range(2):
        stored = put(web, "my-key", "my-value", provider="custom", allowed_tools=["*"])
        assert stored.status == 200
        assert b"my-value" not in stored.body
        assert web.get("/api/secrets/my-key").document["value"] == "my-value"
        removed = web.call("DELETE", "/api/secrets/my-key")
        assert (removed.status, removed.body) == (204, b"")
        for method in ("GET", "DELETE"):
            reply = web.call(method, "/api/secrets/my-key")
            assert reply.status == 404
            assert reply.document["code"] == "NOT_FOUND"


def test_a_secret_is_replaced_with_all_that_belongs_to_it(web: Web) -> None:
    put(web, "again", "one", provider="aws", allowed_tools=["deploy"])
    found = web.get("/api/secrets/again").document
    assert found == {
        "value": "one",
        "credential_ref": "again",
        "provider": "aws",
        "allowed_tools": ["deploy"],
    }
    put(web, "again", "two", provider=None, allowed_tools=None)
    found = web.get("/api/secrets/again").document
    assert (found["value"], found["provider"], found["allowed_tools"]) == ("two", "custom", ["*"])
    put(web, "again", "three", allowed_tools=[])
    assert web.get("/api/secrets/again").document["allowed_tools"] == []


@pytest.mark.parametrize(
    ("key", "spellings"),
    [
        ("mail/pass", ["mail/pass", "mail%2Fpass", "mail%2fpass"]),
        ("a b", ["a%20b"]),
        ("schlüssel/€", ["schl%C3%BCssel/%E2%82%AC"]),
        ("a?b#c", ["a%3Fb%23c"]),
        ("100%", ["100%25"]),
        ("a+b", ["a+b", "a%2Bb"]),
        ("a//b", ["a//b", "a%2F%2Fb"]),
        ("%2e%2e", ["%252e%252e"]),
        ("...", ["..."]),
        ("a.b..c", ["a.b..c"]),
        ("trailing/", ["trailing/", "trailing%2F"]),
    ],
)
def test_keys_of_every_kind(web: Web, key: str, spellings: list[str]) -> None:
    assert put(web, key, f"value of {key}").status == 200
    for spelling in spellings:
        assert web.get(f"/api/secrets/{spelling}").document["value"] == f"value of {key}"
    assert web.call("DELETE", f"/api/secrets/{spellings[-1]}").status == 204
    assert web.get(f"/api/secrets/{spellings[0]}").status == 404


@pytest.mark.parametrize(
    "key",
    ["..", ".", "../x", "a/../b", "a/..", "./a", " a", "a ", "a\nb", "\x00", "a\u202eb", "x" * 502],
)
def test_keys_that_are_none(web: Web, server: RunningVault, key: str) -> None:
    message = invalid(put(web, key, "v"), "credential_ref")
    assert key not in message or len(key) < 3
    assert web.get(f"/api/secrets/{quote(key, safe='')}").status in {400, 404, 422}


def test_only_its_own_part_of_the_vault_is_reached(web: Web, server: RunningVault) -> None:
    """The demo's other credentials, such as openai/api_key, are not governance's to give."""
    for key in (
        "openai/api_key",
        "..%2Fopenai%2Fapi_key",
        "%2e%2e/openai/api_key",
        "/openai/api_key",
    ):
        assert web.get(f"/api/secrets/{key}").status == 404
    assert web.call("DELETE", "/api/secrets/openai/api_key").status == 404
    put(web, "openai/api_key", "mine")
    assert server.admin.get("openai/api_key").value.reveal().startswith("sk-demo")
    assert server.admin.get("governance/openai/api_key").value.reveal() == "mine"
    web.call("DELETE", "/api/secrets/openai/api_key")
    assert server.admin.get("openai/api_key").value.reveal().startswith("sk-demo")


def test_secrets_are_sealed_recorded_and_never_shown(
    tmp_path: Path, caplog: Any, capfd: Any
) -> None:
    home = tmp_path / "home"
    with running(home, demo=True, tcp=False) as server, Web(server.governance_socket) as web:
        put(web, "bank/pin", "tell-no-one-4711")
        assert web.get("/api/secrets/bank/pin").document["value"] == "tell-no-one-4711"
        for path in (
            "/api/system/config",
            "/api/system/metrics",
            "/api/governance/stability",
        ):
            assert b"4711" not in web.get(path).body
        assert web.get("/api/secrets").status == 405
        assert web.get("/api/secrets/").status == 404
        (entry,) = server.admin.list(prefix="governance/")
        assert (entry.path, entry.type) == ("governance/bank/pin", "secret")
        actions = [e.action for e in server.admin.audit(resource="governance/bank/pin")]
        assert actions == ["store", "retrieve"]
        web.call("DELETE", "/api/secrets/bank/pin")
        actions = [e.action for e in server.admin.audit(resource="governance/bank/pin")]
        assert actions == ["store", "retrieve", "delete"]
        assert server.admin.audit_verify().valid
        put(web, "bank/pin", "tell-no-one-4711")
    for file in home.rglob("*"):
        if file.is_file():
            assert b"4711" not in file.read_bytes()
    assert "4711" not in caplog.text
    assert "4711" not in "".join(capfd.readouterr())
    with running(home, demo=True, tcp=False) as server, Web(server.governance_socket) as web:
        assert web.get("/api/secrets/bank/pin").document["value"] == "tell-no-one-4711"


def test_a_vault_that_is_locked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        running(home, demo=True, tcp=False, passphrase=Secret("open")) as server,
        Web(server.governance_socket) as web,
    ):
        put(web, "k", "v")
        server.admin.lock()
        for reply in (
            web.get("/api/secrets/k"),
            web.get("/api/secrets/none"),
            put(web, "k", "w"),
            web.call("DELETE", "/api/secrets/k"),
        ):
            assert reply.status == 503, reply
            assert reply.document["code"] == "VAULT_LOCKED"
        assert web.get("/api/system/status").document["status"] == "DEGRADED"
        found = run(web)
        assert web.get(f"/api/v1/trace/{found['trace_id']}").document["mode"] == "DEGRADED"
        server.admin.unlock("open")
        assert web.get("/api/secrets/k").document["value"] == "v"
    # It also starts beside one that nobody has unlocked yet.
    with running(home, demo=True, tcp=False) as server, Web(server.governance_socket) as web:
        assert web.get("/api/secrets/k").document["code"] == "VAULT_LOCKED"


def test_a_vault_that_lends_nothing_out() -> None:
    with (
        running(demo=True, tcp=False, raw_retrieval=False) as server,
        Web(server.governance_socket) as web,
    ):
        put(web, "k", "v")
        reply = web.get("/api/secrets/k")
        assert (reply.status, reply.document["code"]) == (403, "ACCESS_DENIED")


def test_a_secret_that_is_no_text(web: Web, server: RunningVault) -> None:
    server.put("governance/blob", b"\xff\xfe")
    reply = web.get("/api/secrets/blob")
    assert (reply.status, reply.document["code"]) == (409, "NOT_TEXT")
    server.put("governance/plain", "by the owner")
    assert web.get("/api/secrets/plain").document["value"] == "by the owner"


def test_a_vault_that_cannot_write_gives_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from ostiary.devserver.store import Store

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with running(demo=True, tcp=False) as server, Web(server.governance_socket) as web:
        put(web, "k", "hush-hush")
        with monkeypatch.context() as patch:
            patch.setattr(Store, "log", full)
            reply = web.get("/api/secrets/k")
            assert reply.status == 503, reply
            assert b"hush" not in reply.body
        assert web.get("/api/secrets/k").status == 503


# -- options ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"meaning": "both"},
        {"heartbeat": 0.0},
        {"heartbeat": 15.1},
        {"pace": -0.1},
        {"pace": float("nan")},
        {"pace": float("inf")},
        {"throttled_every": -1.0},
    ],
)
def test_options_that_are_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        GovernanceOptions(**wrong)


def test_answers_are_json_of_one_line(web: Web) -> None:
    reply = web.get("/api/system/config")
    assert b"\n" not in reply.body
    assert json.loads(reply.body)
    assert "content-encoding" not in web.get(
        "/api/system/config", headers={"Accept-Encoding": "gzip, deflate, br, zstd"}
    )
