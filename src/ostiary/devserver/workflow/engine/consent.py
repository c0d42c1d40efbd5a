"""Whether a task may run: policy's word, and a person's where policy wants one.

A person's leave is used up once, and has to survive a crash: that it is about to be used is on
the disk before it is. One that was used up by this very task, whose record does not say so yet,
is this task's. Neighbours: `policy.guard` judges, `policy.approvals` keeps the questions.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ....workflow.enums import ApprovalStatus, PolicyRiskTier, RiskTier, TaskState
from ....workflow.models import Action, GuardDecision, RetryAltToolStrategy, TaskSpec
from ...http.refusals import HttpRefusal
from ..policy.approvals import ApprovalRecord, Approvals, Subject
from .calling import first
from .faults import Blocked, Interrupted, TimedOut
from .keys import digest
from .records import TaskRecord

if TYPE_CHECKING:
    from .round import Round

__all__ = ["Consent"]


class Consent:
    """What one task needs, and has."""

    def __init__(
        self, round: Round, task: TaskSpec, record: TaskRecord, inputs_digest: str
    ) -> None:
        self._round = round
        self._task = task
        self._record = record
        self._inputs_digest = inputs_digest
        self._deadline: float | None = None

    async def obtain(self, tool_name: str | None) -> None:
        """Return when the task may run; raise `Blocked` when it may not."""
        equipment, record = self._round.equipment, self._record
        if equipment.guard is None or record.granted == self._round.record.round:
            return
        action = self.action(tool_name)
        subject = self.subject(action)
        while True:
            token = self._good(subject)
            if token is not None and await self._claimed(token, subject):
                return
            decision = equipment.guard.decide(
                self._round.principal,
                action,
                tool_name=tool_name,
                approval_token=token,
                workflow_id=self._round.record.workflow_id,
                task_id=self._task.id,
                requester=self._round.record.requester,
            )
            self._tell(decision)
            if decision.allowed:
                if token is not None:
                    await self._grant()
                return
            asked = decision.approval_token if decision.requires_human_approval else None
            if asked is None:
                raise Blocked(decision.reason)
            await self._answer(asked, decision.reason)

    def obtain_other(self, tool_name: str) -> None:
        """Have policy judge another tool than the task's own; raise `Blocked` when it may not."""
        guard = self._round.equipment.guard
        if guard is None:
            return
        task = self._task
        if task.allowed_tools and tool_name not in task.allowed_tools:
            listed = ", ".join(task.allowed_tools)
            raise Blocked(f"tool {tool_name!r} is not among those allowed: {listed}")

    async def obtain_for_data(self, action: Action, reason: str) -> None:
        """Return when a person has accepted what `action` names; raise `Blocked` otherwise."""
        approvals = self._round.equipment.approvals
        if approvals is None:
            raise Blocked(f"{reason}; this server has nobody to ask", flag="crvBlocked")
        subject = self.subject(action)
        while True:
            token = self._good(subject)
            if token is not None:
                if await self._claimed(token, subject):
                    return
                if approvals.redeem(token, subject) is None:
                    await self._grant()
                    return
            asked = approvals.request(
                subject, reason=reason, requester=self._round.record.requester
            )
            await self._answer(asked.token, reason, flag="crvBlocked")

    def standing(self, action: Action) -> str | None:
        """Return where the question about `action` stands that the task knows of."""
        approvals = self._round.equipment.approvals
        found = None if approvals is None else self._question(approvals, self.subject(action))
        return None if found is None else found.status

    def action(self, tool_name: str | None) -> Action:
        """Return the task as policy judges it; an approval is bound to all of it."""
        task = self._task
        metadata: dict[str, Any] = {
            "workflow_id": self._round.record.workflow_id,
            "task_id": task.id,
            "tool_name": tool_name,
            "inputs_sha256": self._inputs_digest,
        }
        if task.compensation_action is not None:
            metadata["compensation_tool"] = task.compensation_action.tool
            metadata["compensation_sha256"] = digest(task.compensation_action.args)
        gate = self._round.gate_of(task.id)
        if gate is not None and isinstance(gate.recovery, RetryAltToolStrategy):
            metadata["alternative_tool"] = gate.recovery.tool_name
        return Action(
            id=task.id,
            name=task.name,
            risk_tier=PolicyRiskTier(str(task.risk_tier or RiskTier.LOW).lower()),
            required_permissions=task.required_permissions or [],
            intent=task.intent,
            data_zone=task.data_zone,
            allowed_tools=task.allowed_tools,
            metadata=metadata,
        )

    def subject(self, action: Action) -> Subject:
        """Return what a question about `action` is bound to."""
        return Subject(
            principal=self._round.principal,
            action=action,
            workflow_id=self._round.record.workflow_id,
            task_id=self._task.id,
        )

    # -- approvals ----------------------------------------------------------

    def _question(self, approvals: Approvals, subject: Subject) -> ApprovalRecord | None:
        """Return the question about just this that the task, or its caller, can name."""
        fingerprint: str | None = None
        for token in (
            self._record.redeeming,
            self._record.approval_token,
            self._round.record.approval_token,
        ):
            if token is None:
                continue
            try:
                found = approvals.get(token)
            except HttpRefusal:
                continue
            fingerprint = fingerprint or subject.fingerprint()
            if found.fingerprint == fingerprint:
                return found
        return None

    def _good(self, subject: Subject) -> str | None:
        """Return a token that may be used up, or that this task has used up."""
        approvals = self._round.equipment.approvals
        if approvals is None or (
            subject.action.risk_tier in {PolicyRiskTier.LOW, PolicyRiskTier.MEDIUM}
        ):
            return None
        found = self._question(approvals, subject)
        if found is None:
            return None
        if found.status == ApprovalStatus.USED and found.token == self._record.redeeming:
            return found.token
        return found.token if found.status == ApprovalStatus.APPROVED else None

    async def _claimed(self, token: str, subject: Subject) -> bool:
        """Have it on the disk that a token is being used; True when it was used by this task."""
        record = self._record
        if record.redeeming == token:
            approvals = self._round.equipment.approvals
            assert approvals is not None  # a token is never good without
            if approvals.get(token).status == ApprovalStatus.USED:
                await self._grant()
                return True
            return False
        record.redeeming = token
        self._round.save(record)
        await self._round.commit()
        return False

    async def _grant(self) -> None:
        record = self._record
        record.granted = self._round.record.round
        record.approval_token = None
        self._round.save(record)
        await self._round.commit()

    async def _answer(self, token: str, reason: str, *, flag: str = "policyBlocked") -> None:
        """Return when a person has said yes; raise `Blocked` for a no, and for none in time."""
        equipment, record, round = self._round.equipment, self._record, self._round
        approvals = equipment.approvals
        wait = round.settings.approval_wait
        if approvals is None or not wait:
            raise Blocked(f"{reason}; the approval is {token}", token=token, flag=flag)
        now = equipment.clock.steady()
        if self._deadline is None:
            self._deadline = now + wait
        record.state = str(TaskState.AWAITING_APPROVAL)
        record.approval_token = token
        round.save(record)
        round.event("STATE_UPDATED", self._task.id, {"state": record.state, "reason": reason})
        await round.commit()
        answered = asyncio.Event()
        equipment.waiting.setdefault(token, []).append(answered)
        try:
            while True:
                question = approvals.get(token)
                if question.status != ApprovalStatus.PENDING:
                    break
                left = self._deadline - equipment.clock.steady()
                if left <= 0:
                    raise Blocked(
                        f"{reason}; nobody answered in time, the approval is {token}",
                        token=token,
                        flag=flag,
                    )
                left = min(left, max(0.001, question.expires - equipment.clock.wall()))
                await self._hear(answered, left)
                answered.clear()
        finally:
            waiting = equipment.waiting[token]
            waiting.remove(answered)
            if not waiting:
                del equipment.waiting[token]
        if question.status != ApprovalStatus.APPROVED:
            raise Blocked(f"{reason}; {_refusal(question)}", flag=flag)
        record.state = str(TaskState.RUNNING)
        round.save(record)

    async def _hear(self, answered: asyncio.Event, seconds: float) -> None:
        work = asyncio.ensure_future(answered.wait())
        interrupts: list[asyncio.Future[Any]] = []
        if self._record.compensates is None:
            interrupts = [self._round.interrupted, self._round.broken]
        try:
            over = await first(self._round.equipment, work, seconds, *interrupts)
        finally:
            work.cancel()
        if over is not None and over is not TimedOut:
            raise Interrupted

    def _tell(self, decision: GuardDecision) -> None:
        if self._task.risk_tier is None and decision.allowed:
            return  # nobody spoke of risk
        said = {
            "allowed": decision.allowed,
            "reason": decision.reason,
            "requiresHumanApproval": decision.requires_human_approval,
        }
        self._round.event("STATE_UPDATED", self._task.id, None, policyDecision=said)


def _refusal(question: ApprovalRecord) -> str:
    if question.status == ApprovalStatus.DENIED:
        said = f": {question.comment}" if question.comment else ""
        return f"{question.approver} denied it{said}"
    return f"the approval is {question.status}"
