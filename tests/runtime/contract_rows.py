"""The rows of the contract: a call, what it sends, what it is answered, what it returns."""

from __future__ import annotations

from typing import Any, NamedTuple

from ostiary.runtime import models as m

from .conftest import STATUS, TOOL, review

NOW = "2031-02-03T04:05:06Z"
GONE = "GONE"


class Row(NamedTuple):
    """One call. `returned` is a model, or what the call returns; None is what was answered."""

    call: str
    arguments: tuple[Any, ...]
    sent: str
    body: Any
    answered: Any
    returned: Any = None
    before: int = 0
    """How many requests are answered with an empty 404 before the one shown."""


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
METRICS = {
    "uptime_seconds": 91,
    "memory_usage_bytes": 104857600,
    "memory_usage_percent": 1.5,
    "cpu_usage_percent": 3.5,
    "disk_usage_bytes": 1,
    "disk_usage_percent": 0.5,
    "active_agents": 1,
    "total_agents": 2,
    "secrets_count": 1,
    "mcp_connections": 1,
    "vector_db_items": 1,
}
AGENT_METRICS = {
    "agent_id": "agent-7",
    "tasks_completed": 4,
    "tasks_failed": 0,
    "average_response_time_ms": 12.5,
    "memory_usage_bytes": 1048576,
    "cpu_usage_percent": 0.5,
    "last_activity": NOW,
    "uptime_seconds": 90,
}
PAGE = {"page": 1, "limit": 20, "total": 1, "has_next": False}
RUN = {"execution_id": "ex-1", "status": "completed", "started_at": NOW, "result": {"ok": True}}
DONE = {"execution_id": "ex-2", "status": "completed", "timestamp": NOW}
FINDING = {
    "finding_id": "f-1",
    "severity": "medium",
    "category": "data_exposure",
    "title": "t",
    "description": "d",
    "confidence": 0.75,
}
ANALYSIS = {
    "analysis_id": "an-1",
    "risk_score": 35,
    "findings": [FINDING],
    "recommendations": ["r"],
    "completed_at": NOW,
}
SIGNATURE = {
    "signature": "MEUC",
    "signed_at": NOW,
    "signer_id": "key-1",
    "signature_algorithm": "ECDSA_P256",
}
MCP = {
    "server_name": "fs",
    "status": "connected",
    "pid": 4242,
    "connected_at": NOW,
    "tools_count": 2,
    "resources_count": 1,
}
ITEM = {
    "id": "k-1",
    "content": "c",
    "metadata": {
        "source": "a.md",
        "source_type": "document",
        "timestamp": NOW,
        "agent_id": "agent-7",
    },
}
DEPLOYED = {
    "deployment_id": "dp-1",
    "agent_id": "x",
    "status": "running",
    "deployed_at": NOW,
    "endpoint_url": "http://127.0.0.1:8080/webhook/x",
}
LISTENER_CONFIG = {
    "bind_address": "127.0.0.1",
    "port": 8081,
    "path": "/webhook",
    "agent_id": "agent-7",
    "max_body_bytes": 65536,
    "concurrency": 10,
    "forward_headers": [],
    "cors_enabled": False,
    "audit_enabled": True,
}
LISTENER = {
    "server_id": "in-1",
    "config": LISTENER_CONFIG,
    "status": "running",
    "requests_processed": 0,
    "active_connections": 0,
}
SCHEDULE = {
    "job_id": "job-1",
    "name": "n",
    "cron_expression": "0 */5 * * * *",
    "timezone": "UTC",
    "status": "active",
    "enabled": True,
    "next_run": NOW,
    "run_count": 3,
}
SCHEDULE_DETAIL = {**SCHEDULE, "one_shot": False, "failure_count": 0}
CHANNEL = {"id": "ch-1", "name": "ops", "platform": "slack", "status": "stopped"}
MAPPING = {
    "platform_user_id": "U1",
    "platform": "slack",
    "symbiont_user_id": "ada",
    "roles": [],
    "verified": False,
}

SYSTEM = [
    Row(
        "health_check",
        (),
        "GET /health",
        None,
        {"status": "healthy", "uptime_seconds": 91, "timestamp": NOW, "version": "0.1.0"},
        m.HealthResponse,
    ),
    Row("get_metrics", (), "GET /metrics", None, METRICS, m.SystemMetrics),
    Row(
        "get_agent_metrics",
        ("agent-7",),
        "GET /agents/agent-7/metrics",
        None,
        AGENT_METRICS,
        m.AgentMetrics,
    ),
    Row(
        "get_status",
        (),
        "GET /status",
        None,
        {
            "version": "1.19.0",
            "healthy": True,
            "agent_count": 1,
            "schedule_count": 0,
            "channel_count": 0,
        },
        m.SystemStatus,
    ),
]

AGENTS = [
    Row("list_agents", (), "GET /agents", None, ["agent-7", "agent-9"]),
    Row(
        "list_agent_details",
        (),
        "GET /agents?detail=true",
        None,
        [{"id": "agent-7", "name": "Helper", "state": "idle"}],
        m.AgentSummary,
    ),
    Row(
        "get_agent_status",
        ("agent-7",),
        "GET /agents/agent-7/status",
        None,
        STATUS,
        m.AgentStatusResponse,
    ),
    Row(
        "get_agent_status",
        ("agent-7",),
        "GET /agents/agent-7",
        None,
        STATUS,
        m.AgentStatusResponse,
        1,
    ),
    Row("create_agent", (AGENT,), "POST /agents", AGENT, {"id": "agent-7", "status": "created"}),
    Row(
        "update_agent",
        ("agent-7", {"name": "Other"}),
        "PUT /agents/agent-7",
        {"name": "Other"},
        {"id": "agent-7", "status": "updated"},
    ),
    Row(
        "delete_agent",
        ("agent-7",),
        "DELETE /agents/agent-7",
        None,
        {"id": "agent-7", "status": "deleted"},
    ),
    Row(
        "execute_agent",
        ("agent-7", {"question": "why?"}),
        "POST /agents/agent-7/execute",
        {"input": {"question": "why?"}},
        {"execution_id": "ex-2", "status": "execution_started"},
        m.AgentExecution,
    ),
    Row(
        "get_agent_execution",
        ("agent-7", "ex-2"),
        "GET /agents/agent-7/executions/ex-2",
        None,
        {**DONE, "agent_id": "agent-7", "result": [1]},
        m.AgentExecution,
    ),
    Row(
        "cancel_agent_execution",
        ("agent-7", "ex-2"),
        "POST /agents/agent-7/executions/ex-2/cancel",
        None,
        {"execution_id": "ex-2", "status": "cancelled"},
        m.AgentExecution,
    ),
    Row(
        "get_agent_history",
        ("agent-7",),
        "GET /agents/agent-7/history",
        None,
        {"history": [DONE]},
        m.AgentExecution,
    ),
    Row(
        "send_message",
        ("agent-7", "agent-9", "hi", 60, "lunch"),
        "POST /agents/agent-7/messages",
        {"sender": "agent-9", "payload": "hi", "ttl_seconds": 60, "topic": "lunch"},
        {"message_id": "m-1", "status": "pending"},
        m.MessageReceipt,
    ),
    Row(
        "receive_messages",
        ("agent-7",),
        "GET /agents/agent-7/messages",
        None,
        {
            "messages": [
                {
                    "message_id": "m-1",
                    "sender": "agent-9",
                    "payload": "hi",
                    "message_type": "direct",
                    "timestamp_secs": 1.5,
                }
            ]
        },
        m.AgentMessage,
    ),
    Row(
        "get_message_status",
        ("m-1",),
        "GET /messages/m-1/status",
        None,
        {"message_id": "m-1", "status": "delivered"},
        m.MessageReceipt,
    ),
    Row(
        "send_heartbeat",
        ("agent-7", "active", {"zone": "b"}, "sorted"),
        "POST /agents/agent-7/heartbeat",
        {"state": "active", "metadata": {"zone": "b"}, "last_result": "sorted"},
        {},
        GONE,
    ),
    Row(
        "push_agent_event",
        ("agent-7", "RunCompleted", {"n": None}),
        "POST /agents/agent-7/events",
        {"event_type": "RunCompleted", "payload": {"n": None}},
        {},
        GONE,
    ),
    Row(
        "list_approvals",
        (),
        "GET /approvals",
        None,
        [
            {
                "id": "ap-1",
                "agent_id": "agent-7",
                "kind": "tool_call",
                "summary": "s",
                "status": "pending",
            }
        ],
        m.HeldAction,
    ),
    Row("approve", ("ap-1",), "POST /approvals/ap-1/approve", {}, {}),
    Row("deny", ("ap-1", "no"), "POST /approvals/ap-1/deny", {"reason": "no"}, {"id": "ap-1"}),
]

WORKFLOWS = [
    Row(
        "execute_workflow",
        ({"workflow_id": "wf-1", "parameters": {"n": None}},),
        "POST /workflows/execute",
        {"workflow_id": "wf-1", "parameters": {"n": None}},
        RUN,
    ),
    Row(
        "execute_workflow",
        (m.WorkflowExecutionRequest(workflow_id="wf-1", parameters={}, agent_id="agent-7"),),
        "POST /workflows",
        {"workflow_id": "wf-1", "parameters": {}, "agent_id": "agent-7"},
        RUN,
        None,
        1,
    ),
    Row(
        "get_workflow_execution",
        ("ex-1",),
        "GET /workflows/executions/ex-1",
        None,
        RUN,
        m.WorkflowExecutionResponse,
    ),
    Row(
        "list_workflow_executions",
        (2, 10, "wf-1", "completed"),
        "GET /workflows/executions?page=2&limit=10&workflow_id=wf-1&status=completed",
        None,
        {"executions": [RUN], "pagination": PAGE},
        m.WorkflowExecutionPage,
    ),
]

REVIEWS = [
    Row(
        "submit_tool_for_review",
        ({"tool": TOOL, "submitted_by": "dev@acme.test"},),
        "POST /tool-review/sessions",
        {"tool": TOOL, "submitted_by": "dev@acme.test", "priority": "normal"},
        {"review_id": "rv-1", "status": "submitted", "submitted_at": NOW},
        m.ReviewSessionResponse,
    ),
    Row(
        "get_review_session",
        ("rv-1",),
        "GET /tool-review/sessions/rv-1",
        None,
        review("pending_review"),
        m.ReviewSession,
    ),
    Row(
        "list_review_sessions",
        (),
        "GET /tool-review/sessions?page=1&limit=20",
        None,
        {"sessions": [review("signed")], "pagination": PAGE},
        m.ReviewSessionList,
    ),
    Row(
        "list_review_sessions",
        (1, 10, "pending_review", "dev@acme.test"),
        "GET /tool-review/sessions?page=1&limit=10&status=pending_review&author=dev%40acme.test",
        None,
        {"sessions": [], "pagination": PAGE},
        m.ReviewSessionList,
    ),
    Row(
        "review_queue",
        (),
        "GET /tool-review/queue?page=1&limit=20",
        None,
        {"sessions": [], "pagination": PAGE},
        m.ReviewSessionList,
    ),
    Row(
        "get_review_statistics",
        (),
        "GET /tool-review/stats",
        None,
        {"total": 2, "by_status": {"signed": 2}},
        m.ReviewStatistics,
    ),
    Row(
        "get_analysis_results",
        ("an-1",),
        "GET /tool-review/analysis/an-1",
        None,
        ANALYSIS,
        m.AnalysisResults,
    ),
    Row(
        "claim_review",
        ("rv-1", "rev@acme.test"),
        "POST /tool-review/sessions/rv-1/claim",
        {"reviewer_id": "rev@acme.test"},
        review("under_review"),
        m.ReviewSession,
    ),
    Row(
        "submit_human_review_decision",
        ("rv-1", {"decision": "approve", "comments": "fine", "reviewer_id": "rev@acme.test"}),
        "POST /tool-review/sessions/rv-1/decisions",
        {"decision": "approve", "comments": "fine", "reviewer_id": "rev@acme.test"},
        {"review_id": "rv-1", "decision": "approve", "status": "approved", "decided_at": NOW},
    ),
    Row(
        "sign_approved_tool",
        ({"review_id": "rv-1", "signing_key_id": "key-1"},),
        "POST /tool-review/sign",
        {"review_id": "rv-1", "signing_key_id": "key-1"},
        SIGNATURE,
        m.SigningResponse,
    ),
    Row(
        "get_signed_tool",
        ("rv-1",),
        "GET /tool-review/signed/rv-1",
        None,
        {**SIGNATURE, "tool": TOOL, "review_id": "rv-1"},
        m.SignedTool,
    ),
    Row(
        "list_signing_keys",
        (),
        "GET /tool-review/keys",
        None,
        [{"key_id": "key-1", "algorithm": "Ed25519", "public_key": "pem"}],
        m.SigningKey,
    ),
    Row(
        "create_signing_key",
        ("key-2", "ECDSA_P256"),
        "POST /tool-review/keys",
        {"key_id": "key-2", "algorithm": "ECDSA_P256"},
        {"key_id": "key-2", "algorithm": "ECDSA_P256", "public_key": "pem"},
        m.SigningKey,
    ),
]

SECRETS = [
    Row(
        "configure_secret_backend",
        (
            {
                "backend_type": "vault",
                "vault_config": {
                    "url": "https://vault.test",
                    "auth_method": "token",
                    "token": "t-1",
                },
            },
        ),
        "POST /secrets/config",
        {
            "backend_type": "vault",
            "vault_config": {"url": "https://vault.test", "auth_method": "token", "token": "t-1"},
        },
        {"status": "configured", "backend_type": "vault"},
    ),
    Row(
        "get_secret_backend",
        (),
        "GET /secrets/config",
        None,
        {"backend_type": "sealed", "status": "ready"},
        m.SecretBackendInfo,
    ),
    Row(
        "store_secret",
        (m.SecretRequest(agent_id="agent-7", secret_name="db", secret_value="s"),),
        "POST /secrets",
        {"agent_id": "agent-7", "secret_name": "db", "secret_value": "s"},
        {"secret_name": "db", "agent_id": "agent-7", "created_at": NOW},
        m.SecretResponse,
    ),
    Row("get_secret", ("agent-7", "db"), "GET /secrets/agent-7/db", None, {"value": "s"}, "s"),
    Row(
        "list_secrets",
        ("agent-7",),
        "GET /secrets/agent-7",
        None,
        {"secrets": ["db"], "agent_id": "agent-7"},
        m.SecretListResponse,
    ),
    Row(
        "delete_secret",
        ("agent-7", "db"),
        "DELETE /secrets/agent-7/db",
        None,
        {"status": "deleted"},
    ),
]

MCP_SERVERS = [
    Row(
        "add_mcp_server",
        ({"name": "fs", "command": ["npx", "srv", "/data"], "env": {"A": "1"}},),
        "POST /mcp/servers",
        {
            "name": "fs",
            "command": ["npx", "srv", "/data"],
            "env": {"A": "1"},
            "timeout_seconds": 30,
        },
        {"status": "added", "name": "fs"},
    ),
    Row("list_mcp_servers", (), "GET /mcp/servers", None, [MCP], m.McpConnectionInfo),
    Row("get_mcp_server", ("fs",), "GET /mcp/servers/fs", None, MCP, m.McpConnectionInfo),
    Row(
        "remove_mcp_server",
        ("fs",),
        "DELETE /mcp/servers/fs",
        None,
        {"name": "fs", "status": "removed"},
    ),
    Row(
        "connect_mcp_server",
        ("fs",),
        "POST /mcp/servers/fs/connect",
        None,
        {"server_name": "fs", "status": "connected"},
    ),
    Row(
        "disconnect_mcp_server",
        ("fs",),
        "POST /mcp/servers/fs/disconnect",
        None,
        {"server_name": "fs", "status": "disconnected"},
    ),
    Row(
        "list_mcp_tools",
        ("fs",),
        "GET /mcp/tools?server=fs",
        None,
        [
            {
                "name": "read",
                "description": "d",
                "server_name": "fs",
                "schema": {"type": "object"},
                "verified": False,
            }
        ],
        m.McpToolInfo,
    ),
    Row("list_mcp_tools", (), "GET /mcp/tools", None, [], m.McpToolInfo),
    Row(
        "list_mcp_resources",
        (),
        "GET /mcp/resources",
        None,
        [{"uri": "file:///data/a", "name": "a", "mime_type": "text/plain", "server_name": "fs"}],
        m.McpResourceInfo,
    ),
    Row(
        "call_mcp_tool",
        ("fs", "read", {"path": "/a"}),
        "POST /mcp/servers/fs/tools/call",
        {"name": "read", "arguments": {"path": "/a"}},
        {"content": [{"type": "text", "text": "x"}], "is_error": False},
        m.McpToolResult,
    ),
    Row(
        "read_mcp_resource",
        ("fs", "file:///data/a b"),
        "GET /mcp/servers/fs/resources/read?uri=file%3A%2F%2F%2Fdata%2Fa%20b",
        None,
        {"contents": [{"uri": "file:///data/a b", "text": "x"}]},
        m.McpResourceContents,
    ),
]

KNOWLEDGE = [
    Row(
        "add_knowledge_item",
        (ITEM,),
        "POST /knowledge",
        ITEM,
        {"id": "k-1", "status": "stored"},
    ),
    Row("get_knowledge_item", ("k-1",), "GET /knowledge/k-1", None, ITEM, m.KnowledgeItem),
    Row(
        "list_knowledge",
        (1, 5, "agent-7", "document"),
        "GET /knowledge?page=1&limit=5&agent_id=agent-7&source_type=document",
        None,
        {"items": [ITEM], "pagination": PAGE},
        m.KnowledgePage,
    ),
    Row(
        "delete_knowledge_item",
        ("k-1",),
        "DELETE /knowledge/k-1",
        None,
        {"id": "k-1", "status": "deleted"},
    ),
    Row(
        "ingest_text",
        ("long", "a.md"),
        "POST /knowledge/ingest",
        {"content": "long", "source": "a.md", "source_type": "document"},
        {"source": "a.md", "item_ids": ["a-0"], "chunks": 1},
        m.IngestResult,
    ),
    Row(
        "search_knowledge",
        ({"query": "q", "agent_id": "agent-7", "source_types": ["document"], "limit": 5},),
        "POST /knowledge/search",
        {
            "query": "q",
            "agent_id": "agent-7",
            "source_types": ["document"],
            "limit": 5,
            "similarity_threshold": 0.7,
        },
        {
            "results": [{"item": ITEM, "similarity_score": 0.75}],
            "query": "q",
            "total_results": 1,
        },
        m.VectorSearchResponse,
    ),
    Row(
        "get_context",
        (m.ContextQuery(query="q", agent_id="agent-7", max_context_items=3),),
        "POST /rag/context",
        {
            "query": "q",
            "agent_id": "agent-7",
            "max_context_items": 3,
            "include_conversation_history": True,
        },
        {"context_items": ["c"], "sources": ["a.md"], "query": "q", "relevance_scores": [0.75]},
        m.ContextResponse,
    ),
]

DEPLOYMENTS = [
    Row(
        "compile_dsl",
        ({"dsl_content": "agent x { }", "agent_name": "x"},),
        "POST /dsl/compile",
        {"dsl_content": "agent x { }", "agent_name": "x", "validate_only": False},
        {"success": True, "agent_id": "x", "errors": [], "warnings": [], "compiled_at": NOW},
        m.DslCompileResponse,
    ),
    Row(
        "deploy_agent",
        ({"agent_id": "x", "environment": "production", "config_overrides": {"n": 10}},),
        "POST /agents/deploy",
        {"agent_id": "x", "environment": "production", "config_overrides": {"n": 10}},
        DEPLOYED,
        m.AgentDeployResponse,
    ),
    Row(
        "get_agent_deployment",
        ("dp-1",),
        "GET /agents/deployments/dp-1",
        None,
        DEPLOYED,
        m.AgentDeployResponse,
    ),
    Row(
        "list_agent_deployments",
        ("x",),
        "GET /agents/deployments?agent_id=x",
        None,
        [DEPLOYED],
        m.AgentDeployResponse,
    ),
    Row(
        "rollback_agent_deployment",
        ("dp-1",),
        "POST /agents/deployments/dp-1/rollback",
        None,
        DEPLOYED,
        m.AgentDeployResponse,
    ),
    Row(
        "stop_agent_deployment",
        ("dp-1",),
        "POST /agents/deployments/dp-1/stop",
        None,
        {"deployment_id": "dp-1", "status": "stopped"},
    ),
]

HTTP_INPUT = [
    Row(
        "create_http_input_server",
        ({"config": {"agent_id": "agent-7", "bind_address": "127.0.0.1"}},),
        "POST /http-input/servers",
        {"config": LISTENER_CONFIG},
        LISTENER,
        m.HttpInputServerInfo,
    ),
    Row(
        "list_http_input_servers",
        (),
        "GET /http-input/servers",
        None,
        [LISTENER],
        m.HttpInputServerInfo,
    ),
    Row(
        "get_http_input_server",
        ("in-1",),
        "GET /http-input/servers/in-1",
        None,
        LISTENER,
        m.HttpInputServerInfo,
    ),
    Row(
        "update_http_input_server",
        (
            m.HttpInputUpdateRequest(
                server_id="in-1",
                config=m.HttpInputConfig(agent_id="agent-7", bind_address="127.0.0.1"),
            ),
        ),
        "PUT /http-input/servers/in-1",
        {"server_id": "in-1", "config": LISTENER_CONFIG},
        LISTENER,
        m.HttpInputServerInfo,
    ),
    Row(
        "start_http_input_server",
        ("in-1",),
        "POST /http-input/servers/in-1/start",
        None,
        {"status": "running"},
    ),
    Row(
        "stop_http_input_server",
        ("in-1",),
        "POST /http-input/servers/in-1/stop",
        None,
        {"status": "stopped"},
    ),
    Row(
        "delete_http_input_server",
        ("in-1",),
        "DELETE /http-input/servers/in-1",
        None,
        {"status": "deleted"},
    ),
    Row(
        "trigger_webhook",
        ({"server_id": "in-1", "payload": {"prompt": "scan"}},),
        "POST /http-input/servers/in-1/trigger",
        {"server_id": "in-1", "payload": {"prompt": "scan"}, "headers": {}},
        {
            "status": "completed",
            "response_code": 200,
            "response_body": {"n": 1},
            "processing_time_ms": 1.5,
            "agent_id": "agent-7",
        },
        m.WebhookTriggerResponse,
    ),
    Row(
        "get_http_input_metrics",
        ("in-1",),
        "GET /http-input/servers/in-1/metrics",
        None,
        {"requests_total": 3},
    ),
]

SCHEDULES = [
    Row("schedules.list", (), "GET /schedules", None, [SCHEDULE], m.ScheduleSummary),
    Row(
        "schedules.create",
        ({"name": "n", "cron_expression": "0 */5 * * * *", "agent_name": "greeter"},),
        "POST /schedules",
        {
            "name": "n",
            "cron_expression": "0 */5 * * * *",
            "agent_name": "greeter",
            "timezone": "UTC",
            "policy_ids": [],
            "one_shot": False,
        },
        {"job_id": "job-1", "next_run": NOW, "status": "created"},
        m.CreateScheduleResponse,
    ),
    Row(
        "schedules.get",
        ("job-1",),
        "GET /schedules/job-1",
        None,
        SCHEDULE_DETAIL,
        m.ScheduleDetail,
    ),
    Row(
        "schedules.update",
        ("job-1", {"one_shot": True}),
        "PUT /schedules/job-1",
        {"one_shot": True},
        SCHEDULE_DETAIL,
        m.ScheduleDetail,
    ),
    Row(
        "schedules.delete",
        ("job-1",),
        "DELETE /schedules/job-1",
        None,
        {"job_id": "job-1", "deleted": True},
        m.DeleteScheduleResponse,
    ),
    *(
        Row(
            f"schedules.{action}",
            ("job-1",),
            f"POST /schedules/job-1/{action}",
            None,
            {"job_id": "job-1", "action": action, "status": "active"},
            m.ScheduleActionResponse,
        )
        for action in ("pause", "resume", "trigger")
    ),
    Row(
        "schedules.history",
        ("job-1", 5),
        "GET /schedules/job-1/history?limit=5",
        None,
        {"job_id": "job-1", "history": [{"run_id": "r", "started_at": NOW, "status": "failed"}]},
        m.ScheduleRunEntry,
    ),
    Row(
        "schedules.next_runs",
        ("job-1",),
        "GET /schedules/job-1/next-runs?count=10",
        None,
        {"job_id": "job-1", "next_runs": [NOW]},
        m.NextRunsResponse,
    ),
    Row(
        "schedules.health",
        (),
        "GET /health/scheduler",
        None,
        {
            "is_running": True,
            "store_accessible": True,
            "jobs_total": 1,
            "jobs_active": 1,
            "jobs_paused": 0,
            "jobs_dead_letter": 0,
            "global_active_runs": 0,
            "max_concurrent": 4,
            "runs_total": 9,
            "runs_succeeded": 8,
            "runs_failed": 1,
            "average_execution_time_ms": 1.5,
            "longest_run_ms": 9.5,
        },
        m.SchedulerHealth,
    ),
]

CHANNELS = [
    Row("channels.list", (), "GET /channels", None, [CHANNEL], m.ChannelSummary),
    Row(
        "channels.register",
        ({"name": "ops", "platform": "slack", "config": {"token": "t"}},),
        "POST /channels",
        {"name": "ops", "platform": "slack", "config": {"token": "t"}},
        CHANNEL,
        m.RegisterChannelResponse,
    ),
    Row(
        "channels.get",
        ("ch-1",),
        "GET /channels/ch-1",
        None,
        {**CHANNEL, "config": {}},
        m.ChannelDetail,
    ),
    Row(
        "channels.update",
        ("ch-1", {"config": {"token": "u"}}),
        "PUT /channels/ch-1",
        {"config": {"token": "u"}},
        {**CHANNEL, "config": {}},
        m.ChannelDetail,
    ),
    Row(
        "channels.delete",
        ("ch-1",),
        "DELETE /channels/ch-1",
        None,
        {"id": "ch-1", "deleted": True},
        m.DeleteChannelResponse,
    ),
    *(
        Row(
            f"channels.{action}",
            ("ch-1",),
            f"POST /channels/ch-1/{action}",
            None,
            {"id": "ch-1", "action": action, "status": "x"},
            m.ChannelActionResponse,
        )
        for action in ("start", "stop")
    ),
    Row(
        "channels.health",
        ("ch-1",),
        "GET /channels/ch-1/health",
        None,
        {
            "id": "ch-1",
            "connected": True,
            "platform": "slack",
            "channels_active": 1,
            "uptime_secs": 4,
        },
        m.ChannelHealth,
    ),
    Row(
        "channels.list_mappings",
        ("ch-1",),
        "GET /channels/ch-1/mappings",
        None,
        [MAPPING],
        m.IdentityMapping,
    ),
    Row(
        "channels.add_mapping",
        ("ch-1", {"platform_user_id": "U1", "symbiont_user_id": "ada", "display_name": "Ada"}),
        "POST /channels/ch-1/mappings",
        {
            "platform_user_id": "U1",
            "symbiont_user_id": "ada",
            "display_name": "Ada",
            "roles": [],
        },
        MAPPING,
        m.IdentityMapping,
    ),
    Row(
        "channels.remove_mapping",
        ("ch-1", "U1"),
        "DELETE /channels/ch-1/mappings/U1",
        None,
        {"deleted": True},
    ),
    Row(
        "channels.send",
        ("ch-1", "U1", "hi"),
        "POST /channels/ch-1/messages",
        {"user_id": "U1", "text": "hi"},
        {"reply": "hello"},
    ),
    Row(
        "channels.query_audit",
        ("ch-1", 7),
        "GET /channels/ch-1/audit?limit=7",
        None,
        {"entries": [{"timestamp": NOW, "event_type": "message"}]},
        m.ChannelAuditEntry,
    ),
]

ROWS = [
    *SYSTEM,
    *AGENTS,
    *WORKFLOWS,
    *REVIEWS,
    *SECRETS,
    *MCP_SERVERS,
    *KNOWLEDGE,
    *DEPLOYMENTS,
    *HTTP_INPUT,
    *SCHEDULES,
    *CHANNELS,
]
