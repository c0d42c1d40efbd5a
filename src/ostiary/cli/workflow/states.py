"""How workflows and their tasks look: in tables, in colour where there is any."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rich.text import Text

from ..answers import shown
from ..screen import plain
from ..units import milliseconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...workflow import TaskProgress, WorkflowExecutionResult, WorkflowStatus
    from ..answers import Answers

__all__ = ["COLUMNS", "chosen", "picture", "put_result", "result_facts", "state"]

COLUMNS: Final = ("task", "state", "took", "tries", "about")

_STYLES: Final[Mapping[str, str]] = {
    "approved": "green",
    "completed": "green",
    "success": "green",
    "passed": "green",
    "running": "bold cyan",
    "retrying": "yellow",
    "cancelling": "yellow",
    "awaiting_approval": "bold yellow",
    "partial": "yellow",
    "warning": "yellow",
    "failed": "bold red",
    "timeout": "bold red",
    "blocked": "bold red",
    "denied": "bold red",
    "expired": "red",
    "cancelled": "red",
    "skipped": "dim",
    "pending": "dim",
}

_GOING_ON: Final = frozenset({"running", "retrying", "awaiting_approval"})
_WRONG: Final = frozenset({"failed", "timeout"})
# A task that a person may yet let go on.
_WAITING: Final = frozenset({"awaiting_approval", "failed"})
# On a terminal a result is told of, and not told; --json has it whole.
_LONGEST_RESULT: Final = 60


def state(word: object) -> Text:
    """Return a state in its colour."""
    text = plain(word)
    return Text(text.replace("_", " "), _STYLES.get(text, ""))


def picture(on: Answers, status: WorkflowStatus, most: int | None = None) -> RenderableType:
    """Return a workflow's status as a line and a table of its tasks, of `most` if so many fit."""
    from rich.console import Group

    head = Text(plain(status.workflow_id), "bold").append("  ").append_text(state(status.status))
    if status.outcome is not None and str(status.outcome) not in {"failed", "success"}:
        head.append(f", {plain(status.outcome)}")
    if status.progress is not None:
        head.append(f"  {status.progress:.0%}", "dim")
    if (took := _elapsed(status)) is not None:
        head.append(f"  {milliseconds(took)}", "dim")
    parts: list[RenderableType] = [head]
    if status.error:
        parts.append(Text(plain(status.error), "red"))
    shown_tasks, left_out = chosen(status.tasks, most)
    if shown_tasks:
        rows = [
            (
                one.task_id,
                state(one.status),
                milliseconds(_took(one)),
                one.attempt or None,
                _about(one),
            )
            for one in shown_tasks
        ]
        table = on.screen.picture(
            COLUMNS, rows, empty="", firm=("state", "took"), right=("took", "tries")
        )
        # Without a terminal a table is text, and so is the whole.
        if isinstance(table, Text):
            return Text("\n").join([*(p for p in parts if isinstance(p, Text)), table])
        parts.append(table)
        if left_out:
            told = ", ".join(f"{count:,} {plain(word)}" for word, count in left_out.items())
            parts.append(Text(f" and {told}", "dim"))
    elif not on.screen.out.is_terminal:
        return Text("\n").join(p for p in parts if isinstance(p, Text))
    return Group(*parts)


def chosen(
    tasks: Sequence[TaskProgress], most: int | None
) -> tuple[list[TaskProgress], dict[str, int]]:
    """Return the tasks to show, and how many of which state are left out.

    What goes on and what went wrong comes first; then what ended last, and what is next.
    """
    if most is None or len(tasks) <= most:
        return list(tasks), {}
    now = next((at for at, one in enumerate(tasks) if str(one.status) in _GOING_ON), 0)

    def rank(at: int) -> tuple[int, int]:
        word = str(tasks[at].status)
        return (0 if word in _GOING_ON else 1 if word in _WRONG else 2, abs(at - now))

    kept = set(sorted(range(len(tasks)), key=rank)[: max(most, 1)])
    left = Counter(str(one.status) for at, one in enumerate(tasks) if at not in kept)
    return [tasks[at] for at in sorted(kept)], dict(left.most_common())


def put_result(on: Answers, result: WorkflowExecutionResult) -> None:
    """Print how a workflow ended, task by task."""
    if on.json:
        on.document(result)
        return
    on.screen.facts(result_facts(result))
    on.screen.table(
        ("task", "state", "took", "tries", "result"),
        (
            (
                name,
                state(one.status),
                milliseconds(one.duration_ms),
                one.attempts,
                Text(plain(shown(one.error)), "red") if one.error else _result(on, one.result),
            )
            for name, one in result.task_results.items()
        ),
        firm=("state", "took"),
        right=("took", "tries"),
        empty="it has no tasks",
    )


def _result(on: Answers, result: object) -> str | None:
    line = shown(result)
    if line is None or len(line) <= _LONGEST_RESULT or not on.screen.out.is_terminal:
        return line
    return line[: _LONGEST_RESULT - 3] + "..."


def result_facts(result: WorkflowExecutionResult) -> dict[str, object]:
    """Return what is said of the whole."""
    facts: dict[str, object] = {
        "workflow": result.workflow_id,
        "ended": state(result.status),
        "took": milliseconds(result.duration_ms),
    }
    if result.correlation_id:
        facts["trace"] = result.correlation_id
    if result.error:
        facts["error"] = Text(plain(result.error), "red")
    return facts


def _about(one: TaskProgress) -> Text | str | None:
    if one.approval_token and str(one.status) in _WAITING:
        then = "" if str(one.status) == "awaiting_approval" else ", then run it again"
        return Text(f"`ostiary workflow approve {plain(one.approval_token)}`{then}", "bold")
    if one.error:
        return Text(plain(shown(one.error)), "red")
    return None if one.name == one.task_id else one.name


def _took(one: TaskProgress) -> float | None:
    """Return the milliseconds that a task took, or has taken so far."""
    if one.duration_ms is not None:
        return one.duration_ms
    if one.started_at is None:
        return None
    if one.completed_at is not None:
        return (one.completed_at - one.started_at).total_seconds() * 1000
    if str(one.status) not in _GOING_ON:
        return None
    return max(0.0, (time.time() - one.started_at.timestamp()) * 1000)


def _elapsed(status: WorkflowStatus) -> float | None:
    if status.started_at is None:
        return None
    if status.completed_at is not None:
        return (status.completed_at - status.started_at).total_seconds() * 1000
    if status.is_terminal:
        return None
    return max(0.0, (time.time() - status.started_at.timestamp()) * 1000)
