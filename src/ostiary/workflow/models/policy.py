"""Who may do what: principals, actions, decisions and approvals."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from ..enums import ApprovalStatus, DataZone, GoalGuardState, Intent, PolicyRiskTier, PrincipalType
from .model import Model, Request
from .workflow import Permission

__all__ = [
    "Action",
    "Approval",
    "ApprovalPage",
    "ApprovalToken",
    "AuditEntry",
    "AuditPage",
    "GuardDecision",
    "PolicyContext",
    "Principal",
    "StateTransition",
]


class Principal(Request):
    """Who acts, and what it has been granted."""

    id: str
    type: PrincipalType
    permissions: list[Permission]

    _filled: ClassVar[tuple[str, ...]] = ("id",)


class Action(Request):
    """What is to be done, and what it takes."""

    id: str
    name: str
    risk_tier: PolicyRiskTier
    required_permissions: list[Permission]
    intent: Intent | None = None
    data_zone: DataZone | None = None
    allowed_tools: list[str] | None = None
    metadata: dict[str, Any] | None = None

    _filled: ClassVar[tuple[str, ...]] = ("id", "name")


class GuardDecision(Model):
    """Whether an action may be done.

    `approval_token` names the request a person has to decide; it is no leave by itself.
    """

    allowed: bool
    reason: str
    requires_human_approval: bool
    approval_token: str | None = None
    metadata: dict[str, Any] | None = None


class StateTransition(Request):
    """From one state of the guard to the next; `from` and `to` on the wire."""

    from_state: GoalGuardState = msgspec.field(name="from")
    to_state: GoalGuardState = msgspec.field(name="to")

    @classmethod
    def _adapt(cls, raw: dict[str, Any]) -> dict[str, Any]:
        raw = super()._adapt(raw)
        # The guide's own client sends the names it has here.
        for name, on_wire in (("from_state", "from"), ("to_state", "to")):
            if name in raw:
                raw.setdefault(on_wire, raw.pop(name))
        return raw


class AuditEntry(Request):
    """One judgement that was made before."""

    timestamp: str
    principal: Principal
    action: Action
    decision: GuardDecision
    state_transition: StateTransition | None = None
    approval_token: str | None = None


class AuditPage(Model):
    """A part of a server's log of judgements; `next_cursor` asks for what follows."""

    entries: list[AuditEntry]
    next_cursor: str | None = None


class PolicyContext(Request):
    """An action to be judged. Servers keep their own state and log, and trust neither here."""

    principal: Principal
    action: Action
    current_state: GoalGuardState
    audit_log: list[AuditEntry]
    tool_name: str | None = None
    approval_token: str | None = None


class ApprovalToken(Model):
    """A token as the original service keeps it."""

    token: str
    action_id: str
    principal: Principal
    expires_at: datetime
    used: bool = False


class Approval(Model):
    """A question to a person, and the answer.

    `token` names it. It was asked by `principal` about `action`, perhaps for a task of a
    workflow; `approver` is who answered.
    """

    token: str
    status: ApprovalStatus
    action: dict[str, Any] | None = None
    principal: dict[str, Any] | None = None
    reason: str | None = None
    workflow_id: str | None = None
    task_id: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    decided_at: datetime | None = None
    approver: str | None = None
    comment: str | None = None

    @property
    def is_pending(self) -> bool:
        """Whether nobody has answered yet."""
        return self.status == ApprovalStatus.PENDING


class ApprovalPage(Model):
    """A part of the list of approvals; `next_cursor` asks for what follows, None ends it."""

    approvals: list[Approval]
    next_cursor: str | None = None
