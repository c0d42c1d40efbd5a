"""How a task can end other than by its result."""

from __future__ import annotations

from typing import Any

from ....workflow.enums import FailureTaxonomy

__all__ = ["Blocked", "Interrupted", "TimedOut"]


class Blocked(Exception):
    """The task must not go on, and to try again is no help: policy, feasibility or a gate.

    `flag` is what its event says it was blocked by. `token` names the question to a person
    that would change it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = FailureTaxonomy.POLICY_VIOLATION.value,
        flag: str = "policyBlocked",
        token: str | None = None,
        notes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.flag = flag
        self.token = token
        self.notes = notes or {}


class TimedOut(Exception):
    """One try took longer than the task allows."""


class Interrupted(Exception):
    """The run was cancelled, or its time is over, or it failed while this task waited."""
