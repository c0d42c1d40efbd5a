"""The peer of the workflow cases: httpx and pydantic, as one writes it without a client library.

One client kept with its connections, a model for each request and reply, both checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel, Field

M = TypeVar("M", bound=BaseModel)
_JSON = {"Content-Type": "application/json"}


class TaskType(StrEnum):
    ACTION = "action"
    DECISION = "decision"
    PARALLEL = "parallel"


class RiskTier(StrEnum):
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class PolicyRiskTier(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class PrincipalType(StrEnum):
    AGENT = "agent"
    HUMAN = "human"
    SERVICE = "service"


class GoalGuardState(StrEnum):
    IDLE = "idle"
    EVALUATING = "evaluating"
    APPROVED = "approved"
    REJECTED = "rejected"
    PENDING_HUMAN = "pending_human"


class TelemetryEventType(StrEnum):
    STEP_START = "step_start"
    STEP_END = "step_end"
    TOOL_CALL = "tool_call"
    CRV_RESULT = "crv_result"
    POLICY_CHECK = "policy_check"
    SNAPSHOT_COMMIT = "snapshot_commit"
    ROLLBACK = "rollback"
    CUSTOM = "custom"


class ResultStatus(StrEnum):
    SUCCESS = "success"
    FAILED = "failed"
    PARTIAL = "partial"
    SKIPPED = "skipped"


class Permission(BaseModel):
    action: str
    resource: str
    intent: str | None = None
    data_zone: str | None = None
    conditions: dict[str, Any] | None = None


class RetryConfig(BaseModel):
    max_attempts: int = Field(ge=1)
    backoff_ms: int = Field(ge=1)
    backoff_multiplier: float | None = None
    jitter: bool | None = None


class SafetyPolicy(BaseModel):
    name: str
    description: str | None = None
    rules: list[dict[str, Any]]


class TaskSpec(BaseModel):
    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    type: TaskType
    inputs: dict[str, Any] | None = None
    retry: RetryConfig | None = None
    idempotency_key: str | None = None
    timeout_ms: int | None = Field(default=None, ge=1)
    risk_tier: RiskTier | None = None
    tool_name: str | None = None
    required_permissions: list[Permission] | None = None
    allowed_tools: list[str] | None = None


class WorkflowSpec(BaseModel):
    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    goal: str | None = None
    tasks: list[TaskSpec]
    dependencies: dict[str, list[str]] = {}
    safety_policy: SafetyPolicy | None = None


class ExecuteRequest(BaseModel):
    workflow: WorkflowSpec
    context: dict[str, Any] | None = None
    correlation_id: str | None = None


class TaskExecutionResult(BaseModel):
    task_id: str
    status: ResultStatus
    result: Any = None
    error: str | None = None
    duration_ms: float | None = None
    attempts: int | None = None
    compensation: bool | None = None


class WorkflowExecutionResult(BaseModel):
    workflow_id: str
    status: ResultStatus
    task_results: dict[str, TaskExecutionResult] = {}
    error: str | None = None
    duration_ms: float | None = None
    correlation_id: str | None = None


class Principal(BaseModel):
    id: str
    type: PrincipalType
    permissions: list[Permission]


class Action(BaseModel):
    id: str
    name: str
    risk_tier: PolicyRiskTier
    required_permissions: list[Permission]
    allowed_tools: list[str] | None = None
    metadata: dict[str, Any] | None = None


class PolicyContext(BaseModel):
    principal: Principal
    action: Action
    current_state: GoalGuardState
    audit_log: list[dict[str, Any]]
    tool_name: str | None = None


class GuardDecision(BaseModel):
    allowed: bool
    reason: str
    requires_human_approval: bool
    approval_token: str | None = None
    metadata: dict[str, Any] | None = None


class TelemetryEvent(BaseModel):
    type: TelemetryEventType
    timestamp: str
    workflow_id: str | None = None
    task_id: str | None = None
    task_type: str | None = None
    correlation_id: str | None = None
    data: dict[str, Any]
    tags: dict[str, str] | None = None
    id: str = Field(default_factory=lambda: uuid4().hex)


class Batch(BaseModel):
    events: list[TelemetryEvent]


class Accepted(BaseModel):
    accepted: int = 0
    duplicates: int = 0


def _told(response: httpx.Response, reply: type[M]) -> M:
    response.raise_for_status()
    return reply.model_validate_json(response.content)


def _sent(body: BaseModel) -> str:
    return body.model_dump_json(exclude_none=True)


class Client:
    """The blocking one."""

    def __init__(self, base_url: str, key: str, timeout: float) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def _post(self, path: str, body: BaseModel, reply: type[M]) -> M:
        return _told(self._http.post(path, content=_sent(body), headers=_JSON), reply)

    def execute_workflow(
        self, workflow: WorkflowSpec, context: dict[str, Any], correlation_id: str
    ) -> WorkflowExecutionResult:
        body = ExecuteRequest(workflow=workflow, context=context, correlation_id=correlation_id)
        return self._post("/api/v1/workflows/execute", body, WorkflowExecutionResult)

    def evaluate_policy(self, context: PolicyContext) -> GuardDecision:
        return self._post("/api/v1/policy/evaluate", context, GuardDecision)

    def report_event(self, event: TelemetryEvent) -> None:
        self._post("/api/v1/observability/events", event, Accepted)

    def report_batch(self, events: Sequence[TelemetryEvent]) -> Accepted:
        return self._post("/api/v1/observability/batch", Batch(events=list(events)), Accepted)


class AsyncClient:
    """The one for asyncio."""

    def __init__(self, base_url: str, key: str, timeout: float, connections: int) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def _post(self, path: str, body: BaseModel, reply: type[M]) -> M:
        return _told(await self._http.post(path, content=_sent(body), headers=_JSON), reply)

    async def execute_workflow(
        self, workflow: WorkflowSpec, context: dict[str, Any], correlation_id: str
    ) -> WorkflowExecutionResult:
        body = ExecuteRequest(workflow=workflow, context=context, correlation_id=correlation_id)
        return await self._post("/api/v1/workflows/execute", body, WorkflowExecutionResult)

    async def evaluate_policy(self, context: PolicyContext) -> GuardDecision:
        return await self._post("/api/v1/policy/evaluate", context, GuardDecision)

    async def report_event(self, event: TelemetryEvent) -> None:
        await self._post("/api/v1/observability/events", event, Accepted)
