"""Agents: created, at work, external; executions and approvals; the stream of events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import RunningVault, RuntimeOptions, running
from ostiary.devserver.runtime.records import mode_name, seed_state
from ostiary.runtime.enums import RUNTIME_STATES
from tests.devserver.api import Api
from tests.devserver.web import Web
from tests.devserver.wire import Hands

AGENT = {
    "id": "agent-7",
    "name": "Helper",
    "description": "d",
    "system_prompt": "p",
    "tools": ["calc"],
    "model": "m-1",
    "temperature": 0.2,
    "top_p": 0.9,
    "max_tokens": 256,
}
PATIENCE = 20.0


@pytest.fixture
def server(hands: Hands) -> Iterator[RunningVault]:
    with running(demo=True, tcp=False, clock=hands.clock()) as one:
        yield one


@pytest.fixture
def api(server: RunningVault) -> Api:
    return Api(server)


def until(look: Callable[[], Any]) -> Any:
    """Return what `look` finds once it finds something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError("it did not come about")


def ended(api: Api, agent_id: str, execution_id: str) -> Any:
    def look() -> Any:
        found = api.get(f"agents/{agent_id}/executions/{execution_id}")[1]
        return found if "completed_at" in found else None

    return until(look)


# -- who there is -------------------------------------------------------------


def test_the_guides_agent_is_there(api: Api) -> None:
    assert api.get("agents") == (200, ["agent-123"])
    assert api.get("agents?detail=true")[1] == [
        {"id": "agent-123", "name": "Sample agent", "state": "idle"}
    ]


def test_both_status_paths_have_exactly_the_members(api: Api) -> None:
    seed = api.get("agents/agent-123")
    assert seed == api.get("agents/agent-123/status")
    status = seed[1]
    assert status.keys() == {
        *("agent_id", "state", "last_activity", "resource_usage", "execution_mode")
    }
    usage = status["resource_usage"]
    assert usage.keys() == {"memory_bytes", "cpu_percent", "active_tasks"}
    assert isinstance(usage["memory_bytes"], int)
    assert usage["memory_bytes"] > 100


def test_created_twice_is_one_agent(api: Api) -> None:
    for _ in range(2):
        assert api.post("agents", AGENT) == (201, {"id": "agent-7", "status": "created"})
    status, refused = api.post("agents", AGENT | {"model": "m-2"})
    assert (status, refused["code"]) == (409, "AGENT_EXISTS")
    assert api.get("agents")[1] == ["agent-123", "agent-7"]


def test_the_newer_form_gets_an_id(api: Api) -> None:
    body = {"name": "greeter", "dsl": "agent greeter() { }", "capabilities": ["x"]}
    first, second = (api.post("agents", body)[1]["id"] for _ in range(2))
    assert first != second
    assert len(api.get("agents")[1]) == 3


def test_update_and_delete(api: Api) -> None:
    api.post("agents", AGENT)
    assert api.put("agents/agent-7", {"name": "New", "top_p": None}) == (
        200,
        {"id": "agent-7", "status": "updated"},
    )
    details = api.get("agents?detail=1")[1]
    assert [one["name"] for one in details] == ["Sample agent", "New"]
    assert api.put("agents/agent-7", {"id": "agent-7", "model": "m-3"})[0] == 200
    for body in ({}, {"name": None}, {"nonsense": 1}, {"id": "other", "name": "x"}):
        assert api.put("agents/agent-7", body)[0] == 422
    status, refused = api.put("agents/agent-7", {"tools": [1]})
    assert (status, refused["details"]["field"]) == (422, "tools[0]")
    assert api.delete("agents/agent-7") == (200, {"id": "agent-7", "status": "deleted"})
    for status, answer in (api.delete("agents/agent-7"), api.get("agents/agent-7")):
        assert (status, answer["code"]) == (404, "AGENT_NOT_FOUND")


def test_ids_may_be_any_text(api: Api) -> None:
    name = "ä b?c#d%e"
    assert api.post("agents", {"id": name, "name": "n"})[0] == 201
    assert api.get("agents/%C3%A4%20b%3Fc%23d%25e")[1]["agent_id"] == name


def test_words_of_states() -> None:
    assert {seed_state(word) for word in RUNTIME_STATES} <= {
        "idle",
        "active",
        "busy",
        "error",
        "stopped",
    }
    assert seed_state("Running") == "active"
    assert seed_state("BUSY") == "busy"
    assert seed_state("confused") is None
    assert mode_name({"External": {}}) == "External"
    assert mode_name({}) == mode_name("Ephemeral") == "Ephemeral"


# -- at work ------------------------------------------------------------------


def test_an_execution_is_answered_counted_and_kept(api: Api) -> None:
    status, started = api.post("agents/agent-123/execute", {"input": "say hello"})
    assert (status, started["status"]) == (202, "execution_started")
    found = ended(api, "agent-123", started["execution_id"])
    assert (found["status"], found["kind"]) == ("completed", "execute")
    assert found["result"]["response"] == "say hello"
    assert found["result"]["usage"]["total_tokens"] > 0
    history = api.get("agents/agent-123/history")[1]["history"]
    assert [one["execution_id"] for one in history] == [started["execution_id"]]
    assert {"execution_id", "status", "timestamp"} <= history[0].keys()
    metrics = api.get("agents/agent-123/metrics")[1]
    assert (metrics["tasks_completed"], metrics["tasks_failed"]) == (1, 0)
    assert metrics["average_response_time_ms"] > 0
    assert {
        *("agent_id", "tasks_completed", "tasks_failed", "average_response_time_ms"),
        *("memory_usage_bytes", "cpu_usage_percent", "last_activity", "uptime_seconds"),
    } <= metrics.keys()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": "p"}, "p"),
        ({"message": "m"}, "m"),
        ({"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        (None, "The guide's agent"),
        (7, "7"),
    ],
    ids=["prompt", "message", "object", "nothing", "number"],
)
def test_what_an_agent_is_asked(api: Api, given: Any, said: str) -> None:
    execution_id = api.post("agents/agent-123/execute", {"input": given})[1]["execution_id"]
    assert ended(api, "agent-123", execution_id)["result"]["response"] == said


def test_an_execution_without_a_body(api: Api) -> None:
    assert api.post("agents/agent-123/execute")[0] == 202


def test_a_failure_is_on_record_and_shows_until_the_next_success(api: Api) -> None:
    execution_id = api.post("agents/agent-123/execute", {"input": "/fail 503"})[1]["execution_id"]
    found = ended(api, "agent-123", execution_id)
    assert (found["status"], found["error"]) == ("failed", "the model answered 503")
    assert api.get("agents/agent-123")[1]["state"] == "error"
    assert api.get("metrics")[1]["agents"]["error"] == 1
    execution_id = api.post("agents/agent-123/execute", {"input": "x"})[1]["execution_id"]
    ended(api, "agent-123", execution_id)
    assert api.get("agents/agent-123")[1]["state"] == "idle"
    metrics = api.get("agents/agent-123/metrics")[1]
    assert (metrics["tasks_completed"], metrics["tasks_failed"]) == (1, 1)


def test_unknown_executions(api: Api) -> None:
    api.post("agents", AGENT)
    execution_id = api.post("agents/agent-7/execute", {})[1]["execution_id"]
    for path in ("agents/agent-7/executions/who", f"agents/agent-123/executions/{execution_id}"):
        status, answer = api.get(path)
        assert (status, answer["code"]) == (404, "EXECUTION_NOT_FOUND")
    assert api.post("agents/who/execute", {})[1]["code"] == "AGENT_NOT_FOUND"
    assert api.get("agents/who/history")[1]["code"] == "AGENT_NOT_FOUND"
    ended(api, "agent-7", execution_id)
    status, answer = api.post(f"agents/agent-7/executions/{execution_id}/cancel")
    assert (status, answer["code"]) == (409, "EXECUTION_ENDED")


def test_work_that_was_in_hand_ends_with_the_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, demo=True, tcp=False) as server:
        held = Api(server).post("agents/agent-123/execute", {"require_approval": True})[1]
        assert len(Api(server).get("approvals")[1]) == 1
    with running(home, demo=True, tcp=False) as server:
        path = f"agents/agent-123/executions/{held['execution_id']}"
        assert Api(server).get(path)[1]["status"] in {"cancelled", "failed"}
        (approval,) = Api(server).get("approvals")[1]
        assert approval["status"] == "Expired"


def test_a_task_that_takes_too_long() -> None:
    gate = threading.Event()
    tools = {"wait_here": lambda: gate.wait(PATIENCE)}
    runtime = RuntimeOptions(port=None, tools=tools, workflow_timeout=0.05)
    with running(demo=True, tcp=False, runtime=runtime) as server:
        api = Api(server)
        try:
            source = "agent slow { action work { wait_here() } }"
            api.post("agents", {"id": "slow", "name": "slow", "dsl": source})
            execution_id = api.post("agents/slow/execute", {})[1]["execution_id"]
            assert ended(api, "slow", execution_id)["status"] in {"timed_out", "failed"}
            assert api.get("agents/slow")[1]["state"] == "error"
        finally:
            gate.set()


def test_a_page_for_readers(server: RunningVault, api: Api) -> None:
    api.post("agents", AGENT | {"name": "A*b\n# c", "description": "<script>"})
    with Web(server.runtime_socket) as web:
        for path in ("/agents.md", "/.well-known/agents.md"):
            reply = web.get(path)
            assert reply["content-type"] == "text/markdown; charset=utf-8"
            assert reply.body.decode().splitlines() == [
                "# Agents",
                "",
                "- `agent-123` Sample agent: The guide's agent",
                "- `agent-7` A\\*b \\# c: \\<script\\>",
            ]


# -- approvals ----------------------------------------------------------------


def test_a_task_waits_for_its_approval(api: Api) -> None:
    api.put("agents/agent-123", {"metadata": {"approval": "required"}})
    execution_id = api.post("agents/agent-123/execute", {"input": "go"})[1]["execution_id"]
    (held,) = until(lambda: api.get("approvals")[1])
    assert held.keys() >= {
        *("id", "agent_id", "kind", "summary", "reason", "context_snapshot"),
        *("created_at", "expires_at", "status"),
    }
    assert (held["status"], held["context_snapshot"]) == ("Pending", {"execution_id": execution_id})
    path = f"agents/agent-123/executions/{execution_id}"
    assert api.get(path)[1]["status"] == "queued"
    assert api.post(f"approvals/{held['id']}/approve", {"reason": "fine"})[0] == 200
    assert ended(api, "agent-123", execution_id)["result"]["response"] == "go"
    status, answer = api.post(f"approvals/{held['id']}/deny")
    assert (status, answer["code"]) == (409, "ALREADY_RESOLVED")
    assert api.get("approvals?status=pending")[1] == []
    assert api.post("approvals/who/approve")[1]["code"] == "APPROVAL_NOT_FOUND"


def test_a_workflow_for_such_an_agent_waits_too(api: Api) -> None:
    api.put("agents/agent-123", {"metadata": {"approval": "required"}})
    body = {
        "workflow_id": "data-analysis-workflow",
        "parameters": {"input_data": "path/to/data.csv"},
        "agent_id": "agent-123",
    }
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(api.post("workflows", body)))
    asking.start()
    (held,) = until(lambda: api.get("approvals?status=pending")[1])
    assert answers == []
    api.post(f"approvals/{held['id']}/deny")
    asking.join(PATIENCE)
    ((status, answer),) = answers
    assert (status, answer["status"], answer["error"]) == (200, "failed", "the action was denied")


def test_a_denied_task_never_begins(api: Api) -> None:
    started = api.post("agents/agent-123/execute", {"require_approval": True})[1]
    (held,) = until(lambda: api.get("approvals?status=pending")[1])
    denied = api.post(f"approvals/{held['id']}/deny", {"reason": None})[1]
    assert denied["status"] == "Denied"
    found = ended(api, "agent-123", started["execution_id"])
    assert (found["status"], found["error"]) == ("failed", "the action was denied")
    assert api.get("agents/agent-123/metrics")[1]["tasks_failed"] == 0


def test_nobody_answers() -> None:
    runtime = RuntimeOptions(port=None, approval_ttl=0.05)
    with running(demo=True, tcp=False, runtime=runtime) as server:
        api = Api(server)
        started = api.post("agents/agent-123/execute", {"require_approval": True})[1]
        assert ended(api, "agent-123", started["execution_id"])["status"] == "failed"
        assert api.get("approvals")[1][0]["status"] == "Expired"


def test_a_held_task_can_be_cancelled(api: Api) -> None:
    started = api.post("agents/agent-123/execute", {"require_approval": True})[1]
    until(lambda: api.get("approvals?status=pending")[1])
    path = f"agents/agent-123/executions/{started['execution_id']}"
    assert api.post(f"{path}/cancel")[1]["status"] == "cancelled"
    assert api.get("approvals")[1][0]["status"] == "Expired"


# -- external agents ----------------------------------------------------------


@pytest.fixture
def external(api: Api) -> str:
    mode = {"External": {"endpoint": None, "heartbeat_interval_secs": 60}}
    found: str = api.post("agents", {"name": "far", "execution_mode": mode})[1]["id"]
    return found


def test_an_external_agent_tells_of_itself(api: Api, external: str, hands: Hands) -> None:
    beat = {"state": "Running", "metadata": {"v": "1"}, "last_result": "ok"}
    assert api.post(f"agents/{external}/heartbeat", beat) == (200, {})
    event = {"event_type": "RunStarted", "payload": {"run": None}}
    assert api.post(f"agents/{external}/events", event) == (200, {})
    status = api.get(f"agents/{external}/status")[1]
    assert (status["state"], status["reported_state"]) == ("active", "Running")
    assert (status["execution_mode"], status["metadata"]) == ("External", {"v": "1"})
    assert status["last_result"] == "ok"
    (seen,) = status["recent_events"]
    assert (seen["event_type"], seen["payload"]) == ("RunStarted", {"run": None})
    hands.forward(179)
    assert api.get(f"agents/{external}")[1]["state"] == "active"
    hands.forward(2)
    assert api.get(f"agents/{external}")[1]["state"] == "error"
    api.post(f"agents/{external}/heartbeat", {"state": "idle"})
    assert api.get(f"agents/{external}")[1]["state"] == "idle"


def test_a_hundred_events_are_kept(api: Api, external: str) -> None:
    for number in range(103):
        api.post(f"agents/{external}/events", {"event_type": "E", "payload": number})
    kept = api.get(f"agents/{external}")[1]["recent_events"]
    assert [one["payload"] for one in kept] == list(range(3, 103))


def test_what_external_agents_may_not(api: Api, external: str) -> None:
    status, answer = api.post("agents/agent-123/heartbeat", {"state": "idle"})
    assert (status, answer["code"]) == (404, "AGENT_NOT_EXTERNAL")
    status, answer = api.post(f"agents/{external}/heartbeat", {"state": "confused"})
    assert (status, answer["details"]["field"]) == (422, "state")
    proof = {"state": "idle", "agentpin_jwt": "x.y.z"}
    status, answer = api.post(f"agents/{external}/heartbeat", proof)
    assert (status, answer["code"]) == (401, "AGENTPIN_VERIFICATION_FAILED")
    status, answer = api.post(f"agents/{external}/events", {"event_type": "", "payload": 1})
    assert status == 422
    status, answer = api.post(f"agents/{external}/execute", {})
    assert (status, answer["code"]) == (409, "AGENT_EXTERNAL")
    long = {"event_type": "E", "payload": "x" * 256 * 1024}
    assert api.post(f"agents/{external}/events", long)[0] == 413


# -- events -------------------------------------------------------------------


def read_events(web: Web) -> Iterator[dict[str, Any]]:
    for chunk in web.chunks():
        fields = dict(line.split(b": ", 1) for line in chunk.strip().split(b"\n"))
        event = json.loads(fields[b"data"])
        assert fields[b"id"] == str(event["sequence"]).encode()
        yield event


def test_the_stream_tells_what_happens_as_it_happens(server: RunningVault, api: Api) -> None:
    with Web(server.runtime_socket) as web:
        web.send("GET", "/api/v1/events?agent_id=agent-123")
        status, headers = web.head()
        assert (status, dict(headers)["content-type"]) == (200, "text/event-stream")
        until(lambda: api.get("metrics")[1]["event_listeners"])
        api.post("agents", AGENT)
        started = api.post("agents/agent-123/execute", {"input": "a secret"})[1]
        stream = read_events(web)
        seen = [next(stream), next(stream)]
        assert [one["type"] for one in seen] == ["task.started", "task.completed"]
        for one in seen:
            assert one["agent_id"] == "agent-123"
            assert one["payload"]["execution_id"] == started["execution_id"]
            assert "a secret" not in json.dumps(one)
    until(lambda: api.get("metrics")[1]["event_listeners"] == 0)


def test_a_stream_continues_where_it_was(server: RunningVault, api: Api) -> None:
    api.post("agents", AGENT)
    api.delete("agents/agent-7")
    path = "/api/v1/events?type=agent.created,agent.deleted"
    with Web(server.runtime_socket) as web:
        web.send("GET", path, headers={"Last-Event-ID": "0"})
        web.head()
        stream = read_events(web)
        first, second, third = next(stream), next(stream), next(stream)
        assert [first["agent_id"], second["type"]] == ["agent-123", "agent.created"]
        assert third["type"] == "agent.deleted"
    with Web(server.runtime_socket) as web:
        web.send("GET", path, headers={"Last-Event-ID": str(second["sequence"])})
        web.head()
        assert next(read_events(web)) == third
    with Web(server.runtime_socket) as web:
        assert web.get(path, headers={"Last-Event-ID": "x"}).status == 422


def test_a_stream_ends_when_the_server_does() -> None:
    with running(demo=True, tcp=False) as server:
        web = Web(server.runtime_socket)
        web.send("GET", "/api/v1/events")
        web.head()
    with web:
        assert list(web.chunks()) == []
