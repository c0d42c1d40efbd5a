"""What the server itself has to tell: the engine's steps, gates and judgements as telemetry.

Nothing waits for it: it is written with whatever is written next. Neighbour: `telemetry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from ...workflow.enums import TelemetryEventType
from ...workflow.models import (
    Action,
    Commit,
    GateResult,
    GuardDecision,
    Metric,
    Principal,
    Span,
    TelemetryEvent,
    accept,
)
from ..clock import Clock, iso
from .telemetry import Telemetry

__all__ = ["Observer"]


@final
class Observer:
    """Turns what happens into events, metrics and spans."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock

    def event(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        workflow_id: str,
        task_id: str | None = None,
        task_type: str | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Tell of a step."""
        self._telemetry.tell(
            TelemetryEvent(
                type=TelemetryEventType(kind),
                timestamp=iso(self._clock.wall()),
                data=dict(data),
                workflow_id=workflow_id,
                task_id=task_id,
                task_type=task_type,
                correlation_id=correlation_id,
            )
        )

    def span(self, span: dict[str, Any]) -> None:
        """Tell of a stretch of work."""
        self._telemetry.tell(accept(Span, span))

    def metric(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        """Tell of a number."""
        self._telemetry.tell(
            Metric(name=name, value=value, timestamp=iso(self._clock.wall()), tags=dict(tags))
        )

    def judged(self, principal: Principal, action: Action, decision: GuardDecision) -> None:
        """Tell of policy's word on a task; what is asked for no task is nobody's step."""
        about = action.metadata or {}
        workflow_id, task_id = _text(about, "workflow_id"), _text(about, "task_id")
        if workflow_id is None or task_id is None:
            return
        self.event(
            "policy_check",
            {
                "allowed": decision.allowed,
                "requiresHumanApproval": decision.requires_human_approval,
                "reason": decision.reason,
                "principal": principal.id,
            },
            workflow_id=workflow_id,
            task_id=task_id,
        )

    def validated(self, commit: Commit, result: GateResult) -> None:
        """Tell of a gate's word on a task's result."""
        about = commit.metadata or {}
        workflow_id, task_id = _text(about, "workflowId"), _text(about, "taskId")
        if workflow_id is None or task_id is None:
            return
        self.event(
            "crv_result",
            {
                "gateName": result.gate_name,
                "passed": result.passed,
                "blocked": result.blocked_commit,
                "failureCode": None if result.failure_code is None else str(result.failure_code),
            },
            workflow_id=workflow_id,
            task_id=task_id,
        )


def _text(about: Mapping[str, Any], name: str) -> str | None:
    found = about.get(name)
    return found if isinstance(found, str) and found else None
