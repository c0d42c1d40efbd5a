"""The runtime's figures: flat as the guide has them, nested as the newer server, and as text
for Prometheus.

Every figure is counted or read from the system when it is asked for. Neighbours: each group
brings its `gauges`, `meter` counts requests.
"""

from __future__ import annotations

import re
from typing import Any, Final, final

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..http.front import Json
from ..http.routing import route
from .context import Context, Group
from .health import version
from .meter import Meter
from .text import Text

__all__ = ["Metrics"]

_PREFIX: Final = "ostiary_runtime_"
_STATES: Final = ("idle", "active", "busy", "error", "stopped")
_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


@final
class Metrics:
    """Gathers the figures; `meter` and `groups` are set by the server once it has them all."""

    meter: Meter
    groups: list[Group]

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[BaseRoute]:
        return [
            route("GET", "/metrics", self._json),
            route("GET", "/metrics/prometheus", self._prometheus),
            # Where Prometheus looks when it is not told.
            route("GET", "/metrics", self._prometheus, prefix=""),
            route("GET", "/status", self._status),
        ]

    def gauges(self) -> dict[str, int | float]:
        meter = self.meter
        memory, memory_percent = meter.memory()
        disk, disk_percent = meter.disk(self._context.home)
        return {
            "memory_usage_bytes": memory,
            "memory_usage_percent": memory_percent,
            "cpu_usage_percent": meter.cpu_percent(),
            "disk_usage_bytes": disk,
            "disk_usage_percent": disk_percent,
            "requests_total": meter.requests,
            "requests_in_hand": meter.in_hand,
            "average_latency_ms": meter.average_latency_ms(),
        }

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    def load_demo(self) -> None:
        pass

    def figures(self) -> dict[str, int | float]:
        """Return every group's gauges by name; what no group counts is 0."""
        found: dict[str, int | float] = {
            "secrets_count": 0,
            "mcp_connections": 0,
            "vector_db_items": 0,
        }
        for group in self.groups:
            found |= group.gauges()
        return found

    async def _json(self, request: Request) -> ASGIApp:
        flat = self.figures()
        nested: dict[str, Any] = {
            "agents": {
                "total": flat["total_agents"],
                "running": flat["active_agents"],
                "idle": flat["idle_agents"],
                "error": flat["failed_agents"],
            },
            "system": {
                "uptime_seconds": flat["uptime_seconds"],
                "memory_usage": flat["memory_usage_bytes"],
                "cpu_usage": flat["cpu_usage_percent"],
            },
        }
        return Json({**flat, **nested})

    async def _status(self, request: Request) -> ASGIApp:
        flat = self.figures()
        return Json(
            {
                "version": version(),
                "healthy": True,
                "agent_count": flat["total_agents"],
                "schedule_count": flat["schedules"],
                "channel_count": flat["channels"],
            }
        )

    async def _prometheus(self, request: Request) -> ASGIApp:
        return Text(self.text(), kind=_TEXT)

    def text(self) -> str:
        """Return the figures in Prometheus' text format."""
        lines: list[str] = []
        _family(lines, "info", "gauge", "The runtime that answers.", [({"version": version()}, 1)])
        for name, value in sorted(self.figures().items()):
            counter = name.endswith("_total")
            _family(
                lines,
                _NOT_A_NAME.sub("_", name),
                "counter" if counter else "gauge",
                name.replace("_", " ").capitalize() + ".",
                [({}, value)],
            )
        agents = self._context.agents
        records = agents.all()
        states = [agents.state(record) for record in records]
        _family(
            lines,
            "agents",
            "gauge",
            "Agents by state.",
            [({"state": state}, states.count(state)) for state in _STATES],
        )
        _family(
            lines,
            "agent_tasks_total",
            "counter",
            "Tasks of each agent by outcome.",
            [
                ({"agent": record.id, "outcome": outcome}, count)
                for record in records
                for outcome, count in (
                    ("completed", record.tasks_completed),
                    ("failed", record.tasks_failed),
                )
            ],
        )
        for name, help_text, member in (
            ("agent_task_seconds_total", "Time that each agent's tasks took.", "seconds"),
            ("agent_cpu_seconds_total", "Processor time of each agent's tasks.", "cpu_seconds"),
        ):
            _family(
                lines,
                name,
                "counter",
                help_text,
                [({"agent": record.id}, round(getattr(record, member), 6)) for record in records],
            )
        name = _PREFIX + "request_duration_seconds"
        lines += [
            f"# HELP {name} Time that requests took, event streams included.",
            f"# TYPE {name} summary",
            f"{name}_sum {round(self.meter.seconds, 6)}",
            f"{name}_count {self.meter.requests - self.meter.in_hand}",
        ]
        return "\n".join(lines) + "\n"


def _family(
    lines: list[str],
    name: str,
    kind: str,
    help_text: str,
    samples: list[tuple[dict[str, str], int | float]],
) -> None:
    full = _PREFIX + name
    lines.append(f"# HELP {full} {help_text}")
    lines.append(f"# TYPE {full} {kind}")
    for labels, value in samples:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{full}{{{written}}} {value}" if written else f"{full} {value}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
