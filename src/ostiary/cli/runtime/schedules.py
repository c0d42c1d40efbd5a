"""`schedules ...`: what runs by the clock."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from ..screen import plain
from .session import Session, add, take_options

__all__ = ["register"]

Job = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="The schedule's id.", show_default=False)
]


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Agents that run by the clock.", no_args_is_help=True)
    take_options(group)
    add(group, "ls", ls)
    add(group, "show", show)
    add(group, "create", create)
    add(group, "pause", pause)
    add(group, "resume", resume)
    add(group, "trigger", trigger)
    add(group, "history", history)
    add(group, "next", next_)
    add(group, "rm", rm)
    commands.add_typer(group, name="schedules")


def ls(on: Session) -> None:
    """List schedules."""
    found = on.client.schedules.list()
    on.table(
        found,
        ("schedule", "name", "when", "zone", "status", "next", "runs"),
        (
            (
                one.job_id,
                one.name,
                one.cron_expression,
                one.timezone,
                one.status,
                _moment(one.next_run),
                one.run_count,
            )
            for one in found
        ),
        firm=("schedule", "when", "status", "next"),
        spare=("zone", "runs"),
        right=("runs",),
        empty="nothing is scheduled; `ostiary runtime schedules create` does it",
    )


def show(on: Session, job: Job) -> None:
    """Show a schedule."""
    found = on.client.schedules.get(job)
    on.facts(
        found,
        {
            "schedule": found.job_id,
            "name": found.name,
            "when": f"{found.cron_expression} ({found.timezone})",
            "status": found.status,
            "next": _moment(found.next_run),
            "last": _moment(found.last_run),
            "runs": f"{found.run_count:,}, {found.failure_count:,} failed",
        },
    )


def create(
    on: Session,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it is called.", show_default=False)
    ],
    cron: Annotated[
        str,
        typer.Argument(
            metavar="CRON",
            help="When, in five fields or six (seconds first): '*/5 * * * *'.",
            show_default=False,
        ),
    ],
    agent: Annotated[
        str, typer.Option("--agent", metavar="ID", help="The agent that runs.", show_default=False)
    ],
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="Such as Europe/Vienna.")
    ] = "UTC",
    once: Annotated[bool, typer.Option("--once", help="Run once, and no more.")] = False,
) -> None:
    """Schedule an agent."""
    made = on.client.schedules.create(
        {
            "name": name,
            "cron_expression": cron,
            "agent_name": agent,
            "timezone": timezone,
            "one_shot": once,
        }
    )
    on.facts(
        made,
        {
            "schedule": made.job_id,
            "next": _moment(made.next_run),
            "status": made.status,
        },
    )


def pause(on: Session, job: Job) -> None:
    """Let a schedule rest."""
    _act(on, on.client.schedules.pause(job))


def resume(on: Session, job: Job) -> None:
    """Let a schedule go on."""
    _act(on, on.client.schedules.resume(job))


def trigger(on: Session, job: Job) -> None:
    """Run it now, besides."""
    _act(on, on.client.schedules.trigger(job))


def history(
    on: Session,
    job: Job,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=1000, help="How many at most.")
    ] = 20,
) -> None:
    """List its runs, the newest first."""
    found = on.client.schedules.history(job, limit)
    on.table(
        found,
        ("run", "status", "started", "took", "error"),
        (
            (
                one.run_id,
                one.status,
                _moment(one.started_at),
                None if one.execution_time_ms is None else f"{one.execution_time_ms:,.0f} ms",
                one.error,
            )
            for one in found
        ),
        firm=("status", "started", "took"),
        right=("took",),
        empty="it has not run yet",
    )


def next_(
    on: Session,
    job: Job,
    count: Annotated[
        int, typer.Option("--count", metavar="COUNT", min=1, max=100, help="How many.")
    ] = 5,
) -> None:
    """List when it will run."""
    found = on.client.schedules.next_runs(job, count)
    on.table(
        found,
        ("next run", "that is"),
        ((str(one), _moment(one)) for one in found.next_runs),
        empty="it will not run again",
    )


def rm(
    on: Session,
    job: Job,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")
    ] = False,
) -> None:
    """Delete a schedule; asks first on a terminal."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {plain(job)}?", abort=True, err=True)
    on.done(on.client.schedules.delete(job), f"deleted {job}")


def _act(on: Session, made: Any) -> None:
    on.done(made, f"{made.job_id}: {made.status}")


def _moment(value: object) -> object:
    """Return a moment that can be shown as one; servers write it as text too."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value
