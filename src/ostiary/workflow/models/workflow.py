"""Workflows as they are written: tasks, what they wait for, how they are retried and undone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..enums import DataZone, Intent, RiskTier, SandboxType, TaskType
from .model import Request

__all__ = [
    "CompensationAction",
    "CompensationHook",
    "Permission",
    "RetryConfig",
    "SafetyPolicy",
    "SafetyRule",
    "SandboxConfig",
    "TaskSpec",
    "WorkflowSpec",
]

_ANY: float = float("inf")


class Permission(Request):
    """Leave to do something with a resource. Where `intent` or `data_zone` is None, any."""

    action: str
    resource: str
    intent: Intent | None = None
    data_zone: DataZone | None = None
    conditions: dict[str, Any] | None = None

    _filled: ClassVar[tuple[str, ...]] = ("action", "resource")


class RetryConfig(Request):
    """How often a task is tried, and how long is waited in between.

    `max_attempts` counts all tries. The wait after the n-th is `backoff_ms` times
    `backoff_multiplier` to the power of n - 1; with `jitter`, half of it to one and a half.
    The server's own multiplier is 2, its jitter on.
    """

    max_attempts: int
    backoff_ms: int
    backoff_multiplier: float | None = None
    jitter: bool | None = None
    max_backoff_ms: int | None = None

    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {
        "max_attempts": (1, _ANY),
        "backoff_ms": (1, _ANY),
        "backoff_multiplier": (0, _ANY),
        "max_backoff_ms": (1, _ANY),
    }


class CompensationAction(Request):
    """What undoes a finished task when a later one fails: a tool and its arguments."""

    tool: str
    args: dict[str, Any] = {}

    _filled: ClassVar[tuple[str, ...]] = ("tool",)


class CompensationHook(Request):
    """Tasks of the same workflow that run only when this one fails, or is out of time."""

    on_failure: str | None = None
    on_timeout: str | None = None

    _filled: ClassVar[tuple[str, ...]] = ("on_failure", "on_timeout")


class SandboxConfig(Request):
    """Where a task's tool is to run; `simulation_mode` goes before `type`."""

    enabled: bool
    type: SandboxType | None = None
    simulation_mode: bool | None = None
    permissions: dict[str, Any] | None = None


class TaskSpec(Request):
    """One step.

    `timeout_ms` bounds each try. Without `risk_tier` a server takes it as low. `depends_on`
    names tasks that come first, beside those in the workflow's `dependencies`; it is merged
    into them before anything is sent.
    """

    id: str
    name: str
    type: TaskType
    inputs: dict[str, Any] | None = None
    retry: RetryConfig | None = None
    idempotency_key: str | None = None
    timeout_ms: int | None = None
    risk_tier: RiskTier | None = None
    compensation: CompensationHook | None = None
    compensation_action: CompensationAction | None = None
    tool_name: str | None = None
    required_permissions: list[Permission] | None = None
    allowed_tools: list[str] | None = None
    intent: Intent | None = None
    data_zone: DataZone | None = None
    sandbox_config: SandboxConfig | None = None
    depends_on: list[str] | None = None

    _filled: ClassVar[tuple[str, ...]] = ("id", "name", "tool_name", "idempotency_key")
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"timeout_ms": (1, _ANY)}


class SafetyRule(Request):
    """One rule of a safety policy; a server takes it as enabled, and as an error."""

    type: str
    description: str | None = None
    enabled: bool | None = None
    severity: str | None = None
    message: str | None = None
    approved_followers: list[str] | None = None
    minimum_risk_tier: RiskTier | None = None

    _filled: ClassVar[tuple[str, ...]] = ("type",)

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.severity not in {None, "error", "warning"}:
            yield "severity", "is error or warning"


class SafetyPolicy(Request):
    """Rules a workflow has to keep before it is run."""

    name: str
    description: str | None = None
    rules: list[SafetyRule]
    fail_fast: bool | None = None


class WorkflowSpec(Request):
    """Tasks and what each waits for: `dependencies` maps a task's id to the ids before it.

    A task that is not in `dependencies` waits for nothing but its own `depends_on`. Whether
    the whole can be put in order is `check`'s to say: see `ostiary.workflow.graph`.
    """

    id: str
    name: str
    goal: str | None = None
    constraints: list[str] | None = None
    success_criteria: list[str] | None = None
    tasks: list[TaskSpec]
    dependencies: dict[str, list[str]] = {}
    safety_policy: SafetyPolicy | None = None

    _filled: ClassVar[tuple[str, ...]] = ("id", "name")

    def check(self) -> None:
        """Raise `GraphError` when the tasks cannot be put in order; nothing is sent."""
        from ..graph import Graph

        Graph(self)

    def layers(self) -> list[list[str]]:
        """Return the tasks' ids in layers: each waits only for layers before its own."""
        from ..graph import Graph

        return Graph(self).layers()

    def to_mermaid(self) -> str:
        """Return the workflow as a Mermaid flowchart."""
        from ..drawing.mermaid import flowchart

        return flowchart(self)

    def to_svg(self) -> str:
        """Return the workflow as an SVG image."""
        from ..drawing.svg import picture

        return picture(self)
