"""Everything the client can ask, against the embedded runtime, in every colour."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ostiary._route import Route
from ostiary.devserver import running
from ostiary.devserver.options import RuntimeOptions
from ostiary.runtime import (
    AgentState,
    AuthenticationError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    SignatureVerificationError,
    ValidationFailedError,
    WaitTimeoutError,
)
from ostiary.runtime import _routes as routes
from ostiary.runtime._features import FEATURES
from ostiary.runtime.signatures import verify_tool
from tests.devserver.web import Web

from .conftest import TOOL, Client

Connect = Callable[..., Client]
QUICK = {"poll_interval": 0.02}
TOOLS_SERVER = Path(__file__).parents[1] / "mcp" / "tools_server.py"

# Names that stand in for those of others: all tests share one server.
_count = iter(range(1, 1 << 30))


def fresh(word: str) -> str:
    return f"{word}-{next(_count)}"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    options = RuntimeOptions(port=0, workflows={"sum": lambda parameters: sum(parameters["of"])})
    with running(runtime=options) as one:
        yield one


@pytest.fixture
def client(server: Any, connect: Connect) -> Client:
    return connect(server.runtime_unix_url, server.runtime_token)


@pytest.fixture
def agent(client: Client) -> str:
    """The id of an agent of this test's own."""
    agent_id = fresh("agent")
    created = client.call(
        "create_agent",
        {
            "id": agent_id,
            "name": agent_id,
            "description": "of a test",
            "system_prompt": "Say what you were told.",
            "tools": ["calculator"],
            "model": "echo",
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 64,
        },
    )
    assert created["id"] == agent_id
    return agent_id


def test_how_the_runtime_is(client: Client, agent: str) -> None:
    assert client.call("health_check").status == "healthy"
    assert client.call("get_status").agent_count >= 1
    metrics = client.call("get_metrics")
    assert metrics.total_agents >= 1
    assert None not in [getattr(metrics, name) for name in METRICS], "all of the guide's figures"
    assert "# TYPE" in client.call("prometheus_metrics")
    assert client.call("get_agent_metrics", agent).tasks_completed == 0
    for feature in FEATURES:
        assert client.call("supports", feature), feature


METRICS = (
    *("uptime_seconds", "memory_usage_bytes", "memory_usage_percent", "cpu_usage_percent"),
    *("disk_usage_bytes", "disk_usage_percent", "active_agents", "total_agents"),
    *("secrets_count", "mcp_connections", "vector_db_items"),
)


def test_it_has_every_endpoint_that_the_client_knows(server: Any) -> None:
    headers = {"Authorization": f"Bearer {server.runtime_token.reveal()}"}
    with Web(server.runtime_socket, headers=headers) as web:
        assert web.post("/api/v1/nothing", {}).document["code"] == "NOT_FOUND"
        for one in (one for one in vars(routes).values() if isinstance(one, Route)):
            if one is routes.EVENTS:  # a stream without an end; it has tests of its own
                continue
            target = "/api/v1" + re.sub(r"\{\w+\}", "nobody", one.template)
            reply = web.call(one.method, target, {} if one.method in {"POST", "PUT"} else None)
            code = reply.document.get("code") if reply.status >= 400 else None
            assert reply.status != 405, (one.method, one.template)
            assert code != "NOT_FOUND", (one.method, one.template)


def test_a_key_is_needed(server: Any, connect: Connect) -> None:
    for key in (None, "not-the-key"):
        client = connect(server.runtime_url, key)
        assert client.call("health_check").status == "healthy"
        with pytest.raises(AuthenticationError):
            client.call("list_agents")


def test_the_life_of_an_agent(client: Client, agent: str) -> None:
    assert agent in client.call("list_agents")
    assert agent in [one.id for one in client.call("list_agent_details")]
    status = client.call("get_agent_status", agent)
    assert (status.agent_id, status.state) == (agent, AgentState.IDLE)
    client.call("update_agent", agent, {"name": "Renamed"})
    assert "Renamed" in [one.name for one in client.call("list_agent_details")]
    assert client.call("wait_for_agent", agent, timeout=5).state == "idle"
    assert client.call("delete_agent", agent)["status"] == "deleted"
    with pytest.raises(NotFoundError):
        client.call("get_agent_status", agent)
    assert agent not in client.call("list_agents")


def test_an_agent_runs(client: Client, agent: str) -> None:
    begun = client.call("execute_agent", agent, {"question": "why?"}, idempotency_key=True)
    done = client.call("wait_for_execution", agent, begun.execution_id, 20, **QUICK)
    assert done.status == "completed"
    assert "why?" in json.dumps(done.result)
    assert [one.execution_id for one in client.call("get_agent_history", agent)] == [
        begun.execution_id
    ]
    assert client.call("get_agent_metrics", agent).tasks_completed == 1
    with pytest.raises(NotFoundError):
        client.call("get_agent_execution", agent, "no-such-run")


def test_the_same_key_is_the_same_run(client: Client, agent: str) -> None:
    key = fresh("key")
    first = client.call("execute_agent", agent, "once", idempotency_key=key)
    second = client.call("execute_agent", agent, "once", idempotency_key=key)
    assert first.execution_id == second.execution_id
    with pytest.raises(ConflictError):
        client.call("execute_agent", agent, "another", idempotency_key=key)


def held_for(client: Client, agent: str) -> str:
    """Return the approval that an agent's run waits for."""
    for _ in range(200):
        for one in client.call("list_approvals"):
            if one.agent_id == agent and one.status == "pending":
                return str(one.id)
        client.turn()
    raise AssertionError("nothing was held")


def test_what_is_held_waits_for_somebody(client: Client, agent: str) -> None:
    begun = client.call("execute_agent", agent, "careful", require_approval=True)
    approval = held_for(client, agent)
    with pytest.raises(WaitTimeoutError):
        client.call("wait_for_execution", agent, begun.execution_id, 0)
    client.call("approve", approval, "looked at it")
    done = client.call("wait_for_execution", agent, begun.execution_id, 20, **QUICK)
    assert done.status == "completed"
    with pytest.raises(ConflictError):
        client.call("deny", approval)

    begun = client.call("execute_agent", agent, "careful", require_approval=True)
    client.call("deny", held_for(client, agent), "no")
    done = client.call("wait_for_execution", agent, begun.execution_id, 20, **QUICK)
    assert done.status == "failed" or done.error


def test_a_run_may_be_ended(client: Client, agent: str) -> None:
    begun = client.call("execute_agent", agent, "wait", require_approval=True)
    held_for(client, agent)
    client.call("cancel_agent_execution", agent, begun.execution_id)
    done = client.call("wait_for_execution", agent, begun.execution_id, 20, **QUICK)
    assert done.status == "cancelled"


def test_messages(client: Client, agent: str) -> None:
    sent = client.call("send_message", agent, "somebody", "lunch?", 60, "food")
    assert client.call("get_message_status", sent.message_id).status == "pending"
    (message,) = client.call("receive_messages", agent)
    assert (message.payload, message.sender, message.topic) == ("lunch?", "somebody", "food")
    assert client.call("receive_messages", agent) == []
    assert client.call("get_message_status", sent.message_id).status == "delivered"


def test_an_agent_that_runs_elsewhere(client: Client) -> None:
    agent = fresh("remote")
    client.call(
        "create_agent",
        {
            "id": agent,
            "name": agent,
            "description": "",
            "system_prompt": "",
            "tools": [],
            "model": "none",
            "temperature": 0,
            "top_p": 1,
            "max_tokens": 1,
            "execution_mode": {"External": {"heartbeat_interval_secs": 60}},
        },
    )
    assert client.call("send_heartbeat", agent, AgentState.ACTIVE, {"zone": "b"}) is None
    assert client.call("push_agent_event", agent, "RunCompleted", {"n": 1}) is None
    status = client.call("get_agent_status", agent)
    assert status.state == AgentState.ACTIVE


def test_workflows(client: Client) -> None:
    run = client.call("execute_workflow", {"workflow_id": "sum", "parameters": {"of": [1, 2, 3]}})
    assert run["status"] == "completed"
    found = client.call("wait_for_workflow", run["execution_id"], 20, **QUICK)
    assert 6 in found.result.values()
    mine = list(client.read("iter_workflow_executions", "sum", limit=2))
    assert run["execution_id"] in [one.execution_id for one in mine]
    with pytest.raises(NotFoundError):
        client.call("execute_workflow", {"workflow_id": "no-such", "parameters": {}})


def test_a_tool_is_reviewed_signed_and_verified(client: Client) -> None:
    author = f"{fresh('dev')}@acme.test"
    seen: list[str] = []
    tool = {**TOOL, "schema": {**TOOL["schema"], "additionalProperties": False}}  # type: ignore[dict-item]
    opened = client.call("submit_tool_for_review", {"tool": tool, "submitted_by": author})
    review = opened.review_id
    with pytest.raises(TimeoutError):
        client.call(
            "wait_for_review_completion",
            review,
            0.3,
            on_update=lambda one: seen.append(str(one.status)),
            **QUICK,
        )
    assert seen[-1] == "pending_review"
    assert review in [one.review_id for one in client.read("iter_review_queue")]
    session = client.call("claim_review", review, "rev@acme.test")
    assert session.status == "under_review"
    analysis = client.call("get_analysis_results", session.state.analysis_id)
    assert 0 <= analysis.risk_score <= 100
    with pytest.raises(ConflictError):
        client.call("sign_approved_tool", {"review_id": review, "signing_key_id": "local"})
    decision = {"decision": "approve", "comments": "fine", "reviewer_id": "rev@acme.test"}
    assert client.call("submit_human_review_decision", review, decision)["status"] == "approved"
    assert client.call("wait_for_review_completion", review).status == "approved"

    for algorithm in ("Ed25519", "ECDSA_P256"):
        if algorithm == "ECDSA_P256":
            pytest.importorskip("cryptography", reason="the extra signing is not installed")
        key = client.call("create_signing_key", fresh("key"), algorithm)
        assert key.key_id in [one.key_id for one in client.call("list_signing_keys")]
        one = opened if algorithm == "Ed25519" else approved(client, tool, author)
        client.call(
            "sign_approved_tool", {"review_id": one.review_id, "signing_key_id": key.key_id}
        )
        signed = client.call("get_signed_tool", one.review_id)
        verify_tool(signed, key.public_key)
        changed = signed.to_dict()
        changed["tool"]["description"] = "subtracts"
        with pytest.raises(SignatureVerificationError):
            verify_tool(type(signed).from_dict(changed), key.public_key)

    listed = client.call("list_review_sessions", author=author)
    assert {one.status for one in listed.sessions} == {"signed"}
    assert client.call("get_review_statistics").total >= 1
    with pytest.raises(NotFoundError):
        client.call("get_review_session", "non-existent-review")


def approved(client: Client, tool: dict[str, Any], author: str) -> Any:
    opened = client.call("submit_tool_for_review", {"tool": tool, "submitted_by": author})
    for _ in range(200):
        if client.call("get_review_session", opened.review_id).status == "pending_review":
            break
        client.turn()
    decision = {"decision": "approve", "reviewer_id": "rev@acme.test"}
    client.call("submit_human_review_decision", opened.review_id, decision)
    return opened


def test_many_tools_at_once(client: Client) -> None:
    author = f"{fresh('batch')}@acme.test"
    requests = [
        {"tool": {**TOOL, "name": f"tool-{at}"}, "submitted_by": author} for at in range(12)
    ]
    outcomes = client.call("submit_tools_for_review", requests, 4)
    assert [one.error for one in outcomes] == [None] * 12
    names = [one.tool.name for one in client.read("iter_review_sessions", None, author, 5)]
    assert sorted(names) == sorted(f"tool-{at}" for at in range(12))


@pytest.mark.parametrize("name", ["api_key", "a.b-c_9", "x" * 128])
def test_secrets(client: Client, agent: str, name: str) -> None:
    request = {"agent_id": agent, "secret_name": name, "secret_value": "v\u00e4lue\n"}
    assert client.call("store_secret", request).updated_at is None
    assert client.call("store_secret", {**request, "secret_value": "two"}).updated_at is not None
    assert client.call("get_secret", agent, name) == "two"
    assert client.call("list_secrets", agent).secrets == [name]
    client.call("delete_secret", agent, name)
    with pytest.raises(NotFoundError):
        client.call("get_secret", agent, name)
    assert client.call("get_secret_backend").backend_type == "sealed"


def test_a_secret_s_name_leads_nowhere_else(client: Client, agent: str) -> None:
    for name in ("../../agents", "a/b", "a?b", "a#b"):
        with pytest.raises((NotFoundError, ValidationFailedError)):
            client.call("get_secret", agent, name)


def test_mcp_servers(server: Any, connect: Connect, colour: str) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    if colour != "sync":
        pytest.skip("a process more shows nothing more")
    client = connect(server.runtime_url, server.runtime_token)
    name = fresh("tools")
    config = {"name": name, "command": [sys.executable, str(TOOLS_SERVER)]}
    client.call("add_mcp_server", config)
    with pytest.raises(ConflictError):
        client.call("add_mcp_server", {**config, "timeout_seconds": 7})
    client.call("connect_mcp_server", name)
    try:
        info = client.call("get_mcp_server", name)
        assert info.status == "connected"
        tools = client.call("list_mcp_tools", name)
        assert info.tools_count == len(tools) > 0
        assert {one.server_name for one in tools} == {name}
        client.call("list_mcp_resources", name)
        assert name in [one.server_name for one in client.call("list_mcp_servers")]
        with pytest.raises(NotFoundError):
            client.call("call_mcp_tool", name, "no-such-tool")
        client.call("disconnect_mcp_server", name)
        assert client.call("get_mcp_server", name).status == "disconnected"
    finally:
        client.call("remove_mcp_server", name)
    with pytest.raises(NotFoundError):
        client.call("get_mcp_server", name)


def test_knowledge(client: Client, agent: str, tmp_path: Path) -> None:
    item = {
        "id": fresh("doc"),
        "content": "This is important documentation about the system: set the environment up.",
        "metadata": {
            "source": "documentation.md",
            "source_type": "document",
            "timestamp": datetime.now(),
            "agent_id": agent,
        },
    }
    client.call("add_knowledge_item", item)
    assert client.call("get_knowledge_item", item["id"]).content == item["content"]
    query = {"query": "documentation about the system", "agent_id": agent}
    found = client.call("search_knowledge", {**query, "similarity_threshold": 0.2})
    assert found.results[0].item.id == item["id"]
    context = client.call("get_context", {**query, "max_context_items": 1})
    assert context.sources == ["documentation.md"]

    file = tmp_path / "guide.md"
    file.write_text("The bell rings at noon. " * 60)
    told = client.call("ingest_file", file, agent_id=agent, chunk_size=200, chunk_overlap=20)
    assert told.chunks == len(told.item_ids) > 1
    listed = [one.id for one in client.read("iter_knowledge", agent, limit=3)]
    assert sorted(listed) == sorted([item["id"], *told.item_ids])
    client.call("delete_knowledge_item", item["id"])
    with pytest.raises(NotFoundError):
        client.call("get_knowledge_item", item["id"])


SOURCE = """
agent {name} {{
    name: "Webhook Handler"
    trigger push {{ on_push: main }}
    action main {{ parse_payload() }}
}}
"""


def test_source_is_compiled_and_deployed(client: Client) -> None:
    pytest.importorskip("lark", reason="the extra dev is not installed")
    name = fresh("handler").replace("-", "_")
    source = {"dsl_content": SOURCE.format(name=name), "agent_name": name}
    checked = client.call("compile_dsl", {**source, "validate_only": True})
    assert checked.success
    assert checked.agent_id is None
    wrong = client.call("compile_dsl", {**source, "dsl_content": "agent {"})
    assert not wrong.success
    assert wrong.errors
    compiled = client.call("compile_dsl", source)
    deployed = client.call("deploy_agent", {"agent_id": compiled.agent_id})
    running_ = client.call("wait_for_deployment", deployed.deployment_id, 20, **QUICK)
    assert running_.status == "running"
    assert running_.endpoint_url
    assert deployed.deployment_id in [
        one.deployment_id for one in client.call("list_agent_deployments", compiled.agent_id)
    ]
    client.call("stop_agent_deployment", deployed.deployment_id)
    assert client.call("get_agent_deployment", deployed.deployment_id).status == "stopped"
    with pytest.raises(NotFoundError):
        client.call("deploy_agent", {"agent_id": "no-such-agent"})


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_http_input(client: Client, agent: str) -> None:
    config = {"agent_id": agent, "port": free_port(), "auth_header": "Bearer in-1"}
    made = client.call("create_http_input_server", {"config": config})
    try:
        client.call("start_http_input_server", made.server_id)
        assert client.call("get_http_input_server", made.server_id).status == "running"
        assert made.server_id in [one.server_id for one in client.call("list_http_input_servers")]
        triggered = client.call(
            "trigger_webhook", {"server_id": made.server_id, "payload": {"prompt": "hello"}}
        )
        assert (triggered.agent_id, triggered.response_code) == (agent, 200)
        assert client.call("get_http_input_metrics", made.server_id)
        changed = client.call(
            "update_http_input_server",
            {"server_id": made.server_id, "config": {**config, "concurrency": 2}},
        )
        assert changed.config.concurrency == 2
        client.call("stop_http_input_server", made.server_id)
        assert client.call("get_http_input_server", made.server_id).status == "stopped"
    finally:
        client.call("delete_http_input_server", made.server_id)


def test_schedules(client: Client, agent: str) -> None:
    made = client.call(
        "schedules.create",
        {"name": fresh("nightly"), "cron_expression": "0 3 * * *", "agent_name": agent},
    )
    job = made.job_id
    assert made.next_run > datetime.now(UTC)
    assert job in [one.job_id for one in client.call("schedules.list")]
    assert client.call("schedules.pause", job).status == "paused"
    assert client.call("schedules.get", job).status == "paused"
    assert client.call("schedules.resume", job).status == "active"
    assert client.call("schedules.update", job, {"timezone": "Europe/Berlin"}).job_id == job
    assert len(client.call("schedules.next_runs", job, 3).next_runs) == 3
    assert client.call("schedules.trigger", job).status == "triggered"
    for _ in range(200):
        history = client.call("schedules.history", job)
        if history and history[0].completed_at is not None:
            break
        client.turn()
    assert history[0].status == "succeeded"
    assert client.call("schedules.health").is_running
    assert client.call("schedules.delete", job).deleted
    with pytest.raises(NotFoundError):
        client.call("schedules.get", job)


def test_channels(client: Client, agent: str) -> None:
    config = {"agent": agent}
    made = client.call(
        "channels.register", {"name": fresh("ops"), "platform": "slack", "config": config}
    )
    assert made.id in [one.id for one in client.call("channels.list")]
    client.call("channels.start", made.id)
    assert client.call("channels.health", made.id).connected
    with pytest.raises(PermissionDeniedError):
        client.call("channels.send", made.id, "U1", "hello")
    mapping = {"platform_user_id": "U1", "symbiont_user_id": "ada", "display_name": "Ada"}
    client.call("channels.add_mapping", made.id, mapping)
    assert "hello" in json.dumps(client.call("channels.send", made.id, "U1", "hello"))
    assert [one.display_name for one in client.call("channels.list_mappings", made.id)] == ["Ada"]
    client.call("channels.remove_mapping", made.id, "U1")
    assert client.call("channels.query_audit", made.id)
    client.call("channels.stop", made.id)
    assert client.call("channels.delete", made.id).deleted


def test_events(client: Client) -> None:
    name = fresh("watched")
    agent = {
        "id": name,
        "name": name,
        "description": "",
        "system_prompt": "",
        "tools": [],
        "model": "echo",
        "temperature": 0,
        "top_p": 1,
        "max_tokens": 9,
    }
    client.call("create_agent", agent)
    # From the first that is still held, so that it cannot be missed.
    with client.read("events", name, last_event_id="0", idle_timeout=20) as stream:
        first = next(stream)
        assert (first.type, first.agent_id) == ("agent.created", name)
        last = stream.raw.last_event_id
    client.call("update_agent", name, {"name": "Other"})
    with client.read("events", name, last_event_id=last, idle_timeout=20) as stream:
        assert next(stream).type == "agent.updated"


def test_a_request_the_server_refuses_names_the_fields(client: Client) -> None:
    with pytest.raises(InvalidArgumentError):
        client.call("create_agent", {"id": "x"})
    with pytest.raises(ValidationFailedError) as caught:
        client.call("update_agent", fresh_agent(client), {"temperature": "hot"})
    assert "temperature" in json.dumps(caught.value.details)


def fresh_agent(client: Client) -> str:
    name = fresh("plain")
    client.call(
        "create_agent",
        {
            "id": name,
            "name": name,
            "description": "",
            "system_prompt": "",
            "tools": [],
            "model": "echo",
            "temperature": 0,
            "top_p": 1,
            "max_tokens": 9,
        },
    )
    return name
