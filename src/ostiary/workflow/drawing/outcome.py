"""What the drawings say of a task: its label, and the colour of how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..models import TaskSpec, WorkflowExecutionResult

__all__ = ["COLOURS", "label_of", "outcome_of"]

COLOURS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "success": ("#dafbe1", "#1a7f37"),
        "failed": ("#ffebe9", "#cf222e"),
        "skipped": ("#f6f8fa", "#8c959f"),
    }
)
"""Fill and border of each outcome."""


def outcome_of(task_id: str, result: WorkflowExecutionResult | None) -> str | None:
    """Return how a task ended: a key of `COLOURS`, or None when nothing is known of it."""
    found = None if result is None else result.task_results.get(task_id)
    word = None if found is None else str(found.status)
    return word if word in COLOURS else None


def label_of(task: TaskSpec, result: WorkflowExecutionResult | None) -> list[str]:
    """Return the lines that stand in a task's box."""
    about = [word for word in (task.tool_name, _tier(task)) if word]
    lines = [task.name, " · ".join(about)] if about else [task.name]
    found = None if result is None else result.task_results.get(task.id)
    if found is not None:
        took = "" if found.duration_ms is None else f" in {_time(found.duration_ms)}"
        lines.append(f"{found.status}{took}")
    return lines


def _tier(task: TaskSpec) -> str | None:
    return None if task.risk_tier is None else f"{str(task.risk_tier).lower()} risk"


def _time(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.3g} s" if seconds < 60 else f"{seconds / 60:.1f} min"
