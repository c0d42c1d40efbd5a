"""The words of the runtime's protocol. A word this version does not know is read, not refused.

Members are text: they compare with it, print as it and travel as it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .._model.words import OpenEnum

__all__ = [
    "AgentState",
    "ApprovalStatus",
    "AuthMethod",
    "EndpointStatus",
    "EventType",
    "ExecutionMode",
    "FindingCategory",
    "FindingSeverity",
    "HeldActionKind",
    "HttpMethod",
    "KnowledgeSourceType",
    "McpConnectionStatus",
    "MessageStatus",
    "MessageType",
    "OpenEnum",
    "RouteMatchType",
    "ReviewStatus",
    "ScheduleRunStatus",
    "ScheduleStatus",
    "SecretBackendType",
    "VaultAuthMethod",
    "WebhookInvocationStatus",
    "WebhookProviderType",
]


class AgentState(OpenEnum):
    """What an agent is doing.

    The words of the Rust runtime are read as one of these: `Running` is `active`,
    `Initializing` and `Terminating` are `busy`, `Created`, `Ready`, `Waiting` and `Completed`
    are `idle`, `Suspended` and `Terminated` are `stopped`, `Failed` and `Unreachable` are
    `error`. `raw` is then the word itself.
    """

    IDLE = "idle"
    ACTIVE = "active"
    BUSY = "busy"
    ERROR = "error"
    STOPPED = "stopped"

    @classmethod
    def _meaning(cls, word: str) -> OpenEnum | None:
        folded = word.lower()
        return cls.__members__.get(RUNTIME_STATES.get(folded, folded).upper())


# The words of the servers of today, and the five that the guide has for them.
RUNTIME_STATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "created": "idle",
        "initializing": "busy",
        "ready": "idle",
        "running": "active",
        "suspended": "stopped",
        "waiting": "idle",
        "completed": "idle",
        "failed": "error",
        "terminating": "busy",
        "terminated": "stopped",
        "unreachable": "error",
    }
)


class SecretBackendType(OpenEnum):
    """Where a runtime keeps secrets. `sealed` is the embedded runtime's own vault."""

    SEALED = "sealed"
    VAULT = "vault"
    ENCRYPTED_FILE = "encrypted_file"
    OS_KEYCHAIN = "os_keychain"


class VaultAuthMethod(OpenEnum):
    """How a runtime logs in to HashiCorp Vault."""

    TOKEN = "token"
    KUBERNETES = "kubernetes"
    AWS_IAM = "aws_iam"
    APPROLE = "approle"


class McpConnectionStatus(OpenEnum):
    """How an MCP server's connection is."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    ERROR = "error"


class KnowledgeSourceType(OpenEnum):
    """What a piece of knowledge was taken from."""

    DOCUMENT = "document"
    CODE = "code"
    API_REFERENCE = "api_reference"
    CONVERSATION = "conversation"


class ReviewStatus(OpenEnum):
    """How far a tool's review has come."""

    SUBMITTED = "submitted"
    PENDING_ANALYSIS = "pending_analysis"
    ANALYZING = "analyzing"
    PENDING_REVIEW = "pending_review"
    UNDER_REVIEW = "under_review"
    AWAITING_HUMAN_REVIEW = "awaiting_human_review"
    APPROVED = "approved"
    REJECTED = "rejected"
    SIGNED = "signed"
    SIGNING_FAILED = "signing_failed"

    @property
    def is_final(self) -> bool:
        """Whether a decision has been made: approved, rejected or signed."""
        return self in _DECIDED


_DECIDED: Final = frozenset({"approved", "rejected", "signed"})


class FindingSeverity(OpenEnum):
    """How grave a finding is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class FindingCategory(OpenEnum):
    """What kind of weakness a finding is."""

    SCHEMA_INJECTION = "schema_injection"
    PRIVILEGE_ESCALATION = "privilege_escalation"
    DATA_EXPOSURE = "data_exposure"
    MALICIOUS_CODE = "malicious_code"
    RESOURCE_ABUSE = "resource_abuse"
    DATA_EXFILTRATION = "data_exfiltration"
    SUSPICIOUS_PARAMETERS = "suspicious_parameters"
    UNVALIDATED_INPUT = "unvalidated_input"
    INSECURE_DEFAULTS = "insecure_defaults"
    OTHER = "other"


class RouteMatchType(OpenEnum):
    """What an HTTP input's rule looks at."""

    PATH_PREFIX = "path_prefix"
    HEADER_EQUALS = "header_equals"
    JSON_FIELD_EQUALS = "json_field_equals"


class HttpMethod(OpenEnum):
    """The verb of an endpoint."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    PATCH = "PATCH"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"


class EndpointStatus(OpenEnum):
    """Whether an endpoint answers."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    MAINTENANCE = "maintenance"
    ERROR = "error"


class AuthMethod(OpenEnum):
    """How a caller proves itself."""

    API_KEY = "api_key"
    JWT = "jwt"
    OAUTH2 = "oauth2"
    BASIC = "basic"


class WebhookProviderType(OpenEnum):
    """Whose signature a webhook bears."""

    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    CUSTOM = "custom"


class WebhookInvocationStatus(OpenEnum):
    """How an HTTP input answered."""

    EXECUTION_STARTED = "execution_started"
    COMPLETED = "completed"


class ScheduleStatus(OpenEnum):
    """How a schedule is."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD_LETTER = "dead_letter"


class ScheduleRunStatus(OpenEnum):
    """How a scheduled run went."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"


class EventType(OpenEnum):
    """What an external agent tells of itself."""

    RUN_STARTED = "RunStarted"
    RUN_COMPLETED = "RunCompleted"
    RUN_FAILED = "RunFailed"


class MessageStatus(OpenEnum):
    """What has become of a message."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class MessageType(OpenEnum):
    """How a message was addressed."""

    DIRECT = "direct"
    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    BROADCAST = "broadcast"
    REQUEST = "request"
    RESPONSE = "response"


class HeldActionKind(OpenEnum):
    """What an agent wants to do and must ask for."""

    TOOL_CALL = "tool_call"
    DELEGATE = "delegate"
    SCHEDULE = "schedule"
    OTHER = "other"


class ApprovalStatus(OpenEnum):
    """What was said to an agent that asked."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


class ExecutionMode(OpenEnum):
    """How a runtime runs an agent."""

    EXTERNAL = "External"
    PERSISTENT = "Persistent"
    EPHEMERAL = "Ephemeral"
    SCHEDULED = "Scheduled"
    CRON_SCHEDULED = "CronScheduled"
    EVENT_DRIVEN = "EventDriven"
