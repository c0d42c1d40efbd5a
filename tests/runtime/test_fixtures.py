"""Recorded shapes: the guide's wire, and what the Rust runtime of today really sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ostiary.runtime import models as m
from ostiary.runtime.models import reader

AGENT = "3f0c6a52-7d55-4b0e-9d63-0c5e6f0a1b2c"
AT = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
TOOL = {
    "name": "adder",
    "description": "adds",
    "schema": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    "provider": {"name": "acme", "public_key_url": None},
}
SESSION = {
    "review_id": "rv-1",
    "tool": TOOL,
    "status": "pending_review",
    "state": {
        "type": "pending_review",
        "analysis_id": "an-1",
        "analysis_completed_at": "2026-03-01T10:00:04Z",
        "critical_findings": [],
    },
    "submitted_by": "dev@acme.test",
    "submitted_at": "2026-03-01T10:00:02Z",
    "priority": "normal",
}
ITEM = {
    "id": "k-1",
    "content": "c",
    "embedding": None,
    "metadata": {
        "source": "a.md",
        "source_type": "document",
        "chunk_index": None,
        "timestamp": "2026-03-01T10:00:00Z",
        "agent_id": "agent-7",
    },
}

# What a reply says, and some of what it must be read as.
GUIDE: list[tuple[Any, Any, dict[str, Any]]] = [
    (
        m.HealthResponse,
        {
            "status": "healthy",
            "uptime_seconds": 91,
            "timestamp": "2026-03-01T10:00:00Z",
            "version": "0.1.0",
        },
        {"uptime_seconds": 91, "timestamp": AT},
    ),
    (
        m.AgentStatusResponse,
        {
            "agent_id": "agent-7",
            "state": "idle",
            "last_activity": "2026-03-01T10:00:00Z",
            "resource_usage": {"memory_bytes": 1048576, "cpu_percent": 0.5, "active_tasks": 0},
        },
        {"state": "idle", "resource_usage.memory_bytes": 1048576, "last_activity": AT},
    ),
    (
        m.WorkflowExecutionResponse,
        {
            "execution_id": "ex-1",
            "status": "completed",
            "started_at": "2026-03-01T10:00:01Z",
            "result": {"ok": True},
        },
        {"result": {"ok": True}},
    ),
    (
        m.ReviewSessionResponse,
        {
            "review_id": "rv-1",
            "status": "submitted",
            "submitted_at": "2026-03-01T10:00:00Z",
            "estimated_completion": None,
        },
        {"status": "submitted", "submitted_at": AT, "estimated_completion": None},
    ),
    (
        m.ReviewSessionList,
        {
            "sessions": [SESSION],
            "pagination": {"page": 1, "limit": 10, "total": 1, "has_next": False},
        },
        {"sessions.0.tool.schema.required": ["a"], "sessions.0.state.analysis_id": "an-1",
         "pagination.total": 1},
    ),
    (
        m.AnalysisResults,
        {
            "analysis_id": "an-1",
            "risk_score": 35,
            "findings": [
                {
                    "finding_id": "f-1",
                    "severity": "medium",
                    "category": "data_exposure",
                    "title": "t",
                    "description": "d",
                    "confidence": 0.8,
                    "recommendation": None,
                }
            ],
            "recommendations": ["r"],
            "completed_at": "2026-03-01T10:00:00Z",
        },
        {"findings.0.severity": "medium", "risk_score": 35, "completed_at": AT},
    ),
    (
        m.SignedTool,
        {
            "tool": TOOL,
            "signature": "MEUC",
            "signed_at": "2026-03-01T10:00:00Z",
            "signer_id": "key-1",
            "signature_algorithm": "ECDSA_P256",
            "review_id": "rv-1",
        },
        {"tool.provider.name": "acme", "signed_at": AT},
    ),
    (
        m.SecretResponse,
        {
            "secret_name": "db",
            "agent_id": "agent-7",
            "created_at": "2026-03-01T10:00:00Z",
            "updated_at": None,
        },
        {"created_at": AT, "updated_at": None},
    ),
    (
        m.McpConnectionInfo,
        {
            "server_name": "fs",
            "status": "connected",
            "pid": 4242,
            "connected_at": "2026-03-01T10:00:00Z",
            "last_error": None,
            "tools_count": 2,
            "resources_count": 1,
        },
        {"status": "connected", "pid": 4242, "connected_at": AT},
    ),
    (
        list[m.McpToolInfo],
        [
            {
                "name": "read",
                "description": "d",
                "server_name": "fs",
                "schema": {"type": "object"},
                "verified": False,
                "verification_hash": None,
            }
        ],
        {"0.tool_schema": {"type": "object"}},
    ),
    (
        m.VectorSearchResponse,
        {"results": [{"item": ITEM, "similarity_score": 0.91}], "query": "q", "total_results": 1},
        {"results.0.item.metadata.source": "a.md", "results.0.similarity_score": 0.91},
    ),
    (
        m.ContextResponse,
        {"context_items": ["c"], "sources": ["a.md"], "query": "q", "relevance_scores": [0.91]},
        {"relevance_scores": [0.91]},
    ),
    (
        m.DslCompileResponse,
        {
            "success": True,
            "agent_id": "x",
            "errors": [],
            "warnings": [],
            "compiled_at": "2026-03-01T10:00:00Z",
        },
        {"agent_id": "x", "compiled_at": AT},
    ),
    (
        m.AgentDeployResponse,
        {
            "deployment_id": "dp-1",
            "agent_id": "x",
            "status": "running",
            "deployed_at": "2026-03-01T10:00:00Z",
            "endpoint_url": "http://127.0.0.1:8081/webhook/x",
        },
        {"endpoint_url": "http://127.0.0.1:8081/webhook/x", "deployed_at": AT},
    ),
    (
        m.SystemMetrics,
        {
            "uptime_seconds": 91,
            "memory_usage_bytes": 104857600,
            "memory_usage_percent": 1.2,
            "cpu_usage_percent": 3.0,
            "disk_usage_bytes": 1,
            "disk_usage_percent": 0.1,
            "active_agents": 1,
            "total_agents": 2,
            "secrets_count": 1,
            "mcp_connections": 1,
            "vector_db_items": 1,
        },
        {"memory_usage_bytes": 104857600, "vector_db_items": 1},
    ),
    (
        m.AgentMetrics,
        {
            "agent_id": "agent-7",
            "tasks_completed": 4,
            "tasks_failed": 0,
            "average_response_time_ms": 12.5,
            "memory_usage_bytes": 1048576,
            "cpu_usage_percent": 0.5,
            "last_activity": "2026-03-01T10:00:00Z",
            "uptime_seconds": 90,
        },
        {"average_response_time_ms": 12.5, "last_activity": AT},
    ),
    (
        m.ErrorResponse,
        {"error": "review rv-9 not found", "code": "REVIEW_NOT_FOUND", "details": None},
        {"code": "REVIEW_NOT_FOUND", "details": None},
    ),
]  # fmt: skip

RUNTIME: list[tuple[Any, Any, dict[str, Any]]] = [
    (
        list[m.AgentSummary],
        [{"id": AGENT, "name": "greeter", "state": "Running"}],
        {"0.id": AGENT, "0.state": "active", "0.state.raw": "Running"},
    ),
    (
        m.AgentStatusResponse,
        {
            "agent_id": AGENT,
            "state": "Running",
            "last_activity": "2026-03-01T09:59:00.123456789Z",
            "resource_usage": {"memory_bytes": 0, "cpu_percent": 0.0, "active_tasks": 1},
            "execution_mode": "Ephemeral",
        },
        {
            "state": "active",
            "last_activity": datetime(2026, 3, 1, 9, 59, 0, 123457, UTC),
            "execution_mode": "Ephemeral",
        },
    ),
    (
        # An agent that runs elsewhere; samples are null from 1.20 on.
        m.AgentStatusResponse,
        {
            "agent_id": AGENT,
            "state": "Unreachable",
            "last_activity": "2026-03-01T10:00:00Z",
            "resource_usage": {"memory_bytes": None, "cpu_percent": None, "active_tasks": 0},
            "execution_mode": "External",
            "metadata": {"host": "edge-1"},
            "last_result": "done",
            "recent_events": [
                {
                    "event_type": "RunCompleted",
                    "payload": {"n": 1},
                    "timestamp": "2026-03-01T10:00:00Z",
                }
            ],
        },
        {
            "state": "error",
            "resource_usage.memory_bytes": None,
            "metadata": {"host": "edge-1"},
            "last_result": "done",
            "recent_events.0.event_type": "RunCompleted",
        },
    ),
    (
        m.SystemMetrics,
        {
            "agents": {"total": 2, "running": 1, "idle": 1, "error": 0},
            "system": {"uptime_seconds": 91, "memory_usage": 5, "cpu_usage": 0.25},
        },
        {
            "total_agents": 2,
            "active_agents": 1,
            "uptime_seconds": 91,
            "memory_usage_bytes": 5,
            "cpu_usage_percent": 0.25,
            "secrets_count": None,
        },
    ),
    (
        m.SystemStatus,
        {
            "version": "1.19.0",
            "healthy": True,
            "agent_count": 1,
            "schedule_count": 0,
            "channel_count": 0,
        },
        {"healthy": True, "agent_count": 1},
    ),
    (
        list[m.AgentExecution],
        [{"execution_id": "e-1", "status": "completed", "timestamp": "2026-03-01T10:00:00Z"}],
        {"0.timestamp": AT},
    ),
    (
        m.AgentExecution,
        {"execution_id": "e-1", "status": "execution_started"},
        {"status": "execution_started", "result": None},
    ),
    (
        list[m.AgentMessage],
        [
            {
                "message_id": "m-1",
                "sender": AGENT,
                "recipient": AGENT,
                "topic": None,
                "payload": "hi",
                "message_type": "direct",
                "timestamp_secs": 1772359200,
                "ttl_seconds": 60,
            }
        ],
        {"0.payload": "hi", "0.message_type": "direct", "0.sent_at": AT},
    ),
    (m.MessageReceipt, {"message_id": "m-1", "status": "pending"}, {"status": "pending"}),
    (
        m.CreateScheduleResponse,
        {"job_id": "9a", "next_run": "2026-03-01T10:00:00+00:00", "status": "created"},
        {"next_run": AT},
    ),
    (
        list[m.ScheduleSummary],
        [
            {
                "job_id": "9a",
                "name": "n",
                "cron_expression": "0 */5 * * * *",
                "timezone": "UTC",
                "status": "Active",
                "enabled": True,
                "next_run": "2026-03-01T10:00:00+00:00",
                "run_count": 3,
                "jitter_secs": 5,
            }
        ],
        {"0.status": "active", "0.status.raw": "Active", "0.extra": {"jitter_secs": 5}},
    ),
    (
        m.ScheduleDetail,
        {
            "job_id": "9a",
            "name": "n",
            "cron_expression": "0 */5 * * * *",
            "timezone": "UTC",
            "status": "DeadLetter",
            "enabled": False,
            "one_shot": False,
            "next_run": None,
            "last_run": "2026-03-01T10:00:00+00:00",
            "run_count": 3,
            "failure_count": 3,
            "created_at": "2026-03-01T10:00:00+00:00",
            "updated_at": "2026-03-01T10:00:00+00:00",
        },
        {"status": "dead_letter", "last_run": AT, "next_run": None},
    ),
    (
        list[m.ScheduleRunEntry],
        [
            {
                "run_id": "r-1",
                "started_at": "2026-03-01T10:00:00+00:00",
                "completed_at": None,
                "status": "TimedOut",
                "error": "late",
                "execution_time_ms": None,
            }
        ],
        {"0.status": "timed_out", "0.started_at": AT},
    ),
    (
        m.NextRunsResponse,
        {"job_id": "9a", "next_runs": ["2026-03-01T10:00:00+00:00"]},
        {"next_runs": [AT]},
    ),
    (
        m.SchedulerHealth,
        {
            "is_running": True,
            "store_accessible": True,
            "jobs_total": 1,
            "jobs_active": 1,
            "jobs_paused": 0,
            "jobs_dead_letter": 0,
            "global_active_runs": 0,
            "max_concurrent": 10,
            "runs_total": 2,
            "runs_succeeded": 2,
            "runs_failed": 0,
            "average_execution_time_ms": 12.5,
            "longest_run_ms": 20,
        },
        {"runs_total": 2, "average_execution_time_ms": 12.5, "longest_run_ms": 20.0},
    ),
    (
        list[m.HeldAction],
        [
            {
                "id": "h-1",
                "agent_id": AGENT,
                "kind": "ToolCall",
                "summary": "rm",
                "reason": None,
                "context_snapshot": {},
                "created_at": "2026-03-01T10:00:00Z",
                "expires_at": "2026-03-01T10:00:00Z",
                "status": "Pending",
            }
        ],
        {"0.kind": "tool_call", "0.status": "pending", "0.expires_at": AT},
    ),
    (
        m.WebhookCompletedResponse,
        {
            "status": "completed",
            "agent_id": AGENT,
            "response": "done",
            "tool_runs": [{"tool": "scan", "input": {"host": "x"}, "output_preview": "ok"}],
            "termination_reason": "Completed",
            "iterations": 2,
            "model": "m-1",
            "provider": "p",
            "latency_ms": 12,
            "timestamp": "2026-03-01T10:00:00Z",
            "audit": {"run_id": "r-1", "path": "/r", "public_key": "k"},
            "invocation_id": "i-1",
            "replayed": False,
            "total_usage": {"input_tokens": 1},
            "budget": None,
        },
        {"status": "completed", "tool_runs.0.tool": "scan", "audit.run_id": "r-1", "budget": None},
    ),
    (
        m.WebhookExecutionStartedResponse,
        {
            "status": "execution_started",
            "agent_id": AGENT,
            "message_id": "m-1",
            "latency_ms": 1,
            "timestamp": "2026-03-01T10:00:00Z",
        },
        {"status": "execution_started", "timestamp": AT},
    ),
    (
        m.ChannelHealth,
        {
            "id": "c-1",
            "connected": True,
            "platform": "slack",
            "workspace_name": None,
            "channels_active": 2,
            "last_message_at": None,
            "uptime_secs": 5,
        },
        {"connected": True, "workspace_name": None},
    ),
    (
        m.ScheduleActionResponse,
        {"job_id": "9a", "action": "trigger", "status": "triggered"},
        {"action": "trigger", "status": "triggered"},
    ),
    (m.DeleteScheduleResponse, {"job_id": "9a", "deleted": True}, {"deleted": True}),
    (
        list[m.ChannelSummary],
        [{"id": "c-1", "name": "ops", "platform": "mattermost", "status": "Running"}],
        {"0.platform": "mattermost", "0.status": "Running"},
    ),
    (
        m.ChannelDetail,
        {
            "id": "c-1",
            "name": "ops",
            "platform": "slack",
            "status": "stopped",
            "config": {"workspace": "w"},
            "created_at": "2026-03-01T10:00:00+00:00",
            "updated_at": None,
        },
        {"created_at": AT, "updated_at": None, "config": {"workspace": "w"}},
    ),
    (m.ChannelActionResponse, {"id": "c-1", "action": "start", "status": "x"}, {"status": "x"}),
    (m.DeleteChannelResponse, {"id": "c-1", "deleted": False}, {"deleted": False}),
    (
        list[m.IdentityMapping],
        [
            {
                "platform_user_id": "U1",
                "platform": "slack",
                "symbiont_user_id": "u-1",
                "email": None,
                "display_name": "Ada",
                "roles": ["user"],
                "verified": True,
                "created_at": "2026-03-01T10:00:00Z",
            }
        ],
        {"0.email": None, "0.roles": ["user"], "0.created_at": AT},
    ),
    (
        list[m.ChannelAuditEntry],
        [
            {
                "timestamp": "2026-03-01T10:00:00Z",
                "event_type": "MessageReceived",
                "user_id": None,
                "channel_id": "C1",
                "agent": "greeter",
                "details": {"text_length": 4},
            }
        ],
        {"0.timestamp": AT, "0.user_id": None, "0.details": {"text_length": 4}},
    ),
]


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step)] if step.isdigit() else getattr(value, step)
    return value


def of(shape: tuple[Any, Any, dict[str, Any]]) -> str:
    return str(getattr(shape[0], "__name__", shape[0])).rpartition(".")[2]


@pytest.mark.parametrize("shape", GUIDE + RUNTIME, ids=of)
def test_a_shape_is_read(shape: tuple[Any, Any, dict[str, Any]]) -> None:
    model, document, expected = shape
    read = reader(model)(json.dumps(document).encode())
    assert {path: at(read, path) for path in expected} == expected
    for one in read if isinstance(read, list) else [read]:
        assert type(one) in (model, *getattr(model, "__args__", ()))


@pytest.mark.parametrize("shape", GUIDE + RUNTIME, ids=of)
def test_a_shape_with_news_is_read_as_before(shape: tuple[Any, Any, dict[str, Any]]) -> None:
    model, document, expected = shape
    news: Any = {"since_1_21": {"deep": [None]}}
    newer = [one | news for one in document] if isinstance(document, list) else document | news
    read = reader(model)(json.dumps(newer).encode())
    extra = {path for path in expected if path.endswith("extra")}
    assert {path: at(read, path) for path in expected.keys() - extra} == {
        path: value for path, value in expected.items() if path not in extra
    }
    for one in read if isinstance(read, list) else [read]:
        assert one.extra["since_1_21"] == news["since_1_21"]


@pytest.mark.parametrize("shape", GUIDE, ids=of)
def test_what_the_guide_shows_is_read_without_a_step_of_python(
    shape: tuple[Any, Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nulls where the guide has them included.
    from ostiary._model import model as room

    def slow(body: Any) -> Any:
        raise AssertionError("the common reply must not need the slow way")

    monkeypatch.setattr(room, "_anything", slow)
    reader(shape[0])(json.dumps(shape[1]).encode())
