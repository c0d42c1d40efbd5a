"""Agents that work at set times: jobs in cron's words, their runs, and the clock behind them.

Times that passed while nothing ran here are left out; a run that would overlap with the one
before it is skipped, and on record as that. Neighbours: `cron` finds times, `executions` has
agents work, `schedule_endpoints` are the paths.
"""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import UTC, datetime
from typing import Any, Final, final
from zoneinfo import ZoneInfo

import msgspec

from ...errors import InvalidArgumentError
from ..clock import iso
from ..documents import Documents
from ..http.reading import invalid
from ..http.refusals import HttpRefusal
from .context import Context
from .cron import Cron
from .executions import Executions

__all__ = ["Job", "Run", "Schedules"]

_log = logging.getLogger(__name__)

_LONGEST_SLEEP: Final = 30.0  # the date may be set meanwhile
_FAILURES: Final = 5  # in a row, after which a job is given up
_KEPT_RUNS: Final = 20_000
_MAX_RUNS: Final = 64


class Job(msgspec.Struct, kw_only=True):
    """One schedule; `status` is Active, Paused, Completed or DeadLetter. Times are Unix seconds."""

    job_id: str
    name: str
    cron_expression: str
    agent_name: str
    timezone: str
    policy_ids: list[str]
    one_shot: bool
    created_at: float
    updated_at: float
    status: str = "Active"
    next_run: float | None = None
    last_run: float | None = None
    run_count: int = 0
    failure_count: int = 0
    failures_in_a_row: int = 0


class Run(msgspec.Struct, kw_only=True):
    """One run; `status` is Running, Succeeded, Failed, TimedOut or Skipped."""

    run_id: str
    job_id: str
    started_at: str
    status: str = "Running"
    completed_at: str | None = None
    error: str | None = None
    execution_time_ms: int | None = None
    execution_id: str | None = None


@final
class Schedules:
    """The jobs and their clock; `tick` does what is due."""

    def __init__(self, context: Context, executions: Executions) -> None:
        self._context = context
        self._executions = executions
        self._documents = Documents(context.store, "schedule", Job)
        self.runs = Documents(context.store, "schedule-run", Run)
        self.jobs: dict[str, Job] = dict(self._documents.items())
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.running = False
        self.totals = {"runs": 0, "succeeded": 0, "failed": 0}
        self.seconds = 0.0
        self.longest = 0.0

    # -- the jobs -----------------------------------------------------------

    def create(
        self,
        name: str,
        cron_expression: str,
        agent_name: str,
        *,
        timezone: str = "UTC",
        policy_ids: list[str] | None = None,
        one_shot: bool = False,
    ) -> Job:
        """Schedule an agent, by its name or id; 422 for what is no time, 404 for no agent."""
        if not name:
            raise invalid("name", "name is empty; name the schedule")
        cron = read_cron(cron_expression)
        zone = read_zone(timezone)
        self._require_agent(agent_name)
        now = self._context.clock.wall()
        following = cron.after(datetime.fromtimestamp(now, UTC), zone)
        if following is None:
            raise invalid("cron_expression", "cron_expression names a time that never comes")
        job = Job(
            job_id=self._context.new_id(),
            name=name,
            cron_expression=cron_expression,
            agent_name=agent_name,
            timezone=timezone,
            policy_ids=policy_ids or [],
            one_shot=one_shot,
            created_at=now,
            updated_at=now,
            next_run=following.timestamp(),
        )
        self.jobs[job.job_id] = job
        self._documents.put(job.job_id, job)
        self._context.events.publish("schedule.created", job_id=job.job_id, name=name)
        self._arm()
        return job

    def require(self, job_id: str) -> Job:
        """Return a job, or refuse with 404."""
        job = self.jobs.get(job_id)
        if job is None:
            raise HttpRefusal(404, "SCHEDULE_NOT_FOUND", "there is no schedule of this id")
        return job

    def update(self, job_id: str, **changes: Any) -> Job:
        """Change the expression, the time zone, the policies or `one_shot`; None is no change."""
        job = self.require(job_id)
        given = {name: value for name, value in changes.items() if value is not None}
        if not given:
            raise invalid("", "nothing is to be changed; give at least one member")
        changed = msgspec.structs.replace(job, **given)
        if self._following(changed) is None:
            raise invalid("cron_expression", "cron_expression names a time that never comes")
        for member, value in given.items():
            setattr(job, member, value)
        self._changed(job, job.status)
        return job

    def pause(self, job_id: str) -> Job:
        """Have a job rest; once more is accepted."""
        job = self.require(job_id)
        if job.status == "Completed":
            raise HttpRefusal(409, "SCHEDULE_COMPLETED", "the schedule has run and is over")
        self._changed(job, "Paused")
        return job

    def resume(self, job_id: str) -> Job:
        """Have a job go on that rests, or that was given up."""
        job = self.require(job_id)
        if job.status == "Completed":
            raise HttpRefusal(409, "SCHEDULE_COMPLETED", "the schedule has run and is over")
        job.failures_in_a_row = 0
        self._changed(job, "Active")
        return job

    def delete(self, job_id: str) -> None:
        """Forget a job; a run of it that is in hand is cancelled."""
        self.require(job_id)
        del self.jobs[job_id]
        self._documents.delete(job_id)
        task = self._in_hand.get(job_id)
        if task is not None:
            task.cancel()
        self._context.events.publish("schedule.deleted", job_id=job_id)
        self._arm()

    def trigger(self, job_id: str) -> Run:
        """Run a job now, whatever its times; 409 while it runs."""
        job = self.require(job_id)
        if job_id in self._in_hand:
            raise HttpRefusal(409, "SCHEDULE_RUNNING", "the schedule runs at this moment")
        self._require_agent(job.agent_name)
        return self._begin(job)

    def next_runs(self, job_id: str, count: int) -> list[float]:
        """Return the next times of a job, as if it were active."""
        job = self.require(job_id)
        cron, zone = read_cron(job.cron_expression), read_zone(job.timezone)
        found: list[float] = []
        moment: datetime | None = self._context.moment()
        while moment is not None and len(found) < (1 if job.one_shot else count):
            moment = cron.after(moment, zone)
            if moment is not None:
                found.append(moment.timestamp())
        return found

    def _require_agent(self, name: str) -> None:
        if self._context.agents.named(name) is None:
            raise HttpRefusal(404, "AGENT_NOT_FOUND", "there is no agent of this name")

    def _changed(self, job: Job, status: str) -> None:
        job.status = status
        job.next_run = self._following(job) if status == "Active" else None
        job.updated_at = self._context.clock.wall()
        self._documents.put(job.job_id, job)
        self._context.events.publish(f"schedule.{status.lower()}", job_id=job.job_id)
        self._arm()

    def _following(self, job: Job) -> float | None:
        found = read_cron(job.cron_expression).after(
            self._context.moment(), read_zone(job.timezone)
        )
        return None if found is None else found.timestamp()

    # -- the clock ----------------------------------------------------------

    def start(self) -> None:
        """Let the clock run; what passed since the last time is not made up for."""
        for run in self.runs.all():
            if run.status == "Running":
                run.status, run.error = "Failed", "the runtime stopped before this run ended"
                run.completed_at = self._context.now()
                self.runs.put(run.run_id, run)
        self.running = True
        for job in self.jobs.values():
            if job.status == "Active":
                job.next_run = self._following(job)
        self._arm()

    async def stop(self, grace: float) -> None:
        """Stop the clock and end what runs."""
        self.running = False
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._in_hand.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace)

    def _arm(self) -> None:
        """Set the timer for what comes next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [job.next_run for job in self.jobs.values() if job.next_run is not None]
        if not self.running or not times:
            return
        wait = min(max(min(times) - self._context.clock.wall(), 0.0), _LONGEST_SLEEP)
        self._timer = asyncio.get_running_loop().call_later(wait, self._rang)

    def _rang(self) -> None:
        try:
            self.tick()
        finally:
            self._arm()

    def tick(self) -> None:
        """Begin the runs that are due."""
        now = self._context.clock.wall()
        for job in list(self.jobs.values()):
            if job.next_run is None or job.next_run > now:
                continue
            try:
                self._due(job)
            except Exception as error:  # noqa: BLE001 - the other jobs are to run all the same
                _log.error("a schedule could not be run: %s", type(error).__name__)

    def _due(self, job: Job) -> None:
        job.next_run = None if job.one_shot else self._following(job)
        if job.next_run is None:
            job.status = "Completed"
        self._documents.put(job.job_id, job)
        if job.job_id in self._in_hand or len(self._in_hand) >= _MAX_RUNS:
            now = self._context.now()
            self._keep(
                Run(
                    run_id=self._context.new_id(),
                    job_id=job.job_id,
                    started_at=now,
                    completed_at=now,
                    status="Skipped",
                    error="the run before it has not ended"
                    if job.job_id in self._in_hand
                    else "too many schedules run at once",
                )
            )
            return
        self._begin(job)

    # -- a run --------------------------------------------------------------

    def _begin(self, job: Job) -> Run:
        run = Run(run_id=self._context.new_id(), job_id=job.job_id, started_at=self._context.now())
        job.run_count += 1
        job.last_run = self._context.clock.wall()
        self._keep(run)
        self._documents.put(job.job_id, job)
        task = asyncio.get_running_loop().create_task(self._run(job, run))
        self._in_hand[job.job_id] = task
        task.add_done_callback(lambda _: self._in_hand.pop(job.job_id, None))
        return run

    async def _run(self, job: Job, run: Run) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        cancelled = False
        try:
            agent = self._context.agents.named(job.agent_name)
            if agent is None:
                raise HttpRefusal(404, "AGENT_NOT_FOUND", "the agent is no longer there")
            execution = await self._executions.perform(
                agent.id, {"schedule": job.name, "job_id": job.job_id}, "schedule"
            )
            run.execution_id = execution.execution_id
            run.status = "Succeeded"
        except asyncio.CancelledError:
            run.status, run.error = "Failed", "the run was cancelled"
            cancelled = True
        except HttpRefusal as refusal:
            run.status = "TimedOut" if refusal.code == "TASK_TIMED_OUT" else "Failed"
            run.error = refusal.message
        except Exception as error:  # noqa: BLE001 - it is on record, and nobody waits for it
            run.status, run.error = "Failed", type(error).__name__
        self._ended(job, run, loop.time() - began)
        if cancelled:
            raise asyncio.CancelledError

    def _ended(self, job: Job, run: Run, seconds: float) -> None:
        succeeded = run.status == "Succeeded"
        run.completed_at = self._context.now()
        run.execution_time_ms = math.ceil(seconds * 1000)
        self.totals["runs"] += 1
        self.totals["succeeded" if succeeded else "failed"] += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)
        job.failures_in_a_row = 0 if succeeded else job.failures_in_a_row + 1
        job.failure_count += not succeeded
        if job.failures_in_a_row >= _FAILURES and job.status == "Active":
            job.status, job.next_run = "DeadLetter", None
        with self._context.store.transaction():
            self._keep(run)
            if job.job_id in self.jobs:
                self._documents.put(job.job_id, job)
        self._context.events.publish(
            f"schedule.run.{run.status.lower()}", job_id=job.job_id, run_id=run.run_id
        )

    def _keep(self, run: Run) -> None:
        self.runs.put(run.run_id, run, owner=run.job_id)
        if run.status == "Running":
            self.runs.keep(_KEPT_RUNS)

    @property
    def active_runs(self) -> int:
        return len(self._in_hand)

    @property
    def max_runs(self) -> int:
        return _MAX_RUNS


def read_cron(expression: str) -> Cron:
    """Return an expression's times; 422 for one that cannot be read."""
    try:
        return Cron(expression)
    except InvalidArgumentError as error:
        problem = str(error)
    raise invalid("cron_expression", problem)


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database by name; 422 for an unknown one."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        pass
    raise invalid("timezone", "timezone is no name of the IANA database; UTC is one")


def stamp(moment: float | None) -> str | None:
    """Return Unix seconds as the wire has them."""
    return None if moment is None else iso(moment)
