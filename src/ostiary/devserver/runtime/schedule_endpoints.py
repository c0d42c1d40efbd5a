"""The paths of schedules.

Neighbour: `schedules` does it.
"""

from __future__ import annotations

import math
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..http.front import Json
from ..http.reading import Body, number
from ..http.routing import route
from .context import Context
from .executions import Executions
from .schedules import Job, Run, Schedules, stamp

__all__ = ["ScheduleEndpoints"]


class _Create(msgspec.Struct):
    name: str
    cron_expression: str
    agent_name: str
    timezone: str = "UTC"
    policy_ids: list[str] = []
    one_shot: bool = False


class _Update(msgspec.Struct):
    cron_expression: str | None = None
    timezone: str | None = None
    policy_ids: list[str] | None = None
    one_shot: bool | None = None


_CREATE: Final = Body(_Create)
_UPDATE: Final = Body(_Update)
_MOST: Final = 1_000


@final
class ScheduleEndpoints:
    """The schedules over HTTP; `schedules` for other groups."""

    def __init__(self, context: Context) -> None:
        self.schedules = Schedules(context, context.group(Executions))

    def routes(self) -> list[BaseRoute]:
        return [
            route("GET", "/health/scheduler", self._health),
            route("GET", "/schedules", self._list),
            route("POST", "/schedules", self._create),
            route("GET", "/schedules/{id}", self._get),
            route("PUT", "/schedules/{id}", self._update),
            route("DELETE", "/schedules/{id}", self._delete),
            route("POST", "/schedules/{id}/pause", self._pause),
            route("POST", "/schedules/{id}/resume", self._resume),
            route("POST", "/schedules/{id}/trigger", self._trigger),
            route("GET", "/schedules/{id}/history", self._history),
            route("GET", "/schedules/{id}/next-runs", self._next_runs),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {
            "schedules": len(self.schedules.jobs),
            "schedule_runs_total": self.schedules.totals["runs"],
        }

    async def start(self) -> None:
        self.schedules.start()

    async def stop(self, grace: float) -> None:
        await self.schedules.stop(grace)

    def load_demo(self) -> None:
        pass

    async def _health(self, request: Request) -> ASGIApp:
        found = self.schedules
        statuses = [job.status for job in found.jobs.values()]
        runs = found.totals["runs"]
        return Json(
            {
                "is_running": found.running,
                "store_accessible": True,  # the jobs came from it, or nothing would answer
                "jobs_total": len(statuses),
                "jobs_active": statuses.count("Active"),
                "jobs_paused": statuses.count("Paused"),
                "jobs_dead_letter": statuses.count("DeadLetter"),
                "global_active_runs": found.active_runs,
                "max_concurrent": found.max_runs,
                "runs_total": runs,
                "runs_succeeded": found.totals["succeeded"],
                "runs_failed": found.totals["failed"],
                "average_execution_time_ms": round(1000 * found.seconds / runs, 3) if runs else 0.0,
                "longest_run_ms": math.ceil(1000 * found.longest),
            }
        )

    async def _list(self, request: Request) -> ASGIApp:
        return Json([_summary(job) for job in self.schedules.jobs.values()])

    async def _create(self, request: Request) -> ASGIApp:
        body = await _CREATE.read(request)
        job = self.schedules.create(
            body.name,
            body.cron_expression,
            body.agent_name,
            timezone=body.timezone,
            policy_ids=body.policy_ids,
            one_shot=body.one_shot,
        )
        return Json(
            {"job_id": job.job_id, "next_run": stamp(job.next_run), "status": "created"},
            status=201,
        )

    async def _get(self, request: Request) -> ASGIApp:
        return Json(_detail(self.schedules.require(request.path_params["id"])))

    async def _update(self, request: Request) -> ASGIApp:
        body = await _UPDATE.read(request)
        job = self.schedules.update(request.path_params["id"], **msgspec.structs.asdict(body))
        return Json({**_detail(job), "action": "update"})

    async def _delete(self, request: Request) -> ASGIApp:
        job_id: str = request.path_params["id"]
        self.schedules.delete(job_id)
        return Json({"job_id": job_id, "deleted": True})

    async def _pause(self, request: Request) -> ASGIApp:
        return _acted(self.schedules.pause(request.path_params["id"]), "pause", "paused")

    async def _resume(self, request: Request) -> ASGIApp:
        return _acted(self.schedules.resume(request.path_params["id"]), "resume", "active")

    async def _trigger(self, request: Request) -> ASGIApp:
        run = self.schedules.trigger(request.path_params["id"])
        return Json(
            {
                "job_id": run.job_id,
                "action": "trigger",
                "status": "triggered",
                "run_id": run.run_id,
            }
        )

    async def _history(self, request: Request) -> ASGIApp:
        job = self.schedules.require(request.path_params["id"])
        limit = number(request, "limit", 50, least=1, most=_MOST)
        runs = self.schedules.runs.owned(job.job_id, limit)
        return Json({"job_id": job.job_id, "history": [_run(one) for one in runs]})

    async def _next_runs(self, request: Request) -> ASGIApp:
        job_id: str = request.path_params["id"]
        count = number(request, "count", 10, least=1, most=_MOST)
        times = self.schedules.next_runs(job_id, count)
        return Json({"job_id": job_id, "next_runs": [stamp(one) for one in times]})


def _acted(job: Job, action: str, status: str) -> ASGIApp:
    return Json({"job_id": job.job_id, "action": action, "status": status})


def _summary(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "name": job.name,
        "cron_expression": job.cron_expression,
        "timezone": job.timezone,
        "status": job.status,
        "enabled": job.status == "Active",
        "next_run": stamp(job.next_run),
        "run_count": job.run_count,
        "agent_name": job.agent_name,
    }


def _detail(job: Job) -> dict[str, Any]:
    return {
        **_summary(job),
        "one_shot": job.one_shot,
        "policy_ids": job.policy_ids,
        "last_run": stamp(job.last_run),
        "failure_count": job.failure_count,
        "created_at": stamp(job.created_at),
        "updated_at": stamp(job.updated_at),
    }


def _run(run: Run) -> dict[str, Any]:
    shown = msgspec.structs.asdict(run)
    del shown["job_id"]
    return shown
