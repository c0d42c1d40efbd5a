"""One task, from its first try to its result or its failure.

One try, in order: it is said to have started; policy judges it, once in a round; what cannot be
done is refused; the tool runs; a gate looks at the result; the result is on the disk. What
policy, feasibility or a gate refuses is never tried again. Neighbours: `consent` asks policy
and people, `calling` calls the tool, `recovery` is about gates.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ....workflow.enums import FailureTaxonomy, RiskTier, TaskState
from ....workflow.models import TaskSpec
from ...clock import iso
from ..tools import Tool, ToolCall, ToolError
from . import backoff
from .calling import call_tool, first, is_played, told
from .consent import Consent
from .faults import Blocked, Interrupted, TimedOut
from .keys import digest, effect_key
from .ledger import LedgerError
from .records import Effect, TaskRecord
from .recovery import held_result, judged
from .redaction import redacted

if TYPE_CHECKING:
    from .round import Round

__all__ = ["Attempt", "perform"]

_encode = msgspec.json.Encoder().encode

_RANK: Final = {tier: rank for rank, tier in enumerate(RiskTier)}


async def perform(round: Round, task: TaskSpec, record: TaskRecord) -> None:
    """Run a task until it has its result, or has none for good; which of both is in `record`."""
    attempt = Attempt(round, task, record)
    async with _turn(attempt) as ours:
        if ours:
            await attempt.run()
        else:
            attempt.break_off()


class Attempt:
    """The tries of one task."""

    def __init__(self, round: Round, task: TaskSpec, record: TaskRecord) -> None:
        self.round = round
        self.task = task
        self.record = record
        self.equipment = round.equipment
        self.inputs: dict[str, Any] = task.inputs or {}
        self.inputs_digest = digest(self.inputs)
        self.consent = Consent(round, task, record, self.inputs_digest)
        # What its last event says besides.
        self.notes: dict[str, Any] = {}
        self._judged = False
        self._began = 0.0

    @property
    def interrupt(self) -> asyncio.Future[str] | None:
        """What breaks it off; nothing does what a failure called for."""
        return self.round.interrupted if self.record.compensates is None else None

    async def run(self) -> None:
        record, retry = self.record, self.task.retry
        most = backoff.attempts(retry)
        interrupted = record.round == self.round.record.round and record.state in {
            TaskState.RUNNING,
            TaskState.AWAITING_APPROVAL,
        }
        # A try that a crash cut off was none.
        attempt = record.attempt - 1 if interrupted and record.attempt else record.attempt
        if record.round != self.round.record.round:
            attempt = 0
        record.round = self.round.record.round
        self._began = self.equipment.clock.steady()
        while True:
            attempt += 1
            self._start(attempt)
            span_start = self.equipment.clock.wall()
            try:
                result = await self._try()
            except Blocked as blocked:
                record.approval_token = blocked.token
                self.notes.update(blocked.notes)
                self.notes[blocked.flag] = True
                await self._fail(TaskState.FAILED, blocked.message, blocked.code)
                return
            except Interrupted:
                self.break_off()
                return
            except LedgerError:
                raise
            except TimedOut:
                problem = f"timed out after {self.task.timeout_ms} ms"
                state, again, code = TaskState.TIMEOUT, True, FailureTaxonomy.TOOL_ERROR.value
            except ToolError as error:
                problem, state = told(error), TaskState.FAILED
                again, code = error.retry, error.code
            except Exception as error:  # noqa: BLE001 - a tool may raise what it likes
                problem, state = told(error), TaskState.FAILED
                again, code = True, FailureTaxonomy.TOOL_ERROR.value
            else:
                self._span(span_start, "success")
                await self._complete(result)
                return
            self._span(span_start, "failed")
            if not again or attempt >= most:
                await self._fail(state, problem, code, step_end=True)
                return
            if not await self._pause(attempt, problem):
                self.break_off()
                return

    # -- one try ------------------------------------------------------------

    async def _try(self) -> bytes:
        if not self._judged:
            found = await held_result(self)
            if found is not None:
                return found
            await self.consent.obtain(self.task.tool_name)
            self._judged = True
        tool = self._feasible()
        if tool is None:
            return await judged(self, _encode(self.inputs))
        found = self._replay(tool)
        if found is None:
            found = await judged(self, await self.call(tool))
        self.round.make_room(len(found))
        return found

    def _feasible(self) -> Tool | None:
        """Return the tool; None where the task has none and only stands between others."""
        task, tools = self.task, self.equipment.tools
        if task.compensation_action is not None:
            undo = tools.find(task.compensation_action.tool)
            if undo is None:
                raise self._infeasible(
                    f"its compensation names the tool {task.compensation_action.tool!r}, which is "
                    "unknown here"
                )
            self.check_risk(undo)
        try:
            is_played(task.sandbox_config)
        except ValueError as error:
            problem = str(error)
        else:
            problem = ""
        if problem:
            raise self._infeasible(problem)
        if task.tool_name is None:
            return None
        tool = tools.find(task.tool_name)
        if tool is None:
            known = ", ".join(tools.names()[:20]) or "none"
            raise self._infeasible(f"there is no tool {task.tool_name!r}; there are: {known}")
        self.check_risk(tool)
        return tool

    def check_risk(self, tool: Tool) -> None:
        """Raise `Blocked` for a tool that risks more than the task says.

        Nobody has been asked about that much: not for the task's own tool, nor for one that
        takes its place, nor for one that undoes it.
        """
        tier = self.task.risk_tier or RiskTier.LOW
        if _RANK.get(tier, -1) < _RANK[tool.risk]:
            raise self._infeasible(
                f"the tool {tool.name!r} is of {tool.risk} risk and the task says {tier}; "
                f"give the task the risk tier {tool.risk}"
            )

    def _infeasible(self, problem: str) -> Blocked:
        if self.equipment.observer is not None:
            self.equipment.observer.metric(
                "feasibility_check", 0.0, {"workflow_id": self.round.record.workflow_id}
            )
        return Blocked(problem, code=FailureTaxonomy.TOOL_ERROR.value, flag="feasibilityBlocked")

    async def call(self, tool: Tool) -> bytes:
        """Call a tool with the task's inputs."""
        round, task = self.round, self.task
        call = ToolCall(
            inputs=self.inputs,
            context=round.record.context,
            upstream=round.upstream(task.id),
            task=task,
            workflow_id=round.record.workflow_id,
            idempotency_key=self.key(tool),
            attempt=self.record.attempt,
            cancelled=threading.Event(),
            sandbox=self.equipment.sandbox,
        )
        self.record.ran = True
        self._observe("tool_call", toolName=tool.name, args=redacted(self.inputs))
        return await call_tool(
            self.equipment,
            tool,
            call,
            played=is_played(task.sandbox_config),
            seconds=None if task.timeout_ms is None else task.timeout_ms / 1000,
            interrupt=self.interrupt,
        )

    def key(self, tool: Tool) -> str:
        """Return the key of the effect that is meant; the caller's own if the task has one."""
        own, generation = self.task.idempotency_key, self.record.generation
        if own is not None:
            return own if not generation else f"{own}#{generation}"
        step = "task" if self.record.compensates is None else f"hook of {self.record.compensates}"
        return effect_key(
            self.round.record.workflow_id,
            self.round.record.epoch,
            self.task.id,
            step,
            tool.name,
            generation,
            self.inputs_digest,
        )

    def _replay(self, tool: Tool) -> bytes | None:
        """Return what the caller's own key stands for already."""
        own = self.task.idempotency_key
        if own is None or is_played(self.task.sandbox_config):
            return None
        found = self.equipment.records.effect(tool.name, own, self.equipment.clock.wall())
        if found is None:
            return None
        if found.inputs != self.inputs_digest:
            raise Blocked(
                f"the idempotency key was used with other inputs of {tool.name}; take another key",
                code=FailureTaxonomy.CONFLICT.value,
                flag="idempotencyBlocked",
            )
        self.record.replayed = True
        self.notes["replayed"] = True
        return found.result

    # -- how it goes --------------------------------------------------------

    def _start(self, attempt: int) -> None:
        record = self.record
        record.attempt = attempt
        record.state = str(TaskState.RUNNING)
        record.started = self.equipment.clock.wall()
        record.completed = None
        record.error = record.code = None
        self.round.save(record)
        self.round.event("TASK_STARTED", self.task.id, None, **self._about())
        tier = self.task.risk_tier
        self._observe("step_start", attempt=attempt, riskTier=None if tier is None else str(tier))

    async def _complete(self, result: bytes) -> None:
        record, task, round = self.record, self.task, self.round
        results = round.results if record.compensates is None else round.hook_results
        results[task.id] = result
        record.held = False
        record.approval_token = record.redeeming = None
        self._settle(TaskState.COMPLETED)
        round.save(record)
        own = task.idempotency_key
        if own is not None and task.tool_name is not None and not is_played(task.sandbox_config):
            equipment = self.equipment
            if not record.replayed:
                equipment.records.save_effect(
                    task.tool_name,
                    own,
                    Effect(self.inputs_digest, result),
                    equipment.clock.wall() + equipment.effect_ttl,
                )
        round.finished(record)
        round.event(
            "TASK_COMPLETED",
            task.id,
            None,
            duration=record.duration_ms,
            **self._about(),
            **self.notes,
        )
        self._observe("step_end", success=True, duration=record.duration_ms, error=None)
        await round.commit()

    async def _fail(
        self, state: TaskState, problem: str, code: str, *, step_end: bool = False
    ) -> None:
        record = self.record
        record.error, record.code = problem, code
        self._settle(state)
        self.round.save(record)
        self.round.event(
            "TASK_TIMEOUT" if state == TaskState.TIMEOUT else "TASK_FAILED",
            self.task.id,
            None,
            duration=record.duration_ms,
            error=problem,
            code=code,
            **self._about(),
            **self.notes,
        )
        if step_end:
            self._observe("step_end", success=False, duration=record.duration_ms, error=problem)
        await self.round.commit()

    def break_off(self) -> None:
        """Say that the run ended before the task did: how far it came nobody knows."""
        record = self.record
        record.round = self.round.record.round
        why = self.round.interrupted.result() if self.round.interrupted.done() else "failed"
        began = record.ran or record.attempt > 1
        self._settle(TaskState.CANCELLED if began else TaskState.SKIPPED)
        record.error = {
            "cancel": "the workflow was cancelled",
            "deadline": "the workflow's deadline passed",
        }.get(why, "the workflow failed")
        self.round.save(record)
        self.round.event("TASK_CANCELLED", self.task.id, None, error=record.error, **self._about())

    async def _pause(self, attempt: int, problem: str) -> bool:
        """Wait until the next try; False when there is to be none."""
        seconds = backoff.delay(self.task.retry, attempt, self.equipment.random)
        self.record.state = str(TaskState.RETRYING)
        self.record.error = problem
        self.round.save(self.record)
        self.round.event(
            "TASK_RETRY",
            self.task.id,
            None,
            error=problem,
            delay_ms=seconds * 1000,
            **self._about(),
        )
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return await first(self.equipment, never, seconds, self.interrupt) is TimedOut

    def _settle(self, state: TaskState) -> None:
        record = self.record
        record.state = str(state)
        record.position = self.round.take_position()
        record.completed = self.equipment.clock.wall()
        record.duration_ms = (self.equipment.clock.steady() - self._began) * 1000

    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = {"attempt": self.record.attempt}
        if self.record.compensates is not None:
            about["compensationFor"] = self.record.compensates
        return about

    def _observe(self, kind: str, **data: Any) -> None:
        if self.equipment.observer is not None:
            self.equipment.observer.event(
                kind,
                data,
                workflow_id=self.round.record.workflow_id,
                task_id=self.task.id,
                task_type=str(self.task.type),
                correlation_id=self.round.record.correlation_id,
            )

    def _span(self, began: float, status: str) -> None:
        if self.equipment.observer is None:
            return
        ended = self.equipment.clock.wall()
        tags: Mapping[str, str] = {
            "workflow_id": self.round.record.workflow_id,
            "task_id": self.task.id,
            "attempt": str(self.record.attempt),
            "status": status,
        }
        self.equipment.observer.span(
            {
                "id": secrets.token_hex(8),
                "trace_id": self.round.trace_id(),
                "parent_id": self.round.span_id,
                "name": self.task.id,
                "start_time": iso(began),
                "end_time": iso(ended),
                "duration": (ended - began) * 1000,
                "tags": tags,
            }
        )


@asynccontextmanager
async def _turn(attempt: Attempt) -> AsyncGenerator[bool]:
    """Wait until nobody else is busy under the caller's own key: his result may be there then.

    False where the run is broken off before.
    """
    task, equipment = attempt.task, attempt.equipment
    if task.idempotency_key is None or task.tool_name is None:
        yield True
        return
    locks, name = equipment.locks, (task.tool_name, task.idempotency_key)
    lock, users = locks.setdefault(name, (asyncio.Lock(), [0]))
    users[0] += 1
    waiting = asyncio.ensure_future(lock.acquire())
    try:
        await first(equipment, waiting, None, attempt.interrupt)
        yield waiting.done()
    finally:
        if waiting.done() and not waiting.cancelled():
            lock.release()
        else:
            waiting.cancel()
        users[0] -= 1
        if not users[0]:
            del locks[name]
