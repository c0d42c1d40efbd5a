"""One round of a workflow: which task is next, what is known of each, how it ends.

By default one task at a time in the graph's order; with a concurrency of N whatever waits for
nothing, N at most. The first failure ends it: nothing new begins, what runs is let end, then
what was done is undone. A task begins only when the checkpoints of those it waits for are on
the disk. Neighbours: `attempt` runs a task, `compensation` undoes.
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, final

import msgspec

from ....workflow.enums import ResultStatus, TaskState, WorkflowState
from ....workflow.graph import Graph
from ....workflow.models import GateConfig, Principal, TaskSpec, WorkflowSpec
from ...clock import iso
from ..tools import ToolError
from .attempt import perform
from .compensation import compensate
from .equipment import Equipment
from .records import TaskRecord, WorkflowRecord
from .settings import Settings

__all__ = ["FAILED", "Round"]

RESULTS_BYTES: Final = 64 * 1024 * 1024
"""All results of one workflow together: they are in memory while it runs."""

FAILED: Final = frozenset({str(TaskState.FAILED), str(TaskState.TIMEOUT)})

_decode = msgspec.json.Decoder().decode


@final
class Round:
    """What is known of a workflow while it runs."""

    def __init__(
        self,
        equipment: Equipment,
        record: WorkflowRecord,
        spec: WorkflowSpec,
        graph: Graph,
        principal: Principal,
        settings: Settings,
    ) -> None:
        self.equipment = equipment
        self.record = record
        self.spec = spec
        self.graph = graph
        self.principal = principal
        self.settings = settings
        self.tasks: dict[str, TaskRecord] = {}
        self.hooks: dict[str, TaskRecord] = {}
        self.results: dict[str, bytes] = {}
        self.hook_results: dict[str, bytes] = {}
        # What a task came to before it was undone.
        self.previous: dict[str, bytes] = {}
        self.sequence = 0
        self.current: str | None = None
        loop = asyncio.get_running_loop()
        self.interrupted: asyncio.Future[str] = loop.create_future()
        self.broken: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.is_ending = False
        self.span_id = secrets.token_hex(8)
        clock = equipment.clock
        self._began = clock.steady() - max(0.0, clock.wall() - record.started)
        self._position = 0
        self._finished = 0
        self._kept_bytes = 0

    # -- what is on file ----------------------------------------------------

    def recall(self) -> None:
        """Take up what is on file of the tasks; those of earlier rounds that failed start anew."""
        number, rounds = self.record.number, self.record.round
        self.sequence = self.equipment.records.last_event(number)
        for task, result in self.equipment.records.tasks(number):
            self._position = max(self._position, task.position)
            if task.compensates is not None:
                if task.round == rounds:
                    self.hooks[task.task_id] = task
                    if result is not None:
                        self.hook_results[task.task_id] = result
                continue
            fresh = task.round < rounds and not task.is_finished
            fresh = fresh or (task.round < rounds and task.undone == "done")
            if result is not None:
                self._kept_bytes += len(result)
                if fresh and not task.held:
                    self.previous[task.task_id] = result
                else:
                    self.results[task.task_id] = result
            self.tasks[task.task_id] = _anew(task) if fresh else task
        self._finished = sum(
            task.is_finished for name, task in self.tasks.items() if name not in self.graph.hooks
        )

    def save(self, task: TaskRecord) -> None:
        """Queue a task's record, and its result if it has one."""
        results = self.results if task.compensates is None else self.hook_results
        self.equipment.records.save_task(self.record.number, task, results.get(task.task_id))

    def event(
        self,
        kind: str,
        task_id: str | None = None,
        data: Mapping[str, Any] | None = None,
        **metadata: Any,
    ) -> None:
        """Queue an event."""
        self.sequence += 1
        event: dict[str, Any] = {
            "type": kind,
            "timestamp": iso(self.equipment.clock.wall()),
            "workflow_id": self.record.workflow_id,
            "sequence": self.sequence,
        }
        if task_id is not None:
            event["task_id"] = task_id
        if data:
            event["data"] = data
        if metadata:
            event["metadata"] = metadata
        self.equipment.records.save_event(self.record.number, self.sequence, event)

    async def commit(self) -> None:
        """Return when all that was said so far is on the disk."""
        await self.equipment.ledger.commit()

    # -- what runs ask ------------------------------------------------------

    def take_position(self) -> int:
        """Return the next number in the order in which tasks end."""
        self._position += 1
        return self._position

    def make_room(self, size: int) -> None:
        """Count a result; raise `ToolError` when all of them together are too many."""
        if self._kept_bytes + size > RESULTS_BYTES:
            raise ToolError(
                f"the results of one workflow have at most {RESULTS_BYTES} bytes; have tools "
                "write into files what is large",
                retry=False,
            )
        self._kept_bytes += size

    def finished(self, task: TaskRecord) -> None:
        """Count a task that came to its result."""
        if task.compensates is None:
            self._finished += 1

    def upstream(self, task_id: str) -> dict[str, Any]:
        """Return the results of what a task waits for."""
        return {
            name: _decode(self.results[name])
            for name in self.graph.before[task_id]
            if name in self.results
        }

    @property
    def progress(self) -> float:
        """The part of the tasks, hooks aside, that is done."""
        total = len(self.graph.tasks) - len(self.graph.hooks)
        return 1.0 if total == 0 else self._finished / total

    @property
    def deadline_left(self) -> float | None:
        """Seconds until the run's time is over; None is no limit."""
        limit = self.settings.deadline
        if limit is None:
            return None
        return self.record.started + limit - self.equipment.clock.wall()

    def trace_id(self) -> str:
        """Return what its spans have in common."""
        return self.record.correlation_id or self.record.workflow_id

    # -- the course of it ---------------------------------------------------

    async def go(self, *, resumed: bool) -> None:
        """Run to the end; the end is on the disk when this returns."""
        self.event("WORKFLOW_RESUMED" if resumed else "WORKFLOW_STARTED", round=self.record.round)
        if self.record.state == WorkflowState.CANCELLING:
            self.interrupt("cancel")
        timer = None
        left = self.deadline_left
        if left is not None and left <= 0:
            self.interrupt("deadline")
        elif left is not None:
            timer = asyncio.ensure_future(self._expire(left))
        try:
            if any(self._failed()):
                await self._finish_begun()
            elif self.settings.concurrency > 1:
                await self._run_many(self.settings.concurrency)
            else:
                await self._run_each()
        finally:
            if timer is not None:
                timer.cancel()
        await self._end()

    def interrupt(self, why: str) -> None:
        """Break off what runs: `why` is cancel or deadline."""
        if not self.interrupted.done():
            self.interrupted.set_result(why)

    async def _expire(self, left: float) -> None:
        await self.equipment.sleep(left)
        self.interrupt("deadline")

    def _failed(self) -> list[TaskRecord]:
        """Return the tasks that failed in this round, in the order in which they did."""
        found = [
            task
            for task in self.tasks.values()
            if task.state in FAILED and task.round == self.record.round
        ]
        return sorted(found, key=lambda task: task.position)

    def _known(self, name: str) -> TaskRecord:
        found = self.tasks.get(name)
        if found is None:
            found = self.tasks[name] = TaskRecord(task_id=name)
        return found

    async def _run_each(self) -> None:
        for name in self.graph.order():
            task = self._known(name)
            if task.is_finished:
                continue
            if self.interrupted.done():
                return
            await self._run_one(name)
            if not task.is_finished:
                return

    async def _run_one(self, name: str) -> None:
        self.current = name
        task = self._known(name)
        await perform(self, self.graph.tasks[name], task)
        if task.state in FAILED and not self.broken.done():
            self.broken.set_result(None)

    async def _run_many(self, most: int) -> None:
        rank = {name: at for at, name in enumerate(self.graph.order())}
        names = list(rank)
        left: dict[str, int] = {}
        ready: list[int] = []
        for name, at in rank.items():
            if self._known(name).is_finished:
                continue
            left[name] = sum(not self._known(one).is_finished for one in self.graph.before[name])
            if not left[name]:
                ready.append(at)
        heapq.heapify(ready)
        ended: asyncio.Queue[tuple[str, asyncio.Task[None]]] = asyncio.Queue()
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                stopping = self.interrupted.done() or self.broken.done()
                while ready and len(running) < most and not stopping:
                    name = names[heapq.heappop(ready)]
                    work = asyncio.ensure_future(self._run_one(name))
                    running.add(work)
                    work.add_done_callback(partial(_ended, ended, name))
                if not running:
                    return
                name, work = await ended.get()
                running.discard(work)
                work.result()
                if self.tasks[name].is_finished:
                    for later in self.graph.after[name]:
                        if later in left:
                            left[later] -= 1
                            if not left[later]:
                                heapq.heappush(ready, rank[later])
        finally:
            for work in running:
                work.cancel()
            if running:
                await asyncio.gather(*running, return_exceptions=True)

    async def _finish_begun(self) -> None:
        """After a crash in a run that is failing: end what had begun beside what failed."""
        for name, task in list(self.tasks.items()):
            if task.round == self.record.round and task.state in {
                TaskState.RUNNING,
                TaskState.RETRYING,
            }:
                await self._run_one(name)

    # -- the end of it ------------------------------------------------------

    async def _end(self) -> None:
        self.is_ending = True
        failed = self._failed()
        why = self.interrupted.result() if self.interrupted.done() else None
        record = self.record
        if why == "cancel":
            record.error = "the workflow was cancelled"
        elif failed:
            task = failed[0]
            tries = "" if task.attempt == 1 else "s"
            record.error = f"task {task.task_id}: {task.error} after {task.attempt} attempt{tries}"
        elif why == "deadline" and not self._is_done():
            record.error = (
                f"the workflow's deadline of {self.settings.deadline:g} seconds has passed"
            )
        else:
            self._close(WorkflowState.COMPLETED, ResultStatus.SUCCESS, "WORKFLOW_COMPLETED")
            await self.commit()
            return
        self.current = None
        # Before anything is undone it is on the disk that the run is ending: a crash must not
        # have it go on.
        await self.commit()
        await compensate(self, failed if why != "cancel" else [])
        succeeded = any(
            task.state == TaskState.COMPLETED
            for name, task in self.tasks.items()
            if name not in self.graph.hooks
        )
        if why == "cancel":
            self._close(WorkflowState.CANCELLED, ResultStatus.FAILED, "WORKFLOW_CANCELLED")
        else:
            outcome = ResultStatus.PARTIAL if succeeded else ResultStatus.FAILED
            self._close(WorkflowState.FAILED, outcome, "WORKFLOW_FAILED")
        await self.commit()

    def _is_done(self) -> bool:
        return all(self._known(name).is_finished for name in self.graph.order())

    def _close(self, state: WorkflowState, outcome: ResultStatus, kind: str) -> None:
        record, equipment = self.record, self.equipment
        record.state = str(state)
        record.outcome = str(outcome)
        record.progress = self.progress
        record.completed = equipment.clock.wall()
        record.duration_ms = (equipment.clock.steady() - self._began) * 1000
        self.current = None
        equipment.records.save(record)
        said: dict[str, Any] = {"outcome": record.outcome, "duration": record.duration_ms}
        if record.error is not None:
            said["error"] = record.error
        self.event(kind, None, None, **said)
        if equipment.observer is not None:
            equipment.observer.span(
                {
                    "id": self.span_id,
                    "trace_id": self.trace_id(),
                    "name": record.name,
                    "start_time": iso(record.started),
                    "end_time": iso(record.completed),
                    "duration": record.duration_ms,
                    "tags": {"workflow_id": record.workflow_id, "status": record.outcome},
                }
            )

    def task(self, name: str) -> TaskSpec:
        """Return a task as it is written."""
        return self.graph.tasks[name]

    def gate_of(self, name: str) -> GateConfig | None:
        """Return the gate that judges a task's result."""
        return self.settings.gates.get(name) or self.settings.gates.get("*")


def _ended(
    ended: asyncio.Queue[tuple[str, asyncio.Task[None]]], name: str, work: asyncio.Task[None]
) -> None:
    ended.put_nowait((name, work))


def _anew(task: TaskRecord) -> TaskRecord:
    """Return the record of a task that is to run again in a new round."""
    return TaskRecord(
        task_id=task.task_id,
        generation=task.generation + (task.undone == "done"),
        approval_token=task.approval_token,
        held=task.held,
    )
