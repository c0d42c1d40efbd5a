"""Figures of what happened: how often steps succeed, how long repair takes, who was asked.

Neighbour: `observability` answers with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..clock import iso
from .reading import seconds
from .telemetry import Telemetry

__all__ = ["exposition", "summary"]


def summary(telemetry: Telemetry, since: float | None) -> dict[str, Any]:
    """Return the figures of events since a time; of all that are kept, if None.

    `success_rate` is by type of task, `mttr_ms` the mean time from a failed end of a step to
    its next successful one, `human_escalation_rate` the share of judgements that asked a
    person, `cost_per_success_ms` the mean duration of steps that succeeded. A figure of
    nothing is None.
    """
    ends: dict[str, list[int]] = {}
    durations: list[float] = []
    repairs: list[float] = []
    broken: dict[tuple[Any, Any], float] = {}
    for event in telemetry.of_type("step_end", since):
        data = _object(event.get("data"))
        succeeded = data.get("success") is True
        kind = str(event.get("task_type") or "unknown")
        of_kind = ends.setdefault(kind, [0, 0])
        of_kind[0] += succeeded
        of_kind[1] += 1
        step = (event.get("workflow_id"), event.get("task_id"))
        at = seconds(str(event.get("timestamp"))) or 0.0
        if not succeeded:
            # From the first time it was down.
            broken.setdefault(step, at)
            continue
        if step in broken:
            repairs.append((at - broken.pop(step)) * 1000)
        duration = data.get("duration")
        if isinstance(duration, (int, float)) and not isinstance(duration, bool):
            durations.append(duration)
    asked = judged = 0
    for event in telemetry.of_type("policy_check", since):
        judged += 1
        asked += _object(event.get("data")).get("requiresHumanApproval") is True
    count, first, last = telemetry.range(since)
    return {
        "success_rate": {kind: good / every for kind, (good, every) in sorted(ends.items())},
        "mttr_ms": _mean(repairs),
        "human_escalation_rate": asked / judged if judged else None,
        "cost_per_success_ms": _mean(durations),
        "total_events": count,
        "time_range": {
            "start": None if first is None else iso(first),
            "end": None if last is None else iso(last),
        },
    }


def exposition(counts: Mapping[str, int], gauges: Mapping[str, float]) -> str:
    """Return counters and gauges as Prometheus reads them; labels have few values."""
    lines: list[str] = []
    lines.append("# TYPE aureus_telemetry_items_total counter")
    lines += [
        f'aureus_telemetry_items_total{{kind="{kind}"}} {counts.get(kind, 0)}'
        for kind in ("events", "metrics", "spans")
    ]
    lines.append("# TYPE aureus_events_total counter")
    lines += [
        f'aureus_events_total{{event_type="{name.partition(":")[2]}"}} {count}'
        for name, count in sorted(counts.items())
        if ":" in name
    ]
    for name, value in sorted(gauges.items()):
        lines.append(f"# TYPE aureus_{name} gauge")
        lines.append(f"aureus_{name} {value:g}")
    return "\n".join(lines) + "\n"


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
