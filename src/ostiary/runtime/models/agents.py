"""The system and its agents: health, figures, agents and what they did, workflows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, cast

from ..enums import AgentState, ApprovalStatus, EventType, HeldActionKind
from .model import Model, Request

__all__ = [
    "Agent",
    "AgentEvent",
    "AgentExecution",
    "AgentMetrics",
    "AgentStatusResponse",
    "AgentSummary",
    "ErrorResponse",
    "HealthResponse",
    "HeldAction",
    "PaginationInfo",
    "ResourceUsage",
    "SystemMetrics",
    "SystemStatus",
    "WorkflowExecutionPage",
    "WorkflowExecutionRequest",
    "WorkflowExecutionResponse",
]

_ANY_COUNT = float("inf")


class HealthResponse(Model):
    """How the server is."""

    status: str
    uptime_seconds: int
    timestamp: datetime
    version: str


class SystemStatus(Model):
    """The server in five figures."""

    version: str
    healthy: bool
    agent_count: int | None = None
    schedule_count: int | None = None
    channel_count: int | None = None


class ErrorResponse(Model):
    """The body of a reply that says no. Errors carry these members themselves."""

    error: str
    code: str
    details: dict[str, Any] | None = None


class PaginationInfo(Model):
    """Which part of a list this is; pages count from 1. Its members can be read by key too."""

    page: int
    limit: int
    total: int
    has_next: bool

    def __getitem__(self, name: str) -> Any:
        if name in self.__struct_fields__ and name != "_extra":
            return getattr(self, name)
        return self.extra[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a member by its name, or `default`."""
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self) -> list[str]:
        """Return the names of the members, so that `dict(pagination)` works."""
        return [*(name for name in self.__struct_fields__ if name != "_extra"), *self.extra]

    @classmethod
    def _adapt(cls, raw: dict[str, Any]) -> dict[str, Any]:
        page, limit, total = raw.get("page"), raw.get("limit"), raw.get("total")
        if raw.get("has_next") is None and all(type(n) is int for n in (page, limit, total)):
            raw["has_next"] = cast("int", page) * cast("int", limit) < cast("int", total)
        return raw


class Agent(Request):
    """An agent to be created.

    `dsl`, `execution_mode`, `capabilities` and `metadata` are for servers that compile agents;
    `execution_mode` is a word of `ExecutionMode`, or an object such as `{"External": {...}}`.
    """

    id: str
    name: str
    description: str
    system_prompt: str
    tools: list[str]
    model: str
    temperature: float
    top_p: float
    max_tokens: int
    dsl: str | None = None
    execution_mode: str | dict[str, Any] | None = None
    capabilities: list[str] | None = None
    metadata: dict[str, str] | None = None

    _filled: ClassVar[tuple[str, ...]] = ("id", "name")
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "temperature": (0, 2),
        "top_p": (0, 1),
        "max_tokens": (1, _ANY_COUNT),
    }


class AgentSummary(Model):
    """An agent in a list."""

    id: str
    name: str | None = None
    state: AgentState | None = None


class ResourceUsage(Model):
    """What an agent uses; None where the server took no sample."""

    memory_bytes: int | None = None
    cpu_percent: float | None = None
    active_tasks: int = 0


class AgentEvent(Model):
    """Something that an agent which runs elsewhere told of itself."""

    event_type: EventType
    payload: Any = None
    timestamp: datetime | None = None


class AgentStatusResponse(Model):
    """How an agent is. The last three are told of agents that run elsewhere."""

    agent_id: str
    state: AgentState
    last_activity: datetime
    resource_usage: ResourceUsage
    execution_mode: str | None = None
    metadata: dict[str, Any] | None = None
    last_result: str | None = None
    recent_events: list[AgentEvent] | None = None


class AgentExecution(Model):
    """One run of an agent. `result` is whatever the agent made."""

    execution_id: str
    status: str
    agent_id: str | None = None
    timestamp: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    result: Any = None
    error: str | None = None


class AgentMetrics(Model):
    """What an agent did and used."""

    agent_id: str
    tasks_completed: int
    tasks_failed: int
    average_response_time_ms: float
    memory_usage_bytes: int
    cpu_usage_percent: float
    last_activity: datetime
    uptime_seconds: int


class SystemMetrics(Model):
    """The server's figures; None for what it did not tell."""

    uptime_seconds: int | None = None
    memory_usage_bytes: int | None = None
    memory_usage_percent: float | None = None
    cpu_usage_percent: float | None = None
    disk_usage_bytes: int | None = None
    disk_usage_percent: float | None = None
    active_agents: int | None = None
    total_agents: int | None = None
    secrets_count: int | None = None
    mcp_connections: int | None = None
    vector_db_items: int | None = None

    @classmethod
    def _adapt(cls, raw: dict[str, Any]) -> dict[str, Any]:
        for group, names in _NESTED_METRICS.items():
            inner = raw.get(group)
            if isinstance(inner, dict):
                figures = cast("dict[str, Any]", inner)
                for theirs, ours in names.items():
                    if raw.get(ours) is None and theirs in figures:
                        raw[ours] = figures[theirs]
        return raw


# The form of the Rust runtime: group, its name there, its name here.
_NESTED_METRICS: Mapping[str, Mapping[str, str]] = {
    "agents": {"total": "total_agents", "running": "active_agents"},
    "system": {
        "uptime_seconds": "uptime_seconds",
        "memory_usage": "memory_usage_bytes",
        "cpu_usage": "cpu_usage_percent",
    },
}


class WorkflowExecutionRequest(Request):
    """A workflow to be run. Some servers take the DSL's text in place of a name."""

    workflow_id: str
    parameters: dict[str, Any]
    agent_id: str | None = None

    _filled: ClassVar[tuple[str, ...]] = ("workflow_id",)


class WorkflowExecutionResponse(Model):
    """A run of a workflow."""

    execution_id: str
    status: str
    started_at: datetime
    result: dict[str, Any] | None = None
    workflow_id: str | None = None
    agent_id: str | None = None
    completed_at: datetime | None = None
    error: str | None = None


class WorkflowExecutionPage(Model):
    """A page of workflow runs, the newest first."""

    executions: list[WorkflowExecutionResponse]
    pagination: PaginationInfo


class HeldAction(Model):
    """Something an agent wants to do and waits to be allowed."""

    id: str
    agent_id: str
    kind: HeldActionKind
    summary: str = ""
    reason: str | None = None
    context_snapshot: Any = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    status: ApprovalStatus = ApprovalStatus.PENDING

    def _rules(self) -> Iterator[tuple[str, str]]:
        if not self.id:
            yield "id", "is not empty"
