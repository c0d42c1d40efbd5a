"""The wire contract, one line per endpoint (docs/workflow.md).

Paths stand behind the base URL. Neighbours: `_bodies.py` for what is sent, the models for what
comes back.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

from .._decoders import decoder_of
from .._route import Route
from .errors import refusal
from .models import (
    Approval,
    ApprovalPage,
    AuditPage,
    EventPage,
    GateResult,
    GuardDecision,
    Metric,
    MetricPage,
    ServerHealth,
    Span,
    TelemetryAccepted,
    TelemetryPage,
    ValidatorInfo,
    WorkflowEvent,
    WorkflowExecutionResult,
    WorkflowPage,
    WorkflowSpec,
    WorkflowStatus,
    reader,
)

T = TypeVar("T")

_members: Final = decoder_of(dict[str, Any]).decode


def _object(body: Any) -> dict[str, Any]:
    """Read a JSON object; a reply without a body says no more than that it is done."""
    return _members(body) if len(body) else {}


def _one(method: str, template: str, model: type[T], *, idempotent: bool | None = None) -> Route[T]:
    return Route(method, template, model, decode=reader(model), idempotent=idempotent, fail=refusal)


def _many(method: str, template: str, model: type[T]) -> Route[list[T]]:
    reply = cast("type[list[T]]", list)
    decode = reader(list[model])  # type: ignore[valid-type]
    return Route(method, template, reply, decode=decode, fail=refusal)


def _any(method: str, template: str, *, idempotent: bool | None = None) -> Route[dict[str, Any]]:
    """An object whose members are the server's business."""
    return Route(
        method, template, dict[str, Any], decode=_object, idempotent=idempotent, fail=refusal
    )


def _told(template: str) -> Route[None]:
    """What a server counts once by its id, however often it is told."""
    return Route("POST", template, None, idempotent=True, fail=refusal)


HEALTH = _one("GET", "/health", ServerHealth)
READY = _one("GET", "/ready", ServerHealth)

EXECUTE = _one("POST", "/api/v1/workflows/execute", WorkflowExecutionResult)
SUBMIT = _one("POST", "/api/v1/workflows/execute", WorkflowStatus)
WORKFLOWS = _one("GET", "/api/v1/workflows", WorkflowPage)
STATUS = _one("GET", "/api/v1/workflows/{workflow_id}/status", WorkflowStatus)
RESULT = _one("GET", "/api/v1/workflows/{workflow_id}/result", WorkflowExecutionResult)
SPEC = _one("GET", "/api/v1/workflows/{workflow_id}/spec", WorkflowSpec)
CANCEL = _any("POST", "/api/v1/workflows/{workflow_id}/cancel")
EVENTS = _one("GET", "/api/v1/workflows/{workflow_id}/events", EventPage)
EVENT_STREAM = _one("GET", "/api/v1/workflows/{workflow_id}/events", WorkflowEvent)

VALIDATE = _one("POST", "/api/v1/crv/validate", GateResult, idempotent=True)
VALIDATORS = _many("GET", "/api/v1/crv/validators", ValidatorInfo)
VALIDATOR_REGISTER = _any("POST", "/api/v1/crv/validators", idempotent=True)
VALIDATOR = _one("GET", "/api/v1/crv/validators/{validator_id}", ValidatorInfo)
VALIDATOR_DELETE = _any("DELETE", "/api/v1/crv/validators/{validator_id}")

EVALUATE = _one("POST", "/api/v1/policy/evaluate", GuardDecision)
CHECK = _any("POST", "/api/v1/policy/check", idempotent=True)
AUDIT = _one("GET", "/api/v1/policy/audit", AuditPage)
APPROVAL_REQUEST = _any("POST", "/api/v1/policy/approval")
APPROVALS = _one("GET", "/api/v1/policy/approvals", ApprovalPage)
APPROVAL = _one("GET", "/api/v1/policy/approvals/{token}", Approval)
APPROVE = _one("POST", "/api/v1/policy/approvals/{token}/approve", Approval)
DENY = _one("POST", "/api/v1/policy/approvals/{token}/deny", Approval)

EVENT_REPORT = _told("/api/v1/observability/events")
METRIC_REPORT = _told("/api/v1/observability/metrics")
SPAN_REPORT = _told("/api/v1/observability/spans")
BATCH_REPORT = _one("POST", "/api/v1/observability/batch", TelemetryAccepted, idempotent=True)
METRICS = _many("GET", "/api/v1/observability/metrics", Metric)
METRIC_PAGE = _one("GET", "/api/v1/observability/metrics", MetricPage)
TELEMETRY = _one("GET", "/api/v1/observability/events", TelemetryPage)
SUMMARY = _any("GET", "/api/v1/observability/summary")
TRACE = _many("GET", "/api/v1/observability/traces/{trace_id}", Span)
