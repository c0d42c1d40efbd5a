"""Documents of the wire as servers and the guide's client write them: read, and written again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ostiary.workflow import models as m
from ostiary.workflow.models import accept, reader, wire

# What the guide's client sends: a null for whatever is not set.
SENT: list[tuple[Any, dict[str, Any]]] = [
    (
        m.WorkflowExecutionRequest,
        {
            "workflow": {
                "id": "books-3",
                "name": "Books of the night",
                "goal": "Close the day",
                "constraints": None,
                "success_criteria": ["sums agree"],
                "tasks": [
                    {
                        "id": "fetch",
                        "name": "Fetch rows",
                        "type": "action",
                        "tool_name": "read_file",
                        "risk_tier": "LOW",
                        "intent": "read",
                        "data_zone": "internal",
                        "retry": {
                            "max_attempts": 3,
                            "backoff_ms": 250,
                            "backoff_multiplier": 2.0,
                            "jitter": True,
                        },
                        "inputs": None,
                        "timeout_ms": None,
                        "sandbox_config": {
                            "enabled": True,
                            "type": "mock",
                            "simulation_mode": None,
                            "permissions": None,
                        },
                    },
                    {
                        "id": "enter",
                        "name": "Enter sums",
                        "type": "decision",
                        "tool_name": "write_file",
                        "risk_tier": "MEDIUM",
                        "timeout_ms": 9000,
                        "compensation": {"on_failure": "mend", "on_timeout": None},
                        "compensation_action": {"tool": "take_out", "args": {"batch": "b4"}},
                        "required_permissions": [
                            {"action": "write", "resource": "books", "conditions": None}
                        ],
                    },
                    {"id": "mend", "name": "Mend", "type": "parallel"},
                ],
                "dependencies": {"fetch": [], "enter": ["fetch"]},
                "safety_policy": {
                    "name": "house",
                    "description": None,
                    "rules": [{"type": "no_cycles", "description": None}],
                    "fail_fast": None,
                },
            },
            "context": {"batch": "b4"},
            "correlation_id": "trace-3c",
        },
    ),
    (
        m.Commit,
        {"id": "c-8", "data": None, "previous_state": None, "metadata": {"workflowId": "w"}},
    ),
    (
        m.GateConfig,
        {
            "name": "cash",
            "validators": ["not_null", "sum_range"],
            "block_on_failure": True,
            "required_confidence": 0.8,
            "recovery_strategy": {"type": "escalate", "reason": "accounts"},
        },
    ),
    (
        m.PolicyContext,
        {
            "principal": {
                "id": "bot-5",
                "type": "agent",
                "permissions": [
                    {
                        "action": "empty",
                        "resource": "attic",
                        "intent": "delete",
                        "data_zone": "internal",
                        "conditions": None,
                    }
                ],
            },
            "action": {
                "id": "empty-2030",
                "name": "Empty 2030",
                "risk_tier": "critical",
                "required_permissions": [],
                "intent": None,
                "data_zone": None,
                "allowed_tools": None,
                "metadata": None,
            },
            "current_state": "idle",
            "audit_log": [
                {
                    "timestamp": "2031-05-06T07:08:09Z",
                    "principal": {"id": "bot-5", "type": "agent", "permissions": []},
                    "action": {
                        "id": "a",
                        "name": "A",
                        "risk_tier": "low",
                        "required_permissions": [],
                    },
                    "decision": {
                        "allowed": True,
                        "reason": "low risk",
                        "requires_human_approval": False,
                    },
                    # The guide's client writes its own names here.
                    "state_transition": {"from_state": "evaluating", "to_state": "approved"},
                    "approval_token": None,
                }
            ],
        },
    ),
    (
        m.TelemetryEvent,
        {
            "type": "step_end",
            "timestamp": "2031-05-06T07:08:09.123456",
            "workflow_id": "books-3",
            "task_id": "fetch",
            "task_type": "action",
            "correlation_id": None,
            "data": {"success": True, "duration": 530},
            "tags": {"env": "lab"},
        },
    ),
    (
        m.Metric,
        {"name": "task.duration", "value": 530, "timestamp": "2031-05-06T07:08:09Z", "tags": None},
    ),
    (
        m.Span,
        {
            "id": "s1",
            "trace_id": "trace-001",
            "parent_id": None,
            "name": "fetch",
            "start_time": "2031-05-06T07:08:08Z",
            "end_time": "2031-05-06T07:08:09Z",
            "duration": 530.0,
            "tags": {"workflow_id": "books-3"},
            "logs": [
                {
                    "timestamp": "2031-05-06T07:08:08Z",
                    "level": "warn",
                    "message": "slow disk",
                    "context": None,
                }
            ],
        },
    ),
]


def without_nulls(value: Any) -> Any:
    """Return a document as we write it; a commit's `data` may be null."""
    if isinstance(value, dict):
        return {
            name: without_nulls(one)
            for name, one in value.items()
            if one is not None or name == "data"
        }
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    return value


@pytest.mark.parametrize(("model", "document"), SENT, ids=lambda one: getattr(one, "__name__", ""))
def test_what_the_guide_s_client_sends(model: Any, document: dict[str, Any]) -> None:
    expected = without_nulls(document)
    if model is m.PolicyContext:
        change = expected["audit_log"][0]["state_transition"]
        change["from"], change["to"] = change.pop("from_state"), change.pop("to_state")
    for made in (reader(model)(json.dumps(document).encode()), accept(model, document)):
        assert json.loads(json.dumps(made.to_dict())) == expected
        assert accept(model, wire(made)) == made


# What servers answer: ours in snake_case, the original's libraries in camelCase.
ANSWERED: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (
        m.WorkflowExecutionResult,
        {
            "workflowId": "books-3",
            "status": "partial",
            "durationMs": 640.0,
            "error": "task enter: disk full after 1 attempt",
            "taskResults": {
                "fetch": {"taskId": "fetch", "status": "success", "result": {"rows": 41}},
                "enter": {"taskId": "enter", "status": "failed", "error": "disk full"},
                "mail": {"taskId": "mail", "status": "skipped", "durationMs": None},
            },
            "correlationId": None,
        },
        {
            "workflow_id": "books-3",
            "status": "partial",
            "duration_ms": 640.0,
            "error": "task enter: disk full after 1 attempt",
            "task_results": {
                "fetch": {"task_id": "fetch", "status": "success", "result": {"rows": 41}},
                "enter": {"task_id": "enter", "status": "failed", "error": "disk full"},
                "mail": {"task_id": "mail", "status": "skipped"},
            },
        },
    ),
    (
        m.GateResult,
        {
            "passed": False,
            "gateName": "cash",
            "blockedCommit": True,
            "crv_status": "blocked",
            "timestamp": "2031-05-06T07:08:09.120Z",
            "failure_code": "OUT_OF_SCOPE",
            "remediation": "bring it back inside its limits",
            "recoveryStrategy": {"type": "retry_alt_tool", "toolName": "other", "maxRetries": 2},
            "validationResults": [
                {"valid": True, "confidence": 1.0},
                {"valid": False, "reason": "below 0", "failureCode": "OUT_OF_SCOPE"},
            ],
        },
        {
            "passed": False,
            "gate_name": "cash",
            "blocked_commit": True,
            "crv_status": "blocked",
            "timestamp": "2031-05-06T07:08:09.120Z",
            "failure_code": "OUT_OF_SCOPE",
            "remediation": "bring it back inside its limits",
            # Free data is not renamed; `recovery` reads it in either case.
            "recovery_strategy": {"type": "retry_alt_tool", "toolName": "other", "maxRetries": 2},
            "validation_results": [
                {"valid": True, "confidence": 1.0},
                {"valid": False, "reason": "below 0", "failure_code": "OUT_OF_SCOPE"},
            ],
        },
    ),
    (
        m.GuardDecision,
        {
            "allowed": False,
            "reason": "needs a person",
            "requiresHumanApproval": True,
            "approvalToken": "approval-empty-2030-1",
            "metadata": {"state": "pending_human", "mcpAction": True},
        },
        {
            "allowed": False,
            "reason": "needs a person",
            "requires_human_approval": True,
            "approval_token": "approval-empty-2030-1",
            "metadata": {"state": "pending_human", "mcpAction": True},
        },
    ),
    (
        m.WorkflowEvent,
        {
            "timestamp": "2031-05-06T07:08:09Z",
            "type": "TASK_RETRY",
            "workflowId": "books-3",
            "taskId": "fetch",
            "sequence": 7,
            "metadata": {"attempt": 1, "error": "disk"},
        },
        {
            "timestamp": "2031-05-06T07:08:09Z",
            "type": "TASK_RETRY",
            "workflow_id": "books-3",
            "task_id": "fetch",
            "sequence": 7,
            "data": {},
            "metadata": {"attempt": 1, "error": "disk"},
        },
    ),
]


@pytest.mark.parametrize(
    ("model", "document", "expected"), ANSWERED, ids=lambda one: getattr(one, "__name__", "")
)
def test_what_servers_answer(model: Any, document: Any, expected: dict[str, Any]) -> None:
    for written in (document, expected):
        made = reader(model)(json.dumps(written).encode())
        assert json.loads(json.dumps(made.to_dict())) == expected


def test_a_strategy_in_the_original_s_case_is_understood() -> None:
    made = reader(m.GateResult)(json.dumps(ANSWERED[1][1]).encode())
    assert made.recovery == m.RetryAltToolStrategy(tool_name="other", max_retries=2)


def test_a_status_with_more_than_we_know() -> None:
    document = {
        "workflow_id": "books-3",
        "status": "running",
        "progress": 0.5,
        "started_at": "2031-05-06T07:08:09.000Z",
        "completed_at": None,
        "tasks": [{"task_id": "fetch", "status": "completed", "requires_approval": False}],
        "crv_status": {"status": "none", "lastCheck": None},
        "eta_seconds": 4,
    }
    made = reader(m.WorkflowStatus)(json.dumps(document).encode())
    assert made["eta_seconds"] == 4
    assert made.completed_at is None
    assert made.tasks[0].attempt == 0
