"""The rows of the contract: a call, what it sends, what it is answered, what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ostiary.workflow import models as m

from .conftest import (
    ACTION,
    APPROVAL,
    EVENT,
    METRIC,
    NOW,
    PRINCIPAL,
    RESULT,
    SPAN,
    SPEC,
    STATUS,
    happened,
)

GONE = "GONE"


class Row(NamedTuple):
    """One call. `returned` is a model, or what the call returns; None is what was answered."""

    call: str
    arguments: tuple[Any, ...]
    sent: str
    body: Any
    answered: Any
    returned: Any = None
    options: Mapping[str, Any] = MappingProxyType({})


COMMIT = {"id": "c-3", "data": {"amount": -4}, "previous_state": {"amount": 9}}
GATE = {
    "name": "money",
    "validators": ["not_null", "amount_range"],
    "block_on_failure": True,
    "required_confidence": 0.8,
    "recovery_strategy": {"type": "escalate", "reason": "finance desk"},
}
GATED = {
    "passed": False,
    "gate_name": "money",
    "blocked_commit": True,
    "crv_status": "blocked",
    "timestamp": NOW,
    "failure_code": "OUT_OF_SCOPE",
    "validation_results": [{"valid": True, "confidence": 1.0}, {"valid": False, "reason": "low"}],
}
CONTEXT = {
    "principal": PRINCIPAL,
    "action": ACTION,
    "current_state": "idle",
    "audit_log": [],
}
DECISION = {
    "allowed": False,
    "reason": "critical actions need a human decision",
    "requires_human_approval": True,
    "approval_token": "approval-1",
}
VALIDATOR = {"validator_id": "amount_range", "type": "statistical_bounds", "resolved": True}
CONFIG = {"type": "statistical_bounds", "parameters": {"field": "amount", "min": 0, "max": 500}}
REGISTERED = {"validator_id": "amount_range", "registered": True, "replaced": False}
CANCELLED = {"workflow_id": "ledger-7", "status": "cancelling", "cancelled": True}
SUMMARY = {"workflow_id": "ledger-7", "status": "running", "name": "Nightly ledger"}

AUDITED = {"timestamp": NOW, "principal": PRINCIPAL, "action": ACTION, "decision": DECISION}

ROWS = [
    Row("health", (), "GET /health", None, {"status": "ok", "version": "1"}, m.ServerHealth),
    Row("ready", (), "GET /ready", None, {"status": "ok"}, m.ServerHealth),
    Row(
        "execute_workflow",
        (SPEC, {"batch": "b9"}, "trace-9f"),
        "POST /workflows/execute",
        {"workflow": SPEC, "context": {"batch": "b9"}, "correlation_id": "trace-9f"},
        RESULT,
        m.WorkflowExecutionResult,
    ),
    Row(
        "execute_workflow",
        (SPEC,),
        "POST /workflows/execute",
        {"workflow": SPEC, "approval_token": "approval-1", "rerun": True},
        RESULT,
        m.WorkflowExecutionResult,
        {"approval_token": "approval-1", "rerun": True},
    ),
    Row(
        "get_workflow_status",
        ("ledger-7",),
        "GET /workflows/ledger-7/status",
        None,
        STATUS,
        m.WorkflowStatus,
    ),
    Row(
        "get_workflow_result",
        ("ledger-7",),
        "GET /workflows/ledger-7/result",
        None,
        RESULT,
        m.WorkflowExecutionResult,
    ),
    Row(
        "get_workflow_spec",
        ("ledger-7",),
        "GET /workflows/ledger-7/spec",
        None,
        SPEC,
        m.WorkflowSpec,
    ),
    Row("cancel_workflow", ("ledger-7",), "POST /workflows/ledger-7/cancel", None, CANCELLED),
    Row(
        "list_workflows",
        ("running", "Nightly ledger"),
        "GET /workflows?status=running&name=Nightly%20ledger"
        "&started_after=2031-04-02T01%3A00%3A00.000Z&limit=5&cursor=c2",
        None,
        {"workflows": [SUMMARY], "next_cursor": "c3"},
        m.WorkflowPage,
        {"started_after": NOW, "limit": 5, "cursor": "c2"},
    ),
    Row(
        "list_workflow_events",
        ("ledger-7", 3),
        "GET /workflows/ledger-7/events?after=3",
        None,
        {"events": [happened(4)]},
        m.EventPage,
    ),
    Row(
        "validate_commit",
        (COMMIT, GATE),
        "POST /crv/validate",
        {"commit": COMMIT, "gate_config": GATE},
        GATED,
        m.GateResult,
    ),
    Row(
        "register_validator",
        ("amount_range", CONFIG),
        "POST /crv/validators",
        {"validator_id": "amount_range", "config": CONFIG},
        REGISTERED,
    ),
    Row("list_validators", (), "GET /crv/validators", None, [VALIDATOR], m.ValidatorInfo),
    Row(
        "get_validator",
        ("amount_range",),
        "GET /crv/validators/amount_range",
        None,
        VALIDATOR,
        m.ValidatorInfo,
    ),
    Row(
        "delete_validator",
        ("amount_range",),
        "DELETE /crv/validators/amount_range",
        None,
        {"deleted": True},
    ),
    Row(
        "evaluate_policy",
        (CONTEXT,),
        "POST /policy/evaluate",
        CONTEXT,
        DECISION,
        m.GuardDecision,
    ),
    Row(
        "evaluate_policy",
        (CONTEXT,),
        "POST /policy/evaluate",
        CONTEXT | {"approval_token": "approval-1"},
        DECISION,
        m.GuardDecision,
        {"approval_token": "approval-1"},
    ),
    Row(
        "check_permission",
        (PRINCIPAL, ACTION),
        "POST /policy/check",
        {"principal": PRINCIPAL, "action": ACTION},
        {"allowed": True},
        True,
    ),
    Row(
        "request_approval",
        (ACTION, PRINCIPAL, "because"),
        "POST /policy/approval",
        {"action": ACTION, "principal": PRINCIPAL, "reason": "because", "workflow_id": "w"},
        {"approval_token": "approval-1", "status": "pending"},
        "approval-1",
        {"workflow_id": "w"},
    ),
    Row(
        "list_audit",
        (),
        "GET /policy/audit?limit=3",
        None,
        {"entries": [AUDITED | {"number": 7}], "next_cursor": "c"},
        m.AuditPage,
        {"limit": 3},
    ),
    Row(
        "list_approvals",
        ("pending", "ledger-7"),
        "GET /policy/approvals?status=pending&workflow_id=ledger-7",
        None,
        {"approvals": [APPROVAL]},
        m.ApprovalPage,
    ),
    Row(
        "get_approval",
        ("approval-1",),
        "GET /policy/approvals/approval-1",
        None,
        APPROVAL,
        m.Approval,
    ),
    Row(
        "approve",
        ("approval-1", "go on"),
        "POST /policy/approvals/approval-1/approve",
        {"comment": "go on"},
        APPROVAL | {"status": "approved"},
        m.Approval,
    ),
    Row(
        "deny",
        ("approval-1",),
        "POST /policy/approvals/approval-1/deny",
        {},
        APPROVAL | {"status": "denied"},
        m.Approval,
    ),
    Row("report_event", (EVENT,), "POST /observability/events", EVENT, {"accepted": 1}, GONE),
    Row("report_metric", (METRIC,), "POST /observability/metrics", METRIC, {}, GONE),
    Row("report_span", (SPAN,), "POST /observability/spans", SPAN, {}, GONE),
    Row(
        "report_batch",
        ([EVENT], [METRIC], [SPAN]),
        "POST /observability/batch",
        {"events": [EVENT], "metrics": [METRIC], "spans": [SPAN]},
        {"accepted": 2, "duplicates": 1, "rejected": 0, "errors": []},
        m.TelemetryAccepted,
    ),
    Row(
        "get_metrics",
        ("task.duration", NOW, None, {"task_id": "pull"}),
        "GET /observability/metrics?name=task.duration&start_time=2031-04-02T01%3A00%3A00.000Z"
        "&tags=%7B%22task_id%22%3A%22pull%22%7D",
        None,
        [METRIC],
        m.Metric,
    ),
    Row("get_metrics", (), "GET /observability/metrics", None, [], []),
    Row(
        "list_events",
        ("step_end", "ledger-7"),
        "GET /observability/events?type=step_end&workflow_id=ledger-7&limit=9",
        None,
        {"events": [EVENT], "next_cursor": "c"},
        m.TelemetryPage,
        {"limit": 9},
    ),
    Row(
        "get_summary",
        (60_000,),
        "GET /observability/summary?time_range_ms=60000",
        None,
        {"total_events": 4},
    ),
    Row("get_trace", ("trace-9f",), "GET /observability/traces/trace-9f", None, [SPAN], m.Span),
]
