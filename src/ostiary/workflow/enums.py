"""The words of the workflow protocol. A word this version does not know is read, not refused.

Members are text: they compare with it, print as it and travel as it. Any casing is read.
"""

from __future__ import annotations

from .._model.words import OpenEnum

__all__ = [
    "ApprovalStatus",
    "CrvStatus",
    "DataZone",
    "FailureTaxonomy",
    "GoalGuardState",
    "Intent",
    "LogLevel",
    "PolicyRiskTier",
    "PrincipalType",
    "ResultStatus",
    "RiskTier",
    "SandboxType",
    "TaskState",
    "TaskType",
    "TelemetryEventType",
    "WorkflowState",
]


class RiskTier(OpenEnum):
    """How much a task may do harm. Policy has the same words in lower case."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class PolicyRiskTier(OpenEnum):
    """How much an action may do harm. Tasks have the same words in upper case."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Intent(OpenEnum):
    """What is meant to be done with a resource."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    EXECUTE = "execute"
    ADMIN = "admin"


class DataZone(OpenEnum):
    """How sensitive data is; each zone is above the one before it."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


class TaskType(OpenEnum):
    """What kind of step a task is; servers treat all alike."""

    ACTION = "action"
    DECISION = "decision"
    PARALLEL = "parallel"


class SandboxType(OpenEnum):
    """Where a task's tool is to run."""

    MOCK = "mock"
    SIMULATION = "simulation"
    CONTAINER = "container"
    VM = "vm"
    PROCESS = "process"


class GoalGuardState(OpenEnum):
    """How far the judgement of an action is."""

    IDLE = "idle"
    EVALUATING = "evaluating"
    APPROVED = "approved"
    REJECTED = "rejected"
    PENDING_HUMAN = "pending_human"


class FailureTaxonomy(OpenEnum):
    """Why a validator, or a task, found something wrong."""

    MISSING_DATA = "MISSING_DATA"
    CONFLICT = "CONFLICT"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    POLICY_VIOLATION = "POLICY_VIOLATION"
    TOOL_ERROR = "TOOL_ERROR"
    NON_DETERMINISM = "NON_DETERMINISM"


class TelemetryEventType(OpenEnum):
    """What an event tells. A word that is not known here stays as it is, `is_known` false."""

    STEP_START = "step_start"
    STEP_END = "step_end"
    TOOL_CALL = "tool_call"
    CRV_RESULT = "crv_result"
    POLICY_CHECK = "policy_check"
    SNAPSHOT_COMMIT = "snapshot_commit"
    ROLLBACK = "rollback"
    CUSTOM = "custom"


class LogLevel(OpenEnum):
    """How much a log entry matters."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class CrvStatus(OpenEnum):
    """What a gate decided."""

    PASSED = "passed"
    BLOCKED = "blocked"
    WARNING = "warning"


class PrincipalType(OpenEnum):
    """Who acts."""

    AGENT = "agent"
    HUMAN = "human"
    SERVICE = "service"


class ResultStatus(OpenEnum):
    """How a workflow or a task ended, as a result tells it."""

    SUCCESS = "success"
    FAILED = "failed"
    PARTIAL = "partial"
    SKIPPED = "skipped"


class WorkflowState(OpenEnum):
    """Where a workflow stands, as its status tells it."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class TaskState(OpenEnum):
    """Where a task stands, as its workflow's status tells it."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class ApprovalStatus(OpenEnum):
    """Where a request for approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    USED = "used"
    NOT_REQUIRED = "not_required"
