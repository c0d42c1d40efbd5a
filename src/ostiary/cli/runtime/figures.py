"""`health` and `metrics`: how the runtime is, and what it counts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..screen import EXIT_FAILED
from ..units import percent, size, span
from ..watching import Interval, View, Watch, show
from .session import Session, add

if TYPE_CHECKING:
    from ...runtime import AgentMetrics, SystemMetrics

__all__ = ["register"]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    add(commands, "health", health)
    add(commands, "metrics", metrics)


def health(on: Session) -> None:
    """Ask the runtime how it is; needs no key. Exits 1 when it is not healthy."""
    found = on.client.health_check()
    on.facts(
        found,
        {
            "status": found.status,
            "version": found.version,
            "up for": span(found.uptime_seconds),
        },
    )
    if found.status.lower() not in {"healthy", "ok"}:
        raise typer.Exit(EXIT_FAILED)


def metrics(
    on: Session,
    agent: Annotated[
        str | None,
        typer.Argument(metavar="AGENT", help="Of this agent alone.", show_default=False),
    ] = None,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print the text that Prometheus reads.")
    ] = False,
    watch: Watch = False,
    interval: Interval = 2.0,
) -> None:
    """Show what the runtime counts, or one of its agents."""
    if prometheus:
        if agent is not None or watch:
            raise typer.BadParameter("--prometheus is for the whole runtime, and once")
        sys.stdout.write(on.client.prometheus_metrics())
        return

    def look() -> View:
        if agent is not None:
            found = on.client.get_agent_metrics(agent)
            return View(found, on.screen.card(_of_agent(found)))
        whole = on.client.get_metrics()
        return View(whole, on.screen.card(_of_all(whole)))

    show(on, look, watch=watch, interval=interval)


def _of_agent(found: AgentMetrics) -> dict[str, object]:
    return {
        "agent": found.agent_id,
        "tasks done": f"{found.tasks_completed:,}",
        "tasks failed": f"{found.tasks_failed:,}",
        "time per task": f"{found.average_response_time_ms:,.1f} ms",
        "memory": size(found.memory_usage_bytes),
        "CPU": percent(found.cpu_usage_percent),
        "last active": found.last_activity,
        "up for": span(found.uptime_seconds),
    }


def _of_all(found: SystemMetrics) -> dict[str, object]:
    return {
        "up for": span(found.uptime_seconds),
        "agents": f"{found.active_agents:,} active of {found.total_agents:,}",
        "secrets": f"{found.secrets_count:,}",
        "MCP connections": f"{found.mcp_connections:,}",
        "knowledge": f"{found.vector_db_items:,} items",
        "CPU": percent(found.cpu_usage_percent),
        "memory": f"{size(found.memory_usage_bytes)} ({percent(found.memory_usage_percent)})",
        "disk": f"{size(found.disk_usage_bytes)} ({percent(found.disk_usage_percent)})",
    }
