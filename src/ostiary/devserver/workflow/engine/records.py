"""What is on file of each workflow, and how it is read back.

A workflow has one record, one for each of its tasks that began, one for each hook that a
failure called for, and numbered events. Neighbour: `ledger` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, final

import msgspec

from ...._decoders import decoder_of
from ....workflow.enums import TaskState, WorkflowState
from .ledger import Ledger

__all__ = ["Effect", "Records", "TaskRecord", "WorkflowRecord"]

_encode = msgspec.json.Encoder().encode

UNFINISHED: Final = (str(WorkflowState.RUNNING), str(WorkflowState.CANCELLING))


class WorkflowRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One workflow, as its latest round has it.

    `round` counts how often it was set off, `epoch` how often all of it was done anew.
    """

    number: int
    workflow_id: str
    name: str
    state: str
    fingerprint: str
    principal: dict[str, Any]
    requester: str
    owner: str = ""
    correlation_id: str | None = None
    context: dict[str, Any] = {}
    approval_token: str | None = None
    round: int = 1
    epoch: int = 0
    before: int = 0
    """The number of the last event of earlier rounds."""
    started: float = 0.0
    completed: float | None = None
    duration_ms: float | None = None
    outcome: str | None = None
    progress: float = 0.0
    error: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state not in UNFINISHED


class TaskRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One task, as its latest round has it.

    `generation` counts how often its effect was undone, `position` orders what ended.
    `granted` is the round a person's leave is good for; `redeeming` the approval that is being
    used up. `held` says that its result waits for a person. `undone` is "", done or failed.
    """

    task_id: str
    state: str = str(TaskState.PENDING)
    round: int = 0
    attempt: int = 0
    generation: int = 0
    position: int = 0
    started: float | None = None
    completed: float | None = None
    duration_ms: float | None = None
    error: str | None = None
    code: str | None = None
    approval_token: str | None = None
    redeeming: str | None = None
    granted: int = 0
    held: bool = False
    ran: bool = False
    replayed: bool = False
    undone: str = ""
    undo_error: str | None = None
    compensates: str | None = None
    gate: dict[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its effect is there: never to be run again while it is."""
        return self.state == TaskState.COMPLETED and self.undone != "done"


class Effect(msgspec.Struct):
    """A result that an idempotency key of the caller's own stands for."""

    inputs: str
    result: bytes


_workflow: Final = decoder_of(WorkflowRecord).decode
_task: Final = decoder_of(TaskRecord).decode
_event: Final = decoder_of(dict[str, Any]).decode


@final
class Records:
    """Reads what is committed, and queues what is to be."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.reader
        (last,) = self._db.execute("SELECT COALESCE(MAX(number), 0) FROM workflows").fetchone()
        self._last: int = last

    def next_number(self) -> int:
        """Return the number of a new workflow."""
        self._last += 1
        return self._last

    # -- writing ------------------------------------------------------------

    def begin(self, record: WorkflowRecord, spec: bytes) -> None:
        """Queue a new workflow, or a new round of one."""
        self._ledger.write(
            "INSERT INTO workflows (number, workflow_id, name, state, started, record, spec) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET "
            "name = excluded.name, state = excluded.state, started = excluded.started, "
            "record = excluded.record, spec = excluded.spec",
            (
                record.number,
                record.workflow_id,
                record.name,
                record.state,
                record.started,
                _encode(record),
                spec,
            ),
        )

    def forget_tasks(self, number: int) -> None:
        """Queue the removal of what is known of a workflow's tasks."""
        self._ledger.write("DELETE FROM tasks WHERE number = ?", (number,))

    def save(self, record: WorkflowRecord) -> None:
        """Queue a workflow's record."""
        self._ledger.write(
            "UPDATE workflows SET state = ?, record = ? WHERE number = ?",
            (record.state, _encode(record), record.number),
        )

    def save_task(self, number: int, record: TaskRecord, result: bytes | None) -> None:
        """Queue a task's record."""
        self._ledger.write(
            "INSERT OR REPLACE INTO tasks (number, task_id, hook, record, result) "
            "VALUES (?, ?, ?, ?, ?)",
            (number, record.task_id, record.compensates is not None, _encode(record), result),
        )

    def save_event(self, number: int, sequence: int, event: dict[str, Any]) -> None:
        """Queue an event; who follows the workflow hears of it once it is committed."""
        self._ledger.write(
            "INSERT INTO events (number, sequence, event) VALUES (?, ?, ?)",
            (number, sequence, _encode(event)),
            topic=number,
        )

    def save_effect(self, tool: str, key: str, effect: Effect, expires: float) -> None:
        """Queue a result under a caller's key."""
        self._ledger.write(
            "INSERT OR REPLACE INTO effects (tool, key, inputs, result, expires) "
            "VALUES (?, ?, ?, ?, ?)",
            (tool, key, effect.inputs, effect.result, expires),
        )

    def forget_effect(self, tool: str, key: str) -> None:
        """Queue the removal of a result under a caller's key."""
        self._ledger.write("DELETE FROM effects WHERE tool = ? AND key = ?", (tool, key))

    def forget_effects(self, before: float) -> None:
        """Queue the removal of what has expired."""
        self._ledger.write("DELETE FROM effects WHERE expires < ?", (before,))

    def forget_workflows(self, keep: int) -> None:
        """Queue the removal of all workflows that have ended but the newest."""
        found = self._db.execute(
            "SELECT number FROM workflows WHERE state NOT IN (?, ?) ORDER BY number DESC "
            "LIMIT -1 OFFSET ?",
            (*UNFINISHED, keep),
        ).fetchall()
        for (number,) in found:
            # It may have been set off again since.
            over = "(SELECT number FROM workflows WHERE number = ? AND state NOT IN (?, ?))"
            for table in ("events", "tasks", "workflows"):
                self._ledger.write(
                    f"DELETE FROM {table} WHERE number IN {over}",  # nosec # tables of ours
                    (number, *UNFINISHED),
                )

    # -- reading ------------------------------------------------------------

    def workflow(self, workflow_id: str) -> WorkflowRecord | None:
        """Return a workflow by its id."""
        row = self._db.execute(
            "SELECT record FROM workflows WHERE workflow_id = ?", (workflow_id,)
        ).fetchone()
        return None if row is None else _workflow(row[0])

    def spec(self, number: int) -> bytes:
        """Return what a workflow's latest round was asked to run."""
        spec: bytes
        (spec,) = self._db.execute(
            "SELECT spec FROM workflows WHERE number = ?", (number,)
        ).fetchone()
        return spec

    def unfinished(self) -> list[WorkflowRecord]:
        """Return the workflows that were running when the last engine ended, oldest first."""
        rows = self._db.execute(
            "SELECT record FROM workflows WHERE state IN (?, ?) ORDER BY number", UNFINISHED
        ).fetchall()
        return [_workflow(row[0]) for row in rows]

    def tasks(self, number: int) -> Iterator[tuple[TaskRecord, bytes | None]]:
        """Yield the tasks of a workflow that ever began, hooks too."""
        rows = self._db.execute(
            "SELECT record, result FROM tasks WHERE number = ?", (number,)
        ).fetchall()
        for record, result in rows:
            yield _task(record), result

    def page(
        self,
        state: str | None,
        limit: int,
        before: int | None,
        name: str | None = None,
        started_after: float | None = None,
        started_before: float | None = None,
    ) -> list[WorkflowRecord]:
        """Return workflows, newest first, from below a number."""
        rows = self._db.execute(
            "SELECT record FROM workflows WHERE (:state IS NULL OR state = :state) "
            "AND (:before IS NULL OR number < :before) AND (:name IS NULL OR name = :name) "
            "AND (:after IS NULL OR started >= :after) AND (:until IS NULL OR started <= :until) "
            "ORDER BY number DESC LIMIT :limit",
            {
                "state": state,
                "before": before,
                "name": name,
                "after": started_after,
                "until": started_before,
                "limit": limit,
            },
        ).fetchall()
        return [_workflow(row[0]) for row in rows]

    def events(self, number: int, after: int, limit: int) -> list[dict[str, Any]]:
        """Return events above a number, in order."""
        rows = self._db.execute(
            "SELECT event FROM events WHERE number = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (number, after, limit),
        ).fetchall()
        return [_event(row[0]) for row in rows]

    def last_event(self, number: int) -> int:
        """Return the number of a workflow's latest event, 0 for none."""
        (last,) = self._db.execute(
            "SELECT COALESCE(MAX(sequence), 0) FROM events WHERE number = ?", (number,)
        ).fetchone()
        return int(last)

    def effect(self, tool: str, key: str, now: float) -> Effect | None:
        """Return the result that a caller's key stands for, if it is not too old."""
        row = self._db.execute(
            "SELECT inputs, result FROM effects WHERE tool = ? AND key = ? AND expires > ?",
            (tool, key, now),
        ).fetchone()
        return None if row is None else Effect(row[0], row[1])
