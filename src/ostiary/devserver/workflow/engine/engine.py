"""Runs workflows and remembers each step, so that a killed server goes on where it was.

What is finished, its checkpoint on the disk, is never run again. What a crash cut off is run
again under the same idempotency key. An id is one workflow: to ask for one that is done gives
its result, one that failed goes on from where it failed, another workflow under the same id is a
conflict. One event loop. Neighbours: `round` runs, `records` remembers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random as randomness
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, final

import msgspec

from ...._decoders import decoder_of
from ....gateway.workers import Workers
from ....workflow.enums import WorkflowState
from ....workflow.errors import GraphError
from ....workflow.graph import Graph
from ....workflow.models import Principal, WorkflowSpec, reader, wire
from ...clock import Clock
from ...http.refusals import HttpRefusal
from ..policy.approvals import ApprovalRecord, Approvals
from ..policy.guard import Guard
from ..tools import Registry
from .equipment import Equipment, Faults, Judge, Observer
from .keys import canonical
from .ledger import Ledger, LedgerError
from .records import Records, WorkflowRecord
from .round import Round
from .settings import read_settings, refused
from .shown import result_of, status_of, summary_of

__all__ = ["Engine"]

_log = logging.getLogger(__name__)

_CONTEXT_BYTES: Final = 1024 * 1024
_PAGE: Final = 500
_MOST_LISTED: Final = 500
_TIDY: Final = 256
_MOST_RUNNING: Final = 1000
_MOST_ATTEMPTS: Final = 1000

_read_spec = reader(WorkflowSpec)
_read_principal = reader(Principal)
_encode = msgspec.json.Encoder().encode
_decode = decoder_of(dict[str, Any]).decode


@final
class Engine:
    """The workflows of one server; `start` before anything else, `stop` at the end."""

    def __init__(
        self,
        path: Path,
        *,
        tools: Registry,
        guard: Guard | None = None,
        approvals: Approvals | None = None,
        gate: Judge | None = None,
        observer: Observer | None = None,
        faults: Faults | None = None,
        sandbox: Path | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = randomness.random,
        synchronous: str = "FULL",
        threads: int = 64,
        grace: float = 1.0,
        keep: int = 10_000,
    ) -> None:
        """Say what it is made of; nothing is opened.

        Without a guard nobody is asked, without a gate no gate passes. `sleep` and `random`
        are what waits are made of; `synchronous` is SQLite's word for when a commit is one.
        Of workflows that have ended the newest are kept, `keep` of them.
        """
        self._path = path
        self._parts: dict[str, Any] = {
            "tools": tools,
            "guard": guard,
            "approvals": approvals,
            "gate": gate,
            "observer": observer,
            "faults": faults,
            "sandbox": sandbox,
            "clock": clock or Clock(),
            "sleep": sleep,
            "random": random,
            "grace": grace,
        }
        self._synchronous = synchronous
        self._threads = threads
        self._keep = keep
        self._submitted = 0
        self._rounds: dict[str, Round] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: dict[int, list[asyncio.Event]] = {}
        self._stopping = False
        self._started = False

    async def start(self) -> None:
        """Open the file; raise `DevserverError` where that cannot be."""
        ledger = Ledger(self._path, synchronous=self._synchronous, told=self._committed)
        self._equipment = Equipment(
            ledger=ledger,
            records=Records(ledger),
            workers=Workers(self._threads),
            **self._parts,
        )
        self._records = self._equipment.records
        self._started = True
        await self._tidy()

    async def _tidy(self) -> None:
        self._records.forget_effects(self._equipment.clock.wall())
        self._records.forget_workflows(self._keep)
        # Gone before anybody asks for one of them again.
        try:
            await self._equipment.ledger.commit()
        except LedgerError as error:
            _log.error("what is old cannot be forgotten: %s", error)

    async def resume_all(self) -> int:
        """Go on with what ran when the last engine ended; return how many that are."""
        unfinished = self._records.unfinished()
        for record in unfinished:
            try:
                spec = _read_spec(self._records.spec(record.number))
                principal = _read_principal(_encode(record.principal))
                round = self._round(record, spec, Graph(spec), principal)
            except (HttpRefusal, GraphError, msgspec.MsgspecError) as error:
                # Written by another version of this program; the others are to go on.
                _log.error("workflow %s cannot be resumed: %s", record.workflow_id, error)
                continue
            round.recall()
            self._set_off(round, resumed=True)
        return len(unfinished)

    async def stop(self, grace: float = 0.0) -> None:
        """Leave what runs for the next engine, after at most `grace` seconds; close the file.

        Safe to repeat.
        """
        self._stopping = True
        if not self._started:
            return
        self._started = False
        if self._tasks and grace > 0:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for events in self._listeners.values():
            for event in events:
                event.set()
        self._equipment.workers.shutdown(wait=False, cancel_futures=True)
        self._equipment.ledger.close()

    @property
    def in_hand(self) -> int:
        """How many workflows run."""
        return len(self._rounds)

    @property
    def commits(self) -> int:
        """How many transactions were written."""
        return self._equipment.ledger.commits

    # -- setting off --------------------------------------------------------

    async def execute(
        self,
        spec: WorkflowSpec,
        *,
        principal: Principal,
        context: Mapping[str, Any] | None = None,
        requester: str | None = None,
        owner: str = "",
        correlation_id: str | None = None,
        approval_token: str | None = None,
        rerun: bool = False,
    ) -> dict[str, Any]:
        """Run a workflow to its end; return what `WorkflowExecutionResult` has.

        A failure of the workflow is a result. `requester` is who asked and may not approve,
        the principal if None; `owner` whose validators its gates see. With `rerun` all is done
        anew, whatever was under the id. Refuses what `submit` refuses. Who stops waiting does
        not stop the workflow.
        """
        await self.submit(
            spec,
            principal=principal,
            context=context,
            requester=requester,
            owner=owner,
            correlation_id=correlation_id,
            approval_token=approval_token,
            rerun=rerun,
        )
        return await self.result(spec.id)

    async def submit(
        self,
        spec: WorkflowSpec,
        *,
        principal: Principal,
        context: Mapping[str, Any] | None = None,
        requester: str | None = None,
        owner: str = "",
        correlation_id: str | None = None,
        approval_token: str | None = None,
        rerun: bool = False,
    ) -> dict[str, Any]:
        """Set a workflow off; return its status once it is on the disk.

        Refuses a graph that cannot be run and a context that cannot be meant (422), a workflow
        that runs already, and another one under the id (409), and one too many (429).
        """
        graph = _graph(spec)
        given = _plain(context)
        settings = read_settings(given, graph.tasks)
        _check_attempts(spec)
        body = canonical(wire(spec))
        fingerprint = hashlib.sha256(body).hexdigest()
        self._submitted += 1
        if not self._submitted % _TIDY:
            await self._tidy()
        if self._stopping:
            raise HttpRefusal(503, "STOPPING", "the server is stopping; try again")
        if spec.id in self._rounds:
            raise HttpRefusal(
                409,
                "WORKFLOW_RUNNING",
                "this workflow is running; wait for it, or cancel it",
            )
        if len(self._rounds) >= _MOST_RUNNING:
            raise HttpRefusal(
                429,
                "TOO_MANY_WORKFLOWS",
                f"{_MOST_RUNNING} workflows are running; try again when one has ended",
                headers=[(b"retry-after", b"1")],
            )
        before = self._records.workflow(spec.id)
        if before is not None and not rerun:
            if before.fingerprint != fingerprint:
                raise HttpRefusal(
                    409,
                    "WORKFLOW_CONFLICT",
                    "another workflow has this id; take another id, or say rerun to replace it",
                )
            if before.state == WorkflowState.COMPLETED:
                return self.status(spec.id)
        anew = before is not None and rerun
        record = WorkflowRecord(
            number=self._records.next_number() if before is None else before.number,
            workflow_id=spec.id,
            name=spec.name,
            state=str(WorkflowState.RUNNING),
            fingerprint=fingerprint,
            principal=wire(principal),
            requester=requester or principal.id,
            owner=owner,
            correlation_id=correlation_id,
            context=given,
            approval_token=approval_token,
            round=1 if before is None else before.round + 1,
            epoch=0 if before is None else before.epoch + anew,
            started=self._equipment.clock.wall(),
        )
        round = Round(self._equipment, record, spec, graph, principal, settings)
        if before is not None and not anew:
            round.recall()
        elif before is not None:
            round.sequence = self._records.last_event(record.number)
            self._records.forget_tasks(record.number)
        record.before = round.sequence
        self._rounds[spec.id] = round
        try:
            self._records.begin(record, body)
            await round.commit()
        except LedgerError as error:
            del self._rounds[spec.id]
            problem = str(error)
        except BaseException:
            # Whoever asked went away; it is queued, and will be on the disk.
            self._set_off(round, resumed=False)
            raise
        else:
            self._set_off(round, resumed=False)
            return self.status(spec.id)
        raise _unwritable(problem)

    def _round(
        self, record: WorkflowRecord, spec: WorkflowSpec, graph: Graph, principal: Principal
    ) -> Round:
        settings = read_settings(record.context, graph.tasks)
        return Round(self._equipment, record, spec, graph, principal, settings)

    def _set_off(self, round: Round, *, resumed: bool) -> None:
        self._rounds[round.record.workflow_id] = round
        task = asyncio.ensure_future(self._run(round, resumed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, round: Round, resumed: bool) -> None:
        problem: HttpRefusal | None = None
        try:
            await round.go(resumed=resumed)
        except asyncio.CancelledError:
            problem = HttpRefusal(
                503, "STOPPING", "the server stopped; the workflow goes on when it is back"
            )
            raise
        except LedgerError as error:
            problem = _unwritable(str(error))
        except Exception:  # noqa: BLE001 - who waits must hear of it
            _log.exception("workflow %s broke the engine", round.record.workflow_id)
            problem = HttpRefusal(
                500, "INTERNAL", "the engine failed; the workflow goes on when it is restarted"
            )
        finally:
            self._rounds.pop(round.record.workflow_id, None)
            if problem is None:
                round.over.set_result(None)
            else:
                round.over.set_exception(problem)
                round.over.exception()  # perhaps nobody waits
            self._committed([round.record.number])

    # -- asking -------------------------------------------------------------

    async def result(self, workflow_id: str, *, wait: bool = True) -> dict[str, Any]:
        """Return how a workflow ended; 404 for one that is unknown.

        It is waited for until it has, or refused (409) with `wait` false.
        """
        round = self._rounds.get(workflow_id)
        if round is not None:
            # The last event is told a moment before the round is put away.
            if not wait and not round.record.is_over:
                raise HttpRefusal(
                    409, "WORKFLOW_RUNNING", "this workflow is running; wait for its end"
                )
            await asyncio.shield(round.over)
            return _ended(round)
        return _ended(self._recalled(workflow_id))

    def status(self, workflow_id: str) -> dict[str, Any]:
        """Return where a workflow stands; 404 for one that is unknown."""
        round = self._rounds.get(workflow_id) or self._recalled(workflow_id)
        record = round.record
        return status_of(
            record,
            round.graph,
            round.tasks,
            round.hooks,
            progress=record.progress if record.is_over else round.progress,
            current=round.current,
        )

    def spec(self, workflow_id: str) -> dict[str, Any]:
        """Return what a workflow was asked to do, as it was sent; 404 for one unknown."""
        return _decode(self._records.spec(self._required(workflow_id).number))

    def _recalled(self, workflow_id: str) -> Round:
        record = self._required(workflow_id)
        spec = _read_spec(self._records.spec(record.number))
        principal = _read_principal(_encode(record.principal))
        round = self._round(record, spec, Graph(spec), principal)
        round.recall()
        return round

    def _required(self, workflow_id: str) -> WorkflowRecord:
        record = self._records.workflow(workflow_id)
        if record is None:
            raise HttpRefusal(404, "WORKFLOW_NOT_FOUND", "there is no workflow with this id")
        return record

    def listed(
        self,
        state: str | None = None,
        *,
        name: str | None = None,
        started_after: float | None = None,
        started_before: float | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """Return workflows, newest first, in the form of `WorkflowPage`.

        `name` is a workflow's whole name; times are Unix seconds, both ends included.
        """
        before: int | None = None
        if cursor is not None:
            if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
                raise refused([("cursor", "is what next_cursor said")])
            before = int(cursor)
        limit = max(1, min(limit, _MOST_LISTED))
        found = self._records.page(state, limit + 1, before, name, started_after, started_before)
        shown = found[:limit]
        return {
            "workflows": [self._summary(record) for record in shown],
            "next_cursor": str(shown[-1].number) if len(found) > limit else None,
        }

    def _summary(self, record: WorkflowRecord) -> dict[str, Any]:
        round = self._rounds.get(record.workflow_id)
        if round is None:
            return summary_of(record, record.progress)
        return summary_of(round.record, round.progress)

    async def events(
        self, workflow_id: str, after: int | None = None, *, follow: bool = True
    ) -> AsyncGenerator[dict[str, Any]]:
        """Yield a workflow's events above a number; with `follow` until it has ended.

        None begins with the latest round. What is told is on the disk. 404 for a workflow that
        is unknown.
        """
        round = self._rounds.get(workflow_id)
        record = self._required(workflow_id) if round is None else round.record
        number = record.number
        seen = record.before if after is None else after
        heard = asyncio.Event()
        self._listeners.setdefault(number, []).append(heard)
        try:
            while True:
                running = workflow_id in self._rounds
                heard.clear()
                page = self._records.events(number, seen, _PAGE)
                for event in page:
                    seen = event["sequence"]
                    yield event
                if len(page) == _PAGE:
                    continue
                if not follow or not running or self._stopping:
                    return
                await heard.wait()
        finally:
            listeners = self._listeners[number]
            listeners.remove(heard)
            if not listeners:
                del self._listeners[number]

    def _committed(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            for heard in self._listeners.get(number, ()):
                heard.set()

    # -- telling ------------------------------------------------------------

    async def cancel(self, workflow_id: str) -> dict[str, Any]:
        """Break a workflow off; what it did is undone. Return once that is on the disk.

        404 for one that is unknown, 409 for one that is over or failing already.
        """
        round = self._rounds.get(workflow_id)
        if round is None:
            record = self._required(workflow_id)
            raise HttpRefusal(
                409, "WORKFLOW_FINISHED", f"this workflow is {record.state}; nothing is left"
            )
        record, previous = round.record, round.record.state
        if round.is_ending and previous != WorkflowState.CANCELLING:
            raise HttpRefusal(409, "WORKFLOW_FINISHED", "this workflow is ending already")
        if previous != WorkflowState.CANCELLING:
            record.state = str(WorkflowState.CANCELLING)
            self._records.save(record)
            round.interrupt("cancel")
        try:
            await round.commit()
        except LedgerError as error:
            problem = str(error)
        else:
            return {
                "workflow_id": workflow_id,
                "status": str(WorkflowState.CANCELLING),
                "cancelled": True,
                "previous_status": previous,
            }
        raise _unwritable(problem)

    def approval_changed(self, approval: ApprovalRecord) -> None:
        """Hear that a question was answered: a task may wait for it."""
        for answered in self._equipment.waiting.get(approval.token, ()):
            answered.set()


def _graph(spec: WorkflowSpec) -> Graph:
    try:
        return Graph(spec)
    except GraphError as error:
        problems = [(str(path), str(what)) for path, what in error.problems]
        cycle = error.cycle
    refusal = refused(problems)
    if cycle:
        refusal.details = {**(refusal.details or {}), "cycle": list(cycle)}
    raise refusal


def _check_attempts(spec: WorkflowSpec) -> None:
    # Each leaves lines on the disk.
    problems = [
        (f"tasks[{number}].retry.max_attempts", f"is at most {_MOST_ATTEMPTS}")
        for number, task in enumerate(spec.tasks)
        if task.retry is not None and task.retry.max_attempts > _MOST_ATTEMPTS
    ]
    if problems:
        raise refused(problems)


def _plain(context: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a context as it will be read back."""
    try:
        body = _encode(dict(context or {}))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        body = None
    if body is None:
        raise refused([("context", "is no JSON")])
    if len(body) > _CONTEXT_BYTES:
        raise refused([("context", f"has at most {_CONTEXT_BYTES} bytes")])
    return _decode(body)


def _ended(round: Round) -> dict[str, Any]:
    return result_of(
        round.record,
        round.graph,
        round.tasks,
        round.results,
        round.hooks,
        round.hook_results,
    )


def _unwritable(problem: str) -> HttpRefusal:
    return HttpRefusal(
        503,
        "STORE_UNAVAILABLE",
        f"what happens cannot be written down ({problem}); mend that and restart the server",
    )
