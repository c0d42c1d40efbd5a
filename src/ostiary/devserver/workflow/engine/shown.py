"""Workflows as clients see them: how far one is, how it ended, a line of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ....workflow.enums import ResultStatus, TaskState
from ....workflow.graph import Graph
from ...clock import iso
from .records import TaskRecord, WorkflowRecord

__all__ = ["result_of", "status_of", "summary_of"]

_decode = msgspec.json.Decoder().decode

_OUTCOMES: Final[Mapping[str, ResultStatus]] = {
    TaskState.COMPLETED: ResultStatus.SUCCESS,
    TaskState.FAILED: ResultStatus.FAILED,
    TaskState.TIMEOUT: ResultStatus.FAILED,
    TaskState.CANCELLED: ResultStatus.FAILED,
}


def result_of(
    record: WorkflowRecord,
    graph: Graph,
    tasks: Mapping[str, TaskRecord],
    results: Mapping[str, bytes],
    hooks: Mapping[str, TaskRecord],
    hook_results: Mapping[str, bytes],
) -> dict[str, Any]:
    """Return how a workflow ended, in the form of `WorkflowExecutionResult`."""
    entries: dict[str, Any] = {}
    for name in graph.order():
        task = tasks.get(name)
        if task is None or not _counts(task, record):
            entries[name] = {"task_id": name, "status": str(ResultStatus.SKIPPED)}
        else:
            entries[name] = _entry(task, results.get(name))
    for name, task in hooks.items():
        # A step that was done, or failed, as such says more than that it served as a hook.
        if entries.get(name, {}).get("status", ResultStatus.SKIPPED) == ResultStatus.SKIPPED:
            entries[name] = {**_entry(task, hook_results.get(name)), "compensation": True}
    shown: dict[str, Any] = {
        "workflow_id": record.workflow_id,
        "status": record.outcome,
        "task_results": entries,
        "error": record.error,
        "duration_ms": record.duration_ms,
        "correlation_id": record.correlation_id,
    }
    return _without_none(shown)


def _entry(task: TaskRecord, result: bytes | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "task_id": task.task_id,
        "status": str(_OUTCOMES.get(task.state, ResultStatus.SKIPPED)),
        "error": task.error,
        "duration_ms": task.duration_ms,
        "attempts": task.attempt or None,
        "approval_token": task.approval_token,
        "failure_code": task.code,
        "replayed": task.replayed or None,
    }
    if task.state == TaskState.COMPLETED and result is not None:
        entry["result"] = _decode(result)
    if task.undone:
        entry["compensated"] = task.undone == "done"
        entry["compensation_error"] = task.undo_error
    return _without_none(entry)


def status_of(
    record: WorkflowRecord,
    graph: Graph,
    tasks: Mapping[str, TaskRecord],
    hooks: Mapping[str, TaskRecord],
    *,
    progress: float,
    current: str | None = None,
) -> dict[str, Any]:
    """Return where a workflow stands, in the form of `WorkflowStatus`."""
    shown = [_progress(record, graph, name, tasks.get(name)) for name in graph.order()]
    shown.extend(
        {**_progress(record, graph, name, task), "compensation": True}
        for name, task in hooks.items()
    )
    gate: Mapping[str, Any] = {"status": "none"}
    asked: TaskRecord | None = None
    refused: TaskRecord | None = None
    for task in sorted(tasks.values(), key=lambda task: task.position):
        gate = task.gate or gate
        if task.approval_token is not None:
            asked = task
        if task.code == "POLICY_VIOLATION" and _counts(task, record):
            refused = task
    policy: dict[str, Any] = {"status": "none", "requires_human_approval": asked is not None}
    if asked is not None:
        policy.update(status="pending", approval_token=asked.approval_token, reason=asked.error)
    elif refused is not None:
        policy.update(status="rejected", reason=refused.error)
    elif any(task.state != TaskState.PENDING for task in tasks.values()):
        policy["status"] = "approved"
    return _without_none(
        {
            "workflow_id": record.workflow_id,
            "name": record.name,
            "status": record.state,
            "progress": progress,
            "outcome": record.outcome if record.is_over else None,
            "current_step": current,
            "started_at": iso(record.started),
            "completed_at": None if record.completed is None else iso(record.completed),
            "tasks": shown,
            "crv_status": gate,
            "policy_status": _without_none(policy),
            "correlation_id": record.correlation_id,
            "round": record.round,
            "error": record.error,
        }
    )


def _progress(
    record: WorkflowRecord, graph: Graph, name: str, task: TaskRecord | None
) -> dict[str, Any]:
    shown: dict[str, Any] = {"task_id": name, "name": graph.tasks[name].name}
    if task is None or not _counts(task, record):
        shown["status"] = str(TaskState.SKIPPED if record.is_over else TaskState.PENDING)
        shown["attempt"] = 0
        return shown
    shown.update(
        status=task.state,
        attempt=task.attempt,
        started_at=None if task.started is None else iso(task.started),
        completed_at=None if task.completed is None else iso(task.completed),
        duration_ms=task.duration_ms,
        error=task.error,
        requires_approval=task.approval_token is not None,
        approval_token=task.approval_token,
        compensated=None if not task.undone else task.undone == "done",
    )
    return _without_none(shown)


def summary_of(record: WorkflowRecord, progress: float) -> dict[str, Any]:
    """Return a workflow in the form of `WorkflowSummary`."""
    return _without_none(
        {
            "workflow_id": record.workflow_id,
            "name": record.name,
            "status": record.state,
            "outcome": record.outcome if record.is_over else None,
            "progress": progress,
            "started_at": iso(record.started),
            "completed_at": None if record.completed is None else iso(record.completed),
            "correlation_id": record.correlation_id,
        }
    )


def _counts(task: TaskRecord, record: WorkflowRecord) -> bool:
    """Return whether what is known of a task is of the latest round, or still holds."""
    return task.round == record.round or task.is_finished


def _without_none(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value is not None}
