"""HTTP input: listeners that hand requests to agents, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from ..enums import RouteMatchType, WebhookInvocationStatus
from .model import Model, Request

__all__ = [
    "AgentRoutingRule",
    "HttpInputConfig",
    "HttpInputCreateRequest",
    "HttpInputServerInfo",
    "HttpInputUpdateRequest",
    "HttpResponseControlConfig",
    "WebhookCompletedResponse",
    "WebhookExecutionStartedResponse",
    "WebhookInvocationRequest",
    "WebhookRunAudit",
    "WebhookToolRun",
    "WebhookTriggerRequest",
    "WebhookTriggerResponse",
    "WebhookVerifyConfig",
]

_PROVIDERS = ("github", "stripe", "slack", "generic")


class AgentRoutingRule(Request):
    """Which requests go to which agent. `condition_target` names a header or a JSON field."""

    condition_type: RouteMatchType
    condition_value: str
    condition_target: str | None = None
    agent_id: str

    _filled: ClassVar[tuple[str, ...]] = ("agent_id",)

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.condition_type != RouteMatchType.PATH_PREFIX and not self.condition_target:
            yield "condition_target", f"is required with condition_type {self.condition_type}"


class HttpResponseControlConfig(Request):
    """What a listener answers with."""

    default_status: int = 200
    agent_output_to_json: bool = True
    error_status: int = 500
    echo_input_on_error: bool = False

    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "default_status": (200, 599),
        "error_status": (400, 599),
    }


class WebhookVerifyConfig(Request):
    """Whose signature requests must bear: `github`, `stripe`, `slack` or `generic`."""

    provider: str
    secret: str

    _hidden: ClassVar[frozenset[str]] = frozenset({"secret"})
    _filled: ClassVar[tuple[str, ...]] = ("secret",)

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.provider not in _PROVIDERS:
            yield "provider", f"is one of {', '.join(_PROVIDERS)}"


class HttpInputConfig(Request):
    """A listener. `auth_header` is the whole value that `Authorization` must have."""

    bind_address: str = "0.0.0.0"
    port: int = 8081
    path: str = "/webhook"
    agent_id: str
    auth_header: str | None = None
    jwt_public_key_path: str | None = None
    max_body_bytes: int = 65536
    concurrency: int = 10
    routing_rules: list[AgentRoutingRule] | None = None
    response_control: HttpResponseControlConfig | None = None
    forward_headers: list[str] = []
    cors_enabled: bool = False
    audit_enabled: bool = True
    cors_origins: list[str] | None = None
    webhook_verify: WebhookVerifyConfig | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset({"auth_header"})
    _filled: ClassVar[tuple[str, ...]] = ("agent_id",)
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "port": (0, 65535),
        "max_body_bytes": (1, 1 << 30),
        "concurrency": (1, 10_000),
    }

    def _rules(self) -> Iterator[tuple[str, str]]:
        if not self.path.startswith("/"):
            yield "path", "begins with /"


class HttpInputServerInfo(Model):
    """A listener and how it is. `status` is `running`, `stopped` or `error`."""

    server_id: str
    config: HttpInputConfig
    status: str
    uptime_seconds: int | None = None
    requests_processed: int = 0
    active_connections: int = 0
    last_error: str | None = None


class HttpInputCreateRequest(Request):
    """A listener to be made."""

    config: HttpInputConfig


class HttpInputUpdateRequest(Request):
    """A listener to be changed."""

    server_id: str
    config: HttpInputConfig

    _filled: ClassVar[tuple[str, ...]] = ("server_id",)


class WebhookTriggerRequest(Request):
    """A request to a listener, made by the server itself. The values of `headers` are hidden."""

    server_id: str
    payload: dict[str, Any]
    headers: dict[str, str] = {}

    _hidden: ClassVar[frozenset[str]] = frozenset({"headers"})
    _filled: ClassVar[tuple[str, ...]] = ("server_id",)


class WebhookTriggerResponse(Model):
    """What the listener answered."""

    status: str
    response_code: int
    response_body: dict[str, Any]
    processing_time_ms: float
    agent_id: str


class WebhookInvocationRequest(Request):
    """What is posted to a listener. `system_prompt` is at most 4096 bytes."""

    prompt: str | None = None
    message: str | None = None
    system_prompt: str | None = None

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.system_prompt is not None and len(self.system_prompt.encode()) > 4096:
            yield "system_prompt", "is at most 4096 bytes long"


class WebhookToolRun(Model):
    """A tool that was called on the way to an answer."""

    tool: str
    input: Any = None
    output_preview: str = ""


class WebhookRunAudit(Model):
    """Where the signed record of a run is."""

    run_id: str
    path: str | None = None
    public_key: str | None = None


class WebhookExecutionStartedResponse(Model):
    """The agent was running and got the request as a message."""

    status: WebhookInvocationStatus
    agent_id: str
    message_id: str
    latency_ms: float | None = None
    timestamp: datetime | None = None


class WebhookCompletedResponse(Model):
    """The agent's answer, and how it came about."""

    status: WebhookInvocationStatus
    agent_id: str
    response: str
    tool_runs: list[WebhookToolRun] = []
    termination_reason: str | None = None
    iterations: int | None = None
    model: str | None = None
    provider: str | None = None
    latency_ms: float | None = None
    timestamp: datetime | None = None
    audit: WebhookRunAudit | None = None
    invocation_id: str | None = None
    replayed: bool | None = None
    total_usage: dict[str, Any] | None = None
    budget: dict[str, Any] | None = None
