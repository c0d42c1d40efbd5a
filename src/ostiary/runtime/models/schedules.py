"""Agents that run by the clock. Cron expressions have five fields, or six with seconds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from ..enums import ScheduleRunStatus, ScheduleStatus
from .model import Model, Request

__all__ = [
    "CreateScheduleRequest",
    "CreateScheduleResponse",
    "DeleteScheduleResponse",
    "NextRunsResponse",
    "ScheduleActionResponse",
    "ScheduleDetail",
    "ScheduleHistoryResponse",
    "ScheduleRunEntry",
    "ScheduleSummary",
    "SchedulerHealth",
    "UpdateScheduleRequest",
]


class CreateScheduleRequest(Request):
    """A schedule to be made."""

    name: str
    cron_expression: str
    agent_name: str
    timezone: str = "UTC"
    policy_ids: list[str] = []
    one_shot: bool = False

    _filled: ClassVar[tuple[str, ...]] = ("name", "agent_name")

    def _rules(self) -> Iterator[tuple[str, str]]:
        yield from _cron_problems(self.cron_expression)


class UpdateScheduleRequest(Request):
    """What of a schedule is to be changed; None leaves it."""

    cron_expression: str | None = None
    timezone: str | None = None
    policy_ids: list[str] | None = None
    one_shot: bool | None = None

    def _rules(self) -> Iterator[tuple[str, str]]:
        if self.cron_expression is not None:
            yield from _cron_problems(self.cron_expression)


def _cron_problems(text: str) -> Iterator[tuple[str, str]]:
    # The server judges the fields, and names such as @daily.
    if not text.startswith("@") and not 5 <= len(text.split()) <= 7:
        yield "cron_expression", "has five fields, six with seconds before them, or seven"


class CreateScheduleResponse(Model):
    """A schedule that was made."""

    job_id: str
    next_run: datetime | None = None
    status: str = "created"


class ScheduleSummary(Model):
    """A schedule in a list."""

    job_id: str
    name: str
    cron_expression: str
    timezone: str = "UTC"
    status: ScheduleStatus
    enabled: bool = True
    next_run: datetime | None = None
    run_count: int = 0


class ScheduleDetail(Model):
    """A schedule."""

    job_id: str
    name: str
    cron_expression: str
    timezone: str = "UTC"
    status: ScheduleStatus
    enabled: bool = True
    one_shot: bool = False
    next_run: datetime | None = None
    last_run: datetime | None = None
    run_count: int = 0
    failure_count: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    agent_name: str | None = None
    policy_ids: list[str] | None = None


class ScheduleActionResponse(Model):
    """What was done to a schedule, and how it is now."""

    job_id: str
    action: str
    status: str


class DeleteScheduleResponse(Model):
    """A schedule that was deleted."""

    job_id: str
    deleted: bool


class ScheduleRunEntry(Model):
    """One run of a schedule."""

    run_id: str
    started_at: datetime
    completed_at: datetime | None = None
    status: ScheduleRunStatus
    error: str | None = None
    execution_time_ms: float | None = None


class ScheduleHistoryResponse(Model):
    """The runs of a schedule, the newest first."""

    job_id: str
    history: list[ScheduleRunEntry] = []


class NextRunsResponse(Model):
    """When a schedule will run."""

    job_id: str
    next_runs: list[datetime] = []


class SchedulerHealth(Model):
    """How the scheduler is."""

    is_running: bool
    store_accessible: bool = True
    jobs_total: int = 0
    jobs_active: int = 0
    jobs_paused: int = 0
    jobs_dead_letter: int = 0
    global_active_runs: int = 0
    max_concurrent: int = 0
    runs_total: int = 0
    runs_succeeded: int = 0
    runs_failed: int = 0
    average_execution_time_ms: float | None = None
    longest_run_ms: float | None = None
