"""Workflows: tasks in order, gates, policy, approvals and telemetry (docs/workflow.md).

Speaks to Aureus-compatible servers; the names of their guide work here, and those of the
errors it catches: `import ostiary.workflow as httpx`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._calls.pages._sync import Pages
from .._model.words import OpenEnum
from ._events._sync import WorkflowEvents
from ._handle._sync import WorkflowHandle
from ._sync import WorkflowClient
from .enums import (
    ApprovalStatus,
    CrvStatus,
    DataZone,
    FailureTaxonomy,
    GoalGuardState,
    Intent,
    LogLevel,
    PolicyRiskTier,
    PrincipalType,
    ResultStatus,
    RiskTier,
    SandboxType,
    TaskState,
    TaskType,
    TelemetryEventType,
    WorkflowState,
)
from .errors import (
    ApprovalDeniedError,
    AureusError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ClientStateError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    GatewayTimeoutError,
    GoneError,
    GraphError,
    HTTPStatusError,
    InvalidArgumentError,
    LockedError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RefusedResponse,
    RequestError,
    ServerError,
    SizeLimitError,
    TelemetryError,
    TimeoutException,
    UnavailableError,
    UnprocessableError,
    WaitTimeoutError,
)
from .models import (
    Action,
    Approval,
    ApprovalPage,
    ApprovalToken,
    AskUserStrategy,
    AuditEntry,
    AuditPage,
    Commit,
    CompensationAction,
    CompensationHook,
    EscalateStrategy,
    EventPage,
    GateConfig,
    GateResult,
    GuardDecision,
    IgnoreStrategy,
    LogEntry,
    Metric,
    MetricPage,
    Model,
    Permission,
    PolicyContext,
    Principal,
    RecoveryResult,
    RecoveryStrategy,
    Request,
    RetryAltToolStrategy,
    RetryConfig,
    SafetyPolicy,
    SafetyRule,
    SandboxConfig,
    ServerHealth,
    Span,
    StateTransition,
    TaskExecutionResult,
    TaskProgress,
    TaskSpec,
    TelemetryAccepted,
    TelemetryEvent,
    TelemetryPage,
    ValidationResult,
    ValidatorInfo,
    WorkflowEvent,
    WorkflowExecutionRequest,
    WorkflowExecutionResult,
    WorkflowPage,
    WorkflowSpec,
    WorkflowStatus,
    WorkflowSummary,
)
from .settings import WorkflowSettings

if TYPE_CHECKING:
    from .._calls.pages._async import AsyncPages
    from ._async import AsyncWorkflowClient
    from ._events._async import AsyncWorkflowEvents
    from ._handle._async import AsyncWorkflowHandle
    from .graph import Graph
    from .telemetry import (
        ActiveSpan,
        TelemetryCounters,
        TelemetryPipeline,
        current_span,
        traced,
    )

    AsyncClient = AsyncWorkflowClient
    AureusClient = AsyncWorkflowClient
    __version__: str

AureusSyncClient = WorkflowClient
Client = WorkflowClient

__all__ = [
    "Action",
    "ActiveSpan",
    "Approval",
    "ApprovalDeniedError",
    "ApprovalPage",
    "ApprovalStatus",
    "ApprovalToken",
    "AskUserStrategy",
    "AsyncClient",
    "AsyncPages",
    "AsyncWorkflowClient",
    "AsyncWorkflowEvents",
    "AsyncWorkflowHandle",
    "AuditEntry",
    "AuditPage",
    "AureusClient",
    "AureusError",
    "AureusSyncClient",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "Client",
    "ClientStateError",
    "Commit",
    "CompensationAction",
    "CompensationHook",
    "ConflictError",
    "ConnectError",
    "ConnectionLostError",
    "CrvStatus",
    "DataZone",
    "EscalateStrategy",
    "EventPage",
    "FailureTaxonomy",
    "GateConfig",
    "GateResult",
    "GatewayTimeoutError",
    "GoalGuardState",
    "GoneError",
    "Graph",
    "GraphError",
    "GuardDecision",
    "HTTPStatusError",
    "IgnoreStrategy",
    "Intent",
    "InvalidArgumentError",
    "LockedError",
    "LogEntry",
    "LogLevel",
    "MethodNotAllowedError",
    "Metric",
    "MetricPage",
    "Model",
    "NotFoundError",
    "OpenEnum",
    "Pages",
    "PayloadTooLargeError",
    "Permission",
    "PermissionDeniedError",
    "PolicyContext",
    "PolicyRiskTier",
    "Principal",
    "PrincipalType",
    "ProtocolError",
    "RateLimitError",
    "RecoveryResult",
    "RecoveryStrategy",
    "RefusedResponse",
    "Request",
    "RequestError",
    "ResultStatus",
    "RetryAltToolStrategy",
    "RetryConfig",
    "RiskTier",
    "SafetyPolicy",
    "SafetyRule",
    "SandboxConfig",
    "SandboxType",
    "ServerError",
    "ServerHealth",
    "SizeLimitError",
    "Span",
    "StateTransition",
    "TaskExecutionResult",
    "TaskProgress",
    "TaskSpec",
    "TaskState",
    "TaskType",
    "TelemetryAccepted",
    "TelemetryCounters",
    "TelemetryError",
    "TelemetryEvent",
    "TelemetryEventType",
    "TelemetryPage",
    "TelemetryPipeline",
    "TimeoutException",
    "UnavailableError",
    "UnprocessableError",
    "ValidationResult",
    "ValidatorInfo",
    "WaitTimeoutError",
    "WorkflowClient",
    "WorkflowEvent",
    "WorkflowEvents",
    "WorkflowExecutionRequest",
    "WorkflowExecutionResult",
    "WorkflowHandle",
    "WorkflowPage",
    "WorkflowSettings",
    "WorkflowSpec",
    "WorkflowState",
    "WorkflowStatus",
    "WorkflowSummary",
    "__version__",
    "current_span",
    "traced",
]

# What is loaded by those who ask for it: the async half, and what few programs need.
_LATER = {
    "ActiveSpan": ("telemetry", "ActiveSpan"),
    "AsyncClient": ("_async", "AsyncWorkflowClient"),
    "AsyncPages": ("._calls.pages._async", "AsyncPages"),
    "AsyncWorkflowClient": ("_async", "AsyncWorkflowClient"),
    "AsyncWorkflowEvents": ("_events._async", "AsyncWorkflowEvents"),
    "AsyncWorkflowHandle": ("_handle._async", "AsyncWorkflowHandle"),
    "AureusClient": ("_async", "AsyncWorkflowClient"),
    "Graph": ("graph", "Graph"),
    "TelemetryCounters": ("telemetry", "TelemetryCounters"),
    "TelemetryPipeline": ("telemetry", "TelemetryPipeline"),
    "current_span": ("telemetry", "current_span"),
    "traced": ("telemetry", "traced"),
}


def __getattr__(name: str) -> Any:
    found: Any
    if name in _LATER:
        from importlib import import_module

        module, attribute = _LATER[name]
        found = getattr(import_module(f".{module}", __name__), attribute)
    elif name == "__version__":
        import ostiary

        found = ostiary.__version__
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found
