"""What the server itself has to tell: the engine's steps, gates and judgements as telemetry.

Nothing waits for it: it is written with whatever is written next. Neighbour: `telemetry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import msgspec

from ...workflow.models import Action, Commit, GateResult, GuardDecision, Principal
from ..clock import Clock, iso
from .reading import seconds
from .telemetry import Line, Telemetry

__all__ = ["Observer"]

_encode: Final = msgspec.json.Encoder().encode


@final
class Observer:
    """Turns what happens into events, metrics and spans; a task makes five of them."""

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
        now = self._clock.wall()
        said: dict[str, Any] = {
            "type": kind,
            "timestamp": iso(now),
            "workflow_id": workflow_id,
            "task_id": task_id,
            "task_type": task_type,
            "correlation_id": correlation_id,
        }
        item = {name: one for name, one in said.items() if one is not None}
        item["data"] = data
        row = (None, now, now, kind, workflow_id, task_id, correlation_id, None, _encode(item))
        self._telemetry.tell(Line("events", kind, row))

    def span(self, span: dict[str, Any]) -> None:
        """Tell of a stretch of work."""
        began = seconds(str(span["start_time"])) or 0.0
        item = {name: one for name, one in span.items() if one is not None}
        row = (
            *(span["trace_id"], span["id"], began, self._clock.wall()),
            *(span.get("parent_id"), _encode(item)),
        )
        self._telemetry.tell(Line("spans", "", row))

    def metric(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        """Tell of a number."""
        now = self._clock.wall()
        item = {"name": name, "value": value, "timestamp": iso(now), "tags": tags}
        row = (None, now, now, name, _encode(tags).decode(), _encode(item))
        self._telemetry.tell(Line("metrics", "", row))

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
