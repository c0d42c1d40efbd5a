"""Runs: what is asked for, how far it is, how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, cast

from ..enums import ResultStatus, TaskState, WorkflowState
from .model import Model, Request
from .workflow import WorkflowSpec

__all__ = [
    "EventPage",
    "ServerHealth",
    "TaskExecutionResult",
    "TaskProgress",
    "WorkflowEvent",
    "WorkflowExecutionRequest",
    "WorkflowExecutionResult",
    "WorkflowPage",
    "WorkflowStatus",
    "WorkflowSummary",
]


class WorkflowExecutionRequest(Request):
    """A workflow to be run. `context` is free data that every tool gets."""

    workflow: WorkflowSpec
    context: dict[str, Any] | None = None
    correlation_id: str | None = None


class TaskExecutionResult(Model):
    """How one task ended: `success`, `failed` or `skipped`. `duration_ms` is milliseconds."""

    task_id: str
    status: ResultStatus
    result: Any = None
    error: str | None = None
    duration_ms: float | None = None
    attempts: int | None = None
    compensation: bool | None = None


class WorkflowExecutionResult(Model):
    """How a run ended: `success`, `failed`, or `partial` where something had succeeded before.

    A workflow that fails is a result, and no error of the call.
    """

    workflow_id: str
    status: ResultStatus
    task_results: dict[str, TaskExecutionResult] = {}
    error: str | None = None
    duration_ms: float | None = None
    correlation_id: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether every task did what it should."""
        return self.status == ResultStatus.SUCCESS

    def to_mermaid(self, workflow: WorkflowSpec) -> str:
        """Return the run as a Mermaid flowchart of `workflow`, each task as it ended."""
        from ..drawing.mermaid import flowchart

        return flowchart(workflow, self)

    def to_svg(self, workflow: WorkflowSpec) -> str:
        """Return the run as an SVG image of `workflow`, each task as it ended."""
        from ..drawing.svg import picture

        return picture(workflow, self)


class TaskProgress(Model):
    """Where one task of a workflow stands. `approval_token` is set while a person is asked."""

    task_id: str
    name: str | None = None
    status: TaskState
    attempt: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: float | None = None
    error: str | None = None
    requires_approval: bool = False
    approval_token: str | None = None


class WorkflowStatus(Model):
    """Where a workflow stands; a mapping too, since the guide's method returns one.

    `progress` is the part of the tasks that are done, from 0 to 1. `outcome` is how it ended,
    None while it runs.
    """

    workflow_id: str
    status: WorkflowState
    progress: float | None = None
    outcome: ResultStatus | None = None
    current_step: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    tasks: list[TaskProgress] = []
    crv_status: dict[str, Any] | None = None
    policy_status: dict[str, Any] | None = None
    correlation_id: str | None = None
    error: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.status in {
            WorkflowState.COMPLETED,
            WorkflowState.FAILED,
            WorkflowState.CANCELLED,
        }

    def __getitem__(self, name: str) -> Any:
        if name in self.__struct_fields__ and not name.startswith("_"):
            return getattr(self, name)
        return self.extra[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def keys(self) -> list[str]:
        """Return the names of the members."""
        return [*(n for n in self.__struct_fields__ if not n.startswith("_")), *self.extra]

    def values(self) -> list[Any]:
        """Return the members in the order of `keys`."""
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        """Return the members with their names."""
        return [(name, self[name]) for name in self.keys()]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a member by its name, or `default`."""
        try:
            return self[name]
        except KeyError:
            return default


# Its metaclass and that of `Mapping` do not go together, so it is told.
cast("Any", Mapping).register(WorkflowStatus)


class WorkflowSummary(Model):
    """One workflow of a list."""

    workflow_id: str
    name: str | None = None
    status: WorkflowState
    outcome: ResultStatus | None = None
    progress: float | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    correlation_id: str | None = None


class WorkflowPage(Model):
    """A part of the list of workflows; `next_cursor` asks for what follows, None ends it."""

    workflows: list[WorkflowSummary]
    next_cursor: str | None = None


class WorkflowEvent(Model):
    """One line of a workflow's record, such as `TASK_COMPLETED`.

    `sequence` counts from 1 within the workflow; a stream can be taken up again after any.
    """

    type: str
    timestamp: datetime
    workflow_id: str
    task_id: str | None = None
    sequence: int = 0
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}

    _final: ClassVar[frozenset[str]] = frozenset(
        {"WORKFLOW_COMPLETED", "WORKFLOW_FAILED", "WORKFLOW_CANCELLED"}
    )

    @property
    def is_final(self) -> bool:
        """Whether it is the last of its run."""
        return self.type in self._final


class EventPage(Model):
    """A part of a workflow's record; `next_cursor` asks for what follows, None ends it."""

    events: list[WorkflowEvent]
    next_cursor: str | None = None


class ServerHealth(Model):
    """How the server is; `ok` when all is well."""

    status: str
    timestamp: datetime | None = None
    version: str | None = None
