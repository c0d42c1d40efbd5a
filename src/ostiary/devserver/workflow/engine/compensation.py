"""What follows a failure: the hooks of what failed, then what was done is undone.

A hook is a task of the workflow; it runs as any task does, and changes nothing about how the
workflow ends. Then every finished task that says how it is undone is, the last one first. A step
that fails is on record, and the others go on. Each step is on the disk before the next begins:
after a crash the rest is done, under the same keys. Neighbour: `round` calls it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ....workflow.enums import TaskState
from ....workflow.models import CompensationAction, RetryConfig, TaskSpec
from ..tools import Tool, ToolCall, ToolError
from . import backoff
from .attempt import perform
from .calling import call_tool, is_played, told
from .faults import TimedOut
from .keys import digest, effect_key
from .records import TaskRecord

if TYPE_CHECKING:
    from .round import Round

__all__ = ["compensate"]

_RETRY: Final = RetryConfig(max_attempts=3, backoff_ms=1000)
_SECONDS: Final = 60.0

_decode = msgspec.json.Decoder().decode


async def compensate(round: Round, failed: Sequence[TaskRecord]) -> None:
    """Run the hooks of the tasks that failed, in that order, then undo what was done."""
    for record in failed:
        await _hook(round, record)
    done = [
        record
        for name, record in round.tasks.items()
        if record.is_finished and round.task(name).compensation_action is not None
    ]
    for record in sorted(done, key=lambda record: -record.position):
        await _undo(round, record)


async def _hook(round: Round, failed: TaskRecord) -> None:
    hook = round.task(failed.task_id).compensation
    if hook is None:
        return
    timed_out = failed.state == TaskState.TIMEOUT
    target = hook.on_timeout if timed_out else hook.on_failure
    if target is None:
        return
    ordinary = round.tasks.get(target)
    if ordinary is not None and ordinary.is_finished:
        return  # a step that is done is not done again
    record = round.hooks.get(target)
    if record is not None and record.completed is not None:
        return  # before a crash, or for another task that failed
    if record is None:
        record = TaskRecord(
            task_id=target, compensates=failed.task_id, generation=round.record.round - 1
        )
        round.hooks[target] = record
    round.event("COMPENSATION_TRIGGERED", target, None, compensationFor=failed.task_id, hook=True)
    await perform(round, round.task(target), record)


async def _undo(round: Round, record: TaskRecord) -> None:
    task = round.task(record.task_id)
    action = task.compensation_action
    assert action is not None  # that is what they were chosen by
    if record.replayed:
        return  # it is another run's effect
    if record.undone and record.round == round.record.round:
        return  # tried before a crash
    round.event("COMPENSATION_TRIGGERED", task.id, None, compensationFor=task.id, tool=action.tool)
    problem = await _tried(round, task, action, record)
    record.round = round.record.round
    if problem is None:
        record.undone, record.undo_error = "done", None
        if task.idempotency_key is not None and task.tool_name is not None:
            # What the key stood for is gone.
            round.equipment.records.forget_effect(task.tool_name, task.idempotency_key)
        round.event("COMPENSATION_COMPLETED", task.id, None, tool=action.tool)
    else:
        record.undone, record.undo_error = "failed", problem
        round.event("COMPENSATION_FAILED", task.id, None, tool=action.tool, error=problem)
    round.save(record)
    await round.commit()


async def _tried(
    round: Round, task: TaskSpec, action: CompensationAction, record: TaskRecord
) -> str | None:
    """Return None when a task is undone, else why not."""
    tool = round.equipment.tools.find(action.tool)
    if tool is None:
        return f"there is no tool {action.tool!r}"
    retry = task.retry or _RETRY
    attempt = 0
    while True:
        attempt += 1
        try:
            await call_tool(
                round.equipment,
                tool,
                _call(round, task, action, tool, record, attempt),
                played=is_played(task.sandbox_config),
                seconds=_SECONDS if task.timeout_ms is None else task.timeout_ms / 1000,
                interrupt=None,
            )
        except TimedOut:
            problem, again = "timed out", True
        except ToolError as error:
            problem, again = told(error), error.retry
        except Exception as error:  # noqa: BLE001 - a tool may raise what it likes
            problem, again = told(error), True
        else:
            return None
        if not again or attempt >= backoff.attempts(retry):
            return problem
        await round.equipment.sleep(backoff.delay(retry, attempt, round.equipment.random))


def _call(
    round: Round,
    task: TaskSpec,
    action: CompensationAction,
    tool: Tool,
    record: TaskRecord,
    attempt: int,
) -> ToolCall:
    workflow = round.record
    result: Any = _decode(round.results[task.id])
    return ToolCall(
        inputs=action.args,
        context=workflow.context,
        upstream={task.id: result},
        task=task,
        workflow_id=workflow.workflow_id,
        idempotency_key=effect_key(
            workflow.workflow_id,
            workflow.epoch,
            task.id,
            "undo",
            tool.name,
            record.generation,
            digest(action.args),
        ),
        attempt=attempt,
        cancelled=threading.Event(),
        sandbox=round.equipment.sandbox,
        compensates=task.id,
    )
