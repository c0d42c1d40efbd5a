"""The judgement of one action: an allow-list of tools, permissions, then the tier of risk.

The first row that fits decides:

    a tool that is not in a non-empty allow-list        no
    a required permission that no grant covers          no
    an approved, unused approval of just this           yes, once
    low                                                 yes
    medium                                              yes, to be watched
    high, critical                                      a person is asked
    any other word                                      no; nobody can approve it

A call of an MCP tool (`metadata.mcpActionName`) goes by the same tiers; its decisions carry what
is known of the server, and whether a gate must look at the result. Each judgement has a state
of its own. Neighbour: `approvals` keeps the questions to people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, final

from ....workflow.enums import GoalGuardState, PolicyRiskTier
from ....workflow.models import Action, GuardDecision, Principal
from .approvals import Approvals, Subject
from .permissions import Missing, missing_permissions

__all__ = ["Guard", "check"]

Record = Callable[[Principal, Action, GuardDecision], object]

_HUMAN: Final = frozenset({PolicyRiskTier.HIGH, PolicyRiskTier.CRITICAL})


@final
class Guard:
    """Judges actions; `record` is told of every judgement."""

    def __init__(self, approvals: Approvals, record: Record | None = None) -> None:
        self._approvals = approvals
        self._record = record

    def decide(
        self,
        principal: Principal,
        action: Action,
        *,
        tool_name: str | None = None,
        approval_token: str | None = None,
        workflow_id: str | None = None,
        task_id: str | None = None,
        requester: str | None = None,
    ) -> GuardDecision:
        """Judge one action; an approval that is shown is used up if it decides.

        `requester` is who may not answer the question himself; the principal, if None.
        """
        subject = Subject(
            principal=principal, action=action, workflow_id=workflow_id, task_id=task_id
        )
        decision = self._judge(subject, tool_name, approval_token, requester or principal.id)
        if self._record is not None:
            self._record(principal, action, decision)
        return decision

    def _judge(
        self, subject: Subject, tool_name: str | None, token: str | None, requester: str
    ) -> GuardDecision:
        action = subject.action
        about = _about_mcp(action)
        if action.allowed_tools and tool_name is not None and tool_name not in action.allowed_tools:
            listed = ", ".join(action.allowed_tools)
            return _no(f"tool {tool_name!r} is not among those allowed: {listed}", about)
        missing = missing_permissions(
            action.required_permissions, subject.principal.permissions, action.metadata
        )
        if missing:
            return _no(_told(subject.principal, missing), about)
        tier = action.risk_tier
        if tier in _HUMAN:
            return self._ask(subject, token, requester, about)
        if tier == PolicyRiskTier.LOW:
            return _yes("low risk", about)
        if tier == PolicyRiskTier.MEDIUM:
            if about.get("requiresCRV"):
                return _yes("medium risk, allowed once a gate has passed its result", about)
            return _yes("medium risk, allowed and to be watched", about)
        return _made(
            False,
            f"unknown risk tier {tier!s}; use low, medium, high or critical",
            True,
            None,
            about,
            GoalGuardState.REJECTED,
        )

    def _ask(
        self, subject: Subject, token: str | None, requester: str, about: Mapping[str, Any]
    ) -> GuardDecision:
        tier = subject.action.risk_tier
        refused = ""
        if token is not None:
            problem = self._approvals.redeem(token, subject)
            if problem is None:
                return _yes(f"{tier} risk, approved by a person", about)
            refused = f"; the approval shown does not do: {problem}"
        approval = self._approvals.request(
            subject, reason=f"{tier} risk: {subject.action.name}", requester=requester
        )
        return _made(
            False,
            f"{tier} risk needs a person's approval{refused}",
            True,
            approval.token,
            about,
            GoalGuardState.PENDING_HUMAN,
        )


def check(principal: Principal, action: Action) -> list[Missing]:
    """Return what the principal lacks for the action; its risk is not looked at."""
    return missing_permissions(action.required_permissions, principal.permissions, action.metadata)


def _told(principal: Principal, missing: list[Missing]) -> str:
    told = "; ".join(f"{wanted.action} on {wanted.resource}: {why}" for wanted, why in missing[:5])
    more = f"; and {len(missing) - 5} more" if len(missing) > 5 else ""
    return f"{principal.id} lacks a permission: {told}{more}"


def _about_mcp(action: Action) -> dict[str, Any]:
    """Return what a decision about a call of an MCP tool carries along."""
    metadata = action.metadata or {}
    name = metadata.get("mcpActionName")
    if not name:
        return {}
    return {
        "mcpAction": True,
        "mcpServerName": metadata.get("mcpServerName"),
        "mcpActionName": name,
        "requiresCRV": bool(metadata.get("requiresCRVValidation")),
        "crvGateName": metadata.get("crvGateName"),
    }


def _yes(reason: str, about: Mapping[str, Any]) -> GuardDecision:
    return _made(True, reason, False, None, about, GoalGuardState.APPROVED)


def _no(reason: str, about: Mapping[str, Any]) -> GuardDecision:
    return _made(False, reason, False, None, about, GoalGuardState.REJECTED)


def _made(
    allowed: bool,
    reason: str,
    human: bool,
    token: str | None,
    about: Mapping[str, Any],
    state: GoalGuardState,
) -> GuardDecision:
    return GuardDecision(
        allowed=allowed,
        reason=reason,
        requires_human_approval=human,
        approval_token=token,
        metadata={"state": str(state), **about},
    )
