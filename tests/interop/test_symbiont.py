"""The published client of the runtime guide, unmodified, against the embedded runtime.

All of its methods but `add_knowledge_item`, which never sends: that it fails by itself is
pinned here, so that nobody mistakes it for the server's doing.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import RunningVault, RuntimeOptions, running
from ostiary.runtime import Client, verify_tool

# It looks for a .env when it is imported, and says so to nobody.
symbiont = pytest.importorskip("symbiont", reason="the interop group is not installed")

pytestmark = [
    # It warns of itself: a deprecated call of pydantic's, a field that hides another.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

TOOLS_SERVER = Path(__file__).parents[1] / "mcp" / "tools_server.py"
# Of the guide: what it deploys.
SOURCE = """
agent webhook_handler {
    name: "Webhook Handler"
    trigger github_webhook {
        on_push: main
    }
    action process_webhook {
        parse_payload()
    }
}
"""
NOW = datetime.datetime.now(datetime.UTC)


def mean(parameters: dict[str, Any]) -> dict[str, float]:
    return {"mean": sum(parameters["values"]) / len(parameters["values"])}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    # It asks for its key.
    with running(runtime=RuntimeOptions(port=0, workflows={"mean": mean})) as one:
        yield one


@pytest.fixture(scope="module")
def client(server: RunningVault) -> Any:
    assert server.runtime_token is not None
    one = symbiont.Client(api_key=server.runtime_token.reveal(), base_url=server.runtime_url)
    one.create_agent(agent("agent-7"))
    return one


@pytest.fixture(scope="module")
def ours(server: RunningVault) -> Iterator[Client]:
    with Client(server.runtime_token, server.runtime_url) as one:
        yield one


def agent(name: str) -> Any:
    return symbiont.Agent(
        id=name,
        name="Helper",
        description="d",
        system_prompt="p",
        tools=["calculator"],
        model="m-1",
        temperature=0.7,
        top_p=0.9,
        max_tokens=1000,
    )


def tool(name: str) -> Any:
    return symbiont.Tool(
        name=name,
        description="A calculator.",
        schema=symbiont.ToolSchema(
            type="object", properties={"a": {"type": "number"}}, required=["a"]
        ),
        provider=symbiont.ToolProvider(name="acme", public_key_url="https://acme.test/key.pem"),
    )


def test_it_is_the_one_that_was_published() -> None:
    assert metadata.version("symbiont-sdk") == "0.3.0"


def test_all_of_its_methods_are_tried_here() -> None:
    mine = Path(__file__).read_text("utf-8")
    methods = [
        name
        for name, value in vars(symbiont.Client).items()
        if callable(value) and not name.startswith("_")
    ]
    assert len(methods) == 45
    assert [name for name in methods if f"client.{name}(" not in mine] == []
    assert all(hasattr(Client, name) for name in methods)


def test_the_system_and_its_agents(client: Any) -> None:
    health = client.health_check()
    assert health.status == "healthy"
    assert health.uptime_seconds >= 0
    assert client.create_agent(agent("agent-8"))["id"] == "agent-8"
    assert {"agent-7", "agent-8"} <= set(client.list_agents())
    status = client.get_agent_status("agent-8")
    assert (status.agent_id, status.state) == ("agent-8", symbiont.AgentState.IDLE)
    assert status.resource_usage.active_tasks == 0
    metrics = client.get_metrics()
    assert metrics.total_agents >= 2
    assert metrics.memory_usage_bytes > 0
    assert client.get_agent_metrics("agent-8").tasks_failed == 0


def test_a_workflow(client: Any) -> None:
    request = symbiont.WorkflowExecutionRequest(
        workflow_id="mean", parameters={"values": [1, 2, 6]}, agent_id="agent-7"
    )
    done = client.execute_workflow(request)
    assert done["status"] == "completed"
    assert done["result"] == {"mean": 3.0}


def test_a_review_from_submission_to_signature(client: Any, ours: Client) -> None:
    request = symbiont.ReviewSessionCreate(tool=tool("adder"), submitted_by="dev@acme.test")
    begun = client.submit_tool_for_review(request)
    assert begun.status == symbiont.ReviewStatus.SUBMITTED
    review = begun.review_id
    decision = symbiont.HumanReviewDecision(
        decision="approve", comments="fine", reviewer_id="rev@acme.test"
    )
    assert client.submit_human_review_decision(review, decision)["status"] == "approved"
    session = client.wait_for_review_completion(review, timeout=30)
    assert session.status == symbiont.ReviewStatus.APPROVED
    assert session.tool.tool_schema.properties == {"a": {"type": "number"}}
    assert client.get_review_session(review).submitted_by == "dev@acme.test"
    results = client.get_analysis_results(session.state.analysis_id)
    assert 0 <= results.risk_score <= 100
    page = client.list_review_sessions(1, 10, status="approved", author="dev@acme.test")
    assert [one.review_id for one in page.sessions] == [review]
    assert page.pagination["total"] == 1
    key = ours.create_signing_key("key-7", algorithm="Ed25519")
    signed = client.sign_approved_tool(
        symbiont.SigningRequest(review_id=review, signing_key_id="key-7")
    )
    fetched = client.get_signed_tool(review)
    assert fetched.signature == signed.signature
    assert fetched.review_id == review
    # What it got is what was signed.
    verify_tool(ours.get_signed_tool(review), key)


def test_secrets(client: Any) -> None:
    stored = client.store_secret(
        symbiont.SecretRequest(agent_id="agent-7", secret_name="db", secret_value="s-1")
    )
    assert (stored.secret_name, stored.updated_at) == ("db", None)
    assert client.get_secret("agent-7", "db") == "s-1"
    assert client.list_secrets("agent-7").secrets == ["db"]
    assert client.delete_secret("agent-7", "db")["status"] == "deleted"
    with pytest.raises(symbiont.NotFoundError):
        client.get_secret("agent-7", "db")


def test_another_place_for_secrets(client: Any) -> None:
    config = symbiont.SecretBackendConfig(
        backend_type=symbiont.SecretBackendType.ENCRYPTED_FILE,
        file_path="interop.json",
        encryption_key="a long enough passphrase of the test",
    )
    assert client.configure_secret_backend(config)["status"] == "configured"
    client.store_secret(
        symbiont.SecretRequest(agent_id="agent-7", secret_name="filed", secret_value="s-2")
    )
    assert client.get_secret("agent-7", "filed") == "s-2"


def test_an_mcp_server(client: Any) -> None:
    config = symbiont.McpServerConfig(
        name="tools", command=[sys.executable, str(TOOLS_SERVER)], env={"NODE_ENV": "production"}
    )
    assert client.add_mcp_server(config)["status"] == "added"
    assert [one.server_name for one in client.list_mcp_servers()] == ["tools"]
    assert client.get_mcp_server("tools").status == symbiont.McpConnectionStatus.DISCONNECTED
    assert client.connect_mcp_server("tools")["status"] == "connected"
    tools = client.list_mcp_tools("tools")
    assert {one.server_name for one in tools} == {"tools"}
    assert client.get_mcp_server("tools").tools_count == len(tools) > 0
    assert {one.server_name for one in client.list_mcp_resources()} <= {"tools"}
    assert client.disconnect_mcp_server("tools")["status"] == "disconnected"


def test_knowledge_which_it_cannot_add(client: Any, ours: Client) -> None:
    about = {"source": "a.md", "source_type": "document", "timestamp": NOW, "agent_id": "agent-7"}
    item = symbiont.KnowledgeItem(
        id="k-1",
        content="To configure the system, set the API key.",
        metadata=symbiont.VectorMetadata(**about),
    )
    with pytest.raises(TypeError, match="not JSON serializable"):
        client.add_knowledge_item(item)
    ours.add_knowledge_item({"id": "k-1", "content": item.content, "metadata": about})
    found = client.search_knowledge(
        symbiont.VectorSearchRequest(
            query="configure the system", agent_id="agent-7", similarity_threshold=0.1
        )
    )
    assert [one.item.id for one in found.results] == ["k-1"]
    context = client.get_context(symbiont.ContextQuery(query="configure", agent_id="agent-7"))
    assert context.context_items == [item.content]
    assert context.sources == ["a.md"]
    assert client.delete_knowledge_item("k-1")


def test_the_language_and_deployments(client: Any) -> None:
    compiled = client.compile_dsl(
        symbiont.DslCompileRequest(dsl_content=SOURCE, agent_name="webhook_handler")
    )
    assert compiled.success, compiled.errors
    broken = client.compile_dsl(
        symbiont.DslCompileRequest(dsl_content="agent {", agent_name="x", validate_only=True)
    )
    assert not broken.success
    assert broken.errors
    deployed = client.deploy_agent(
        symbiont.AgentDeployRequest(agent_id=compiled.agent_id, environment="production")
    )
    assert deployed.status == "running"
    deployment = deployed.deployment_id
    assert client.get_agent_deployment(deployment).endpoint_url == deployed.endpoint_url
    listed = client.list_agent_deployments(compiled.agent_id)
    assert [one.deployment_id for one in listed] == [deployment]
    assert client.stop_agent_deployment(deployment)["status"] == "stopped"


def test_http_input(client: Any) -> None:
    config = symbiont.HttpInputConfig(agent_id="agent-7", port=0)
    made = client.create_http_input_server(symbiont.HttpInputCreateRequest(config=config))
    server = made.server_id
    # Whatever is asked for.
    assert made.config.bind_address == "127.0.0.1"
    assert server in [one.server_id for one in client.list_http_input_servers()]
    changed = client.update_http_input_server(
        symbiont.HttpInputUpdateRequest(
            server_id=server,
            config=symbiont.HttpInputConfig(agent_id="agent-7", port=0, path="/in"),
        )
    )
    assert changed.config.path == "/in"
    assert client.start_http_input_server(server)["status"] == "running"
    assert client.get_http_input_server(server).status == "running"
    answered = client.trigger_webhook(
        symbiont.WebhookTriggerRequest(server_id=server, payload={"prompt": "hello"})
    )
    assert (answered.response_code, answered.agent_id) == (200, "agent-7")
    assert client.get_http_input_metrics(server)["requests_total"] == 1
    assert client.stop_http_input_server(server)["status"] == "stopped"
    assert client.delete_http_input_server(server)["status"] == "deleted"
    with pytest.raises(symbiont.NotFoundError):
        client.get_http_input_server(server)


def test_its_errors(client: Any, server: RunningVault) -> None:
    with pytest.raises(symbiont.NotFoundError) as missing:
        client.get_review_session("non-existent-review")
    assert "REVIEW_NOT_FOUND" in missing.value.response_text
    stranger = symbiont.Client(api_key="not-the-key", base_url=server.runtime_url)
    with pytest.raises(symbiont.AuthenticationError):
        stranger.list_agents()
    assert stranger.health_check().status == "healthy"
