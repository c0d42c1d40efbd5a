"""The wire contract, one line per endpoint (docs/runtime-wire.md).

Paths stand behind the base URL, which ends with `/api/v1`. Neighbours: `_bodies.py` for what
is sent, the models for what comes back, `_features.py` for the groups a server may lack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import msgspec

from .._decoders import decoder_of
from .._route import Fail, Route
from ._features import lacking
from .errors import refusal
from .models import (
    AgentDeployResponse,
    AgentExecution,
    AgentMessage,
    AgentMetrics,
    AgentStatusResponse,
    AgentSummary,
    AnalysisResults,
    ChannelActionResponse,
    ChannelAuditEntry,
    ChannelDetail,
    ChannelHealth,
    ChannelSummary,
    ContextResponse,
    CreateScheduleResponse,
    DeleteChannelResponse,
    DeleteScheduleResponse,
    DslCompileResponse,
    HealthResponse,
    HeldAction,
    HttpInputServerInfo,
    IdentityMapping,
    IngestResult,
    KnowledgeItem,
    KnowledgePage,
    McpConnectionInfo,
    McpResourceContents,
    McpResourceInfo,
    McpToolInfo,
    McpToolResult,
    MessageReceipt,
    NextRunsResponse,
    RegisterChannelResponse,
    ReviewSession,
    ReviewSessionList,
    ReviewSessionResponse,
    ReviewStatistics,
    RuntimeEvent,
    ScheduleActionResponse,
    ScheduleDetail,
    SchedulerHealth,
    ScheduleRunEntry,
    ScheduleSummary,
    SecretBackendInfo,
    SecretListResponse,
    SecretResponse,
    SignedTool,
    SigningKey,
    SigningResponse,
    SystemMetrics,
    SystemStatus,
    VectorSearchResponse,
    WebhookTriggerResponse,
    WorkflowExecutionPage,
    WorkflowExecutionResponse,
    reader,
)

T = TypeVar("T")

_names: Final = decoder_of(list[str]).decode
_members: Final = decoder_of(dict[str, Any]).decode
_raw_members: Final = decoder_of(dict[str, msgspec.Raw]).decode


class StoredValue(msgspec.Struct, frozen=True, gc=False):
    """A secret as the server gives it out; hides its value."""

    value: str

    def __repr__(self) -> str:
        return "StoredValue(...)"


def _object(body: Any) -> dict[str, Any]:
    """Read a JSON object; a reply without a body says no more than that it is done."""
    return _members(body) if len(body) else {}


def _listed(model: type[T], *names: str) -> Callable[[Any], list[T]]:
    """Return a decoder for a bare list, or for one that stands under one of `names`."""
    bare: Callable[[Any], list[T]] = reader(list[model])  # type: ignore[valid-type]

    def decode(body: Any) -> list[T]:
        for first in memoryview(body)[:64].tobytes().lstrip():
            if first == 0x7B:  # an object
                wrapped = _raw_members(body)
                for name in names:
                    if name in wrapped:
                        return bare(wrapped[name])
            break
        return bare(body)

    return decode


_summaries: Final = _listed(AgentSummary, "agents")


def _agent_ids(body: Any) -> list[str]:
    """Read the ids of agents; newer servers list objects that have one."""
    try:
        return _names(body)
    except msgspec.ValidationError:
        pass
    return [one.id for one in _summaries(body)]


def _agent_summaries(body: Any) -> list[AgentSummary]:
    try:
        return _summaries(body)
    except msgspec.ValidationError:
        pass
    return [AgentSummary(id=one) for one in _names(body)]


def _text(body: Any) -> str:
    return str(body, "utf-8")


class _Group:
    """The routes of a group that not every server has; without a title, of what all have."""

    __slots__ = ("_title",)

    def __init__(self, title: str = "") -> None:
        self._title = title

    def _no(self, template: str, *, named: bool = False, hushed: bool = False) -> Fail:
        if not self._title:
            return refusal
        return lacking(self._title, ids="{" in template or named, quotes_secrets=hushed)

    def __call__(
        self,
        method: str,
        template: str,
        model: type[T],
        *,
        decode: Callable[[Any], T] | None = None,
        idempotent: bool | None = None,
        named: bool = False,
        hushed: bool = False,
    ) -> Route[T]:
        """`named`: the body names a thing. `hushed`: the body holds a secret."""
        return Route(
            method,
            template,
            model,
            decode=decode or reader(model),
            idempotent=idempotent,
            fail=self._no(template, named=named, hushed=hushed),
        )

    def many(self, method: str, template: str, model: type[T], *names: str) -> Route[list[T]]:
        reply = cast("type[list[T]]", list)
        return Route(
            method, template, reply, decode=_listed(model, *names), fail=self._no(template)
        )

    def any(
        self, method: str, template: str, *, named: bool = False, hushed: bool = False
    ) -> Route[dict[str, Any]]:
        """An object whose members are the server's business."""
        return Route(
            method,
            template,
            dict[str, Any],
            decode=_object,
            fail=self._no(template, named=named, hushed=hushed),
        )

    def nothing(self, method: str, template: str, *, idempotent: bool | None = None) -> Route[None]:
        return Route(method, template, None, fail=self._no(template), idempotent=idempotent)


_core: Final = _Group()
_external: Final = _Group("external agents")
_messages: Final = _Group("messages between agents")
_history: Final = _Group("executions of agents")
_runs: Final = _Group("workflow executions")
_approvals: Final = _Group("approvals")
_reviews: Final = _Group("tool review")
_secrets: Final = _Group("secrets")
_mcp: Final = _Group("MCP servers")
_knowledge: Final = _Group("knowledge")
_dsl: Final = _Group("agent language")
_deployed: Final = _Group("deployments")
_inputs: Final = _Group("HTTP input")
_jobs: Final = _Group("schedules")
_channels: Final = _Group("channels")
_events: Final = _Group("event stream")
_figures: Final = _Group("figures of that kind")

HEALTH = _core("GET", "/health", HealthResponse)
STATUS = _figures("GET", "/status", SystemStatus)
METRICS = _core("GET", "/metrics", SystemMetrics)
METRICS_PROMETHEUS = _figures("GET", "/metrics/prometheus", str, decode=_text)
AGENT_METRICS = _figures("GET", "/agents/{agent_id}/metrics", AgentMetrics)
EVENTS = _events("GET", "/events", RuntimeEvent)

AGENTS_LIST = _core("GET", "/agents", list[str], decode=_agent_ids)
AGENTS_DETAILS = _core("GET", "/agents", list[AgentSummary], decode=_agent_summaries)
AGENT_STATUS = _core("GET", "/agents/{agent_id}/status", AgentStatusResponse)
AGENT_STATUS_SEED = _core("GET", "/agents/{agent_id}", AgentStatusResponse)
AGENT_CREATE = _core.any("POST", "/agents")
AGENT_UPDATE = _core.any("PUT", "/agents/{agent_id}")
AGENT_DELETE = _core.any("DELETE", "/agents/{agent_id}")
AGENT_EXECUTE = _history("POST", "/agents/{agent_id}/execute", AgentExecution)
AGENT_EXECUTION = _history("GET", "/agents/{agent_id}/executions/{execution_id}", AgentExecution)
AGENT_EXECUTION_CANCEL = _history(
    "POST", "/agents/{agent_id}/executions/{execution_id}/cancel", AgentExecution
)
AGENT_HISTORY = _history.many("GET", "/agents/{agent_id}/history", AgentExecution, "history")
AGENT_HEARTBEAT = _external.nothing("POST", "/agents/{agent_id}/heartbeat", idempotent=True)
AGENT_EVENT = _external.nothing("POST", "/agents/{agent_id}/events")
MESSAGE_SEND = _messages("POST", "/agents/{agent_id}/messages", MessageReceipt)
# Reading takes the messages out of the box: one lost on its way would be lost for good.
MESSAGES_TAKE = Route(
    "GET",
    "/agents/{agent_id}/messages",
    cast("type[list[AgentMessage]]", list),
    decode=_listed(AgentMessage, "messages"),
    idempotent=False,
    fail=lacking("messages between agents", ids=True),
)
MESSAGE_STATUS = _messages("GET", "/messages/{message_id}/status", MessageReceipt)
APPROVALS_LIST = _approvals.many("GET", "/approvals", HeldAction, "approvals")
APPROVAL_APPROVE = _approvals.any("POST", "/approvals/{approval_id}/approve")
APPROVAL_DENY = _approvals.any("POST", "/approvals/{approval_id}/deny")

WORKFLOW_EXECUTE = _core.any("POST", "/workflows/execute")
WORKFLOW_EXECUTE_SEED = _core.any("POST", "/workflows")
WORKFLOW_EXECUTION = _runs("GET", "/workflows/executions/{execution_id}", WorkflowExecutionResponse)
WORKFLOW_EXECUTIONS = _runs("GET", "/workflows/executions", WorkflowExecutionPage)

REVIEW_SUBMIT = _reviews("POST", "/tool-review/sessions", ReviewSessionResponse)
REVIEW_GET = _reviews("GET", "/tool-review/sessions/{review_id}", ReviewSession)
REVIEWS_LIST = _reviews("GET", "/tool-review/sessions", ReviewSessionList)
REVIEW_QUEUE = _reviews("GET", "/tool-review/queue", ReviewSessionList)
REVIEW_STATISTICS = _reviews("GET", "/tool-review/stats", ReviewStatistics)
REVIEW_ANALYSIS = _reviews("GET", "/tool-review/analysis/{analysis_id}", AnalysisResults)
REVIEW_DECIDE = _reviews.any("POST", "/tool-review/sessions/{review_id}/decisions")
REVIEW_SIGN = _reviews("POST", "/tool-review/sign", SigningResponse, named=True)
REVIEW_CLAIM = _reviews("POST", "/tool-review/sessions/{review_id}/claim", ReviewSession)
REVIEW_SIGNED = _reviews("GET", "/tool-review/signed/{review_id}", SignedTool)
SIGNING_KEY_CREATE = _reviews("POST", "/tool-review/keys", SigningKey)
SIGNING_KEYS = _reviews.many("GET", "/tool-review/keys", SigningKey, "keys")

SECRETS_CONFIGURE = _secrets.any("POST", "/secrets/config", hushed=True)
SECRETS_BACKEND = _secrets("GET", "/secrets/config", SecretBackendInfo)
SECRET_STORE = _secrets("POST", "/secrets", SecretResponse, hushed=True)
SECRET_GET = _secrets("GET", "/secrets/{agent_id}/{secret_name}", StoredValue)
SECRETS_LIST = _secrets("GET", "/secrets/{agent_id}", SecretListResponse)
SECRET_DELETE = _secrets.any("DELETE", "/secrets/{agent_id}/{secret_name}")

MCP_ADD = _mcp.any("POST", "/mcp/servers", hushed=True)
MCP_LIST = _mcp.many("GET", "/mcp/servers", McpConnectionInfo, "servers")
MCP_GET = _mcp("GET", "/mcp/servers/{server_name}", McpConnectionInfo)
MCP_REMOVE = _mcp.any("DELETE", "/mcp/servers/{server_name}")
MCP_CONNECT = _mcp.any("POST", "/mcp/servers/{server_name}/connect")
MCP_DISCONNECT = _mcp.any("POST", "/mcp/servers/{server_name}/disconnect")
MCP_TOOLS = _mcp.many("GET", "/mcp/tools", McpToolInfo, "tools")
MCP_RESOURCES = _mcp.many("GET", "/mcp/resources", McpResourceInfo, "resources")
MCP_CALL = _mcp("POST", "/mcp/servers/{server_name}/tools/call", McpToolResult)
MCP_READ = _mcp("GET", "/mcp/servers/{server_name}/resources/read", McpResourceContents)

KNOWLEDGE_ADD = _knowledge.any("POST", "/knowledge")
KNOWLEDGE_LIST = _knowledge("GET", "/knowledge", KnowledgePage)
KNOWLEDGE_GET = _knowledge("GET", "/knowledge/{item_id}", KnowledgeItem)
KNOWLEDGE_DELETE = _knowledge.any("DELETE", "/knowledge/{item_id}")
KNOWLEDGE_INGEST = _knowledge("POST", "/knowledge/ingest", IngestResult)
# Both only read, whatever their verb says.
KNOWLEDGE_SEARCH = _knowledge("POST", "/knowledge/search", VectorSearchResponse, idempotent=True)
RAG_CONTEXT = _knowledge("POST", "/rag/context", ContextResponse, idempotent=True)

DSL_COMPILE = _dsl("POST", "/dsl/compile", DslCompileResponse)
DEPLOY = _deployed("POST", "/agents/deploy", AgentDeployResponse, named=True)
DEPLOYMENT_GET = _deployed("GET", "/agents/deployments/{deployment_id}", AgentDeployResponse)
DEPLOYMENTS_LIST = _deployed.many("GET", "/agents/deployments", AgentDeployResponse, "deployments")
DEPLOYMENT_ROLLBACK = _deployed(
    "POST", "/agents/deployments/{deployment_id}/rollback", AgentDeployResponse
)
DEPLOYMENT_STOP = _deployed.any("POST", "/agents/deployments/{deployment_id}/stop")

HTTP_INPUT_CREATE = _inputs("POST", "/http-input/servers", HttpInputServerInfo, hushed=True)
HTTP_INPUT_LIST = _inputs.many("GET", "/http-input/servers", HttpInputServerInfo, "servers")
HTTP_INPUT_GET = _inputs("GET", "/http-input/servers/{server_id}", HttpInputServerInfo)
HTTP_INPUT_UPDATE = _inputs(
    "PUT", "/http-input/servers/{server_id}", HttpInputServerInfo, hushed=True
)
HTTP_INPUT_START = _inputs.any("POST", "/http-input/servers/{server_id}/start")
HTTP_INPUT_STOP = _inputs.any("POST", "/http-input/servers/{server_id}/stop")
HTTP_INPUT_DELETE = _inputs.any("DELETE", "/http-input/servers/{server_id}")
HTTP_INPUT_TRIGGER = _inputs(
    "POST", "/http-input/servers/{server_id}/trigger", WebhookTriggerResponse
)
HTTP_INPUT_METRICS = _inputs.any("GET", "/http-input/servers/{server_id}/metrics")

SCHEDULES_LIST = _jobs.many("GET", "/schedules", ScheduleSummary, "schedules")
SCHEDULE_CREATE = _jobs("POST", "/schedules", CreateScheduleResponse, named=True)
SCHEDULE_GET = _jobs("GET", "/schedules/{job_id}", ScheduleDetail)
SCHEDULE_UPDATE = _jobs("PUT", "/schedules/{job_id}", ScheduleDetail)
SCHEDULE_DELETE = _jobs("DELETE", "/schedules/{job_id}", DeleteScheduleResponse)
SCHEDULE_PAUSE = _jobs("POST", "/schedules/{job_id}/pause", ScheduleActionResponse)
SCHEDULE_RESUME = _jobs("POST", "/schedules/{job_id}/resume", ScheduleActionResponse)
SCHEDULE_TRIGGER = _jobs("POST", "/schedules/{job_id}/trigger", ScheduleActionResponse)
SCHEDULE_HISTORY = _jobs.many("GET", "/schedules/{job_id}/history", ScheduleRunEntry, "history")
SCHEDULE_NEXT_RUNS = _jobs("GET", "/schedules/{job_id}/next-runs", NextRunsResponse)
SCHEDULER_HEALTH = _jobs("GET", "/health/scheduler", SchedulerHealth)

CHANNELS_LIST = _channels.many("GET", "/channels", ChannelSummary, "channels")
CHANNEL_REGISTER = _channels("POST", "/channels", RegisterChannelResponse, hushed=True)
CHANNEL_GET = _channels("GET", "/channels/{channel_id}", ChannelDetail)
CHANNEL_UPDATE = _channels("PUT", "/channels/{channel_id}", ChannelDetail, hushed=True)
CHANNEL_DELETE = _channels("DELETE", "/channels/{channel_id}", DeleteChannelResponse)
CHANNEL_START = _channels("POST", "/channels/{channel_id}/start", ChannelActionResponse)
CHANNEL_STOP = _channels("POST", "/channels/{channel_id}/stop", ChannelActionResponse)
CHANNEL_HEALTH = _channels("GET", "/channels/{channel_id}/health", ChannelHealth)
CHANNEL_MAPPINGS = _channels.many(
    "GET", "/channels/{channel_id}/mappings", IdentityMapping, "mappings"
)
CHANNEL_MAPPING_ADD = _channels("POST", "/channels/{channel_id}/mappings", IdentityMapping)
CHANNEL_MAPPING_REMOVE = _channels.any("DELETE", "/channels/{channel_id}/mappings/{user_id}")
CHANNEL_SEND = _channels.any("POST", "/channels/{channel_id}/messages")
CHANNEL_AUDIT = _channels.many(
    "GET", "/channels/{channel_id}/audit", ChannelAuditEntry, "entries", "audit"
)
