"""Questions to people: asked once, answered by somebody else, used once, for just that.

A token names a question and is no authority: who may answer is judged by the key of the one
who answers. A question is bound to the principal, to the whole action and to the task that
asked. Neighbour: `guard` asks; the endpoints list and answer.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol, final

import msgspec

from ....workflow.enums import ApprovalStatus, PolicyRiskTier
from ....workflow.models import Action, Principal, wire
from ...clock import Clock, iso
from ...http.refusals import HttpRefusal

__all__ = ["LIFETIME", "ApprovalRecord", "Approvals", "Subject"]

LIFETIME: Final = 3600.0
"""Seconds in which a question can be answered, and in which the answer can be used."""

_LONGEST_COMMENT: Final = 4096


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked about: who wants to do what, for which task."""

    principal: Principal
    action: Action
    workflow_id: str | None = None
    task_id: str | None = None

    def fingerprint(self) -> str:
        """Return what tells one subject from every other."""
        said = msgspec.json.encode(
            [wire(self.principal), wire(self.action), self.workflow_id, self.task_id],
            order="sorted",
        )
        return hashlib.sha256(said).hexdigest()


class ApprovalRecord(msgspec.Struct, kw_only=True):
    """One question as it is kept; `wire` is how it is shown."""

    token: str
    status: str
    fingerprint: str
    action: dict[str, Any]
    principal: dict[str, Any]
    reason: str
    requester: str
    created: float
    expires: float
    workflow_id: str | None = None
    task_id: str | None = None
    decided: float | None = None
    approver: str | None = None
    comment: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return it as clients read it."""
        document = {
            "token": self.token,
            "status": self.status,
            "action": self.action,
            "principal": self.principal,
            "reason": self.reason,
            "requester": self.requester,
            "workflow_id": self.workflow_id,
            "task_id": self.task_id,
            "created_at": iso(self.created),
            "expires_at": iso(self.expires),
            "decided_at": None if self.decided is None else iso(self.decided),
            "approver": self.approver,
            "comment": self.comment,
        }
        return {name: value for name, value in document.items() if value is not None}


class Kept(Protocol):
    """Where the questions are kept, oldest first; each change is on file when it returns."""

    def get(self, key: str) -> ApprovalRecord | None: ...

    def put(self, key: str, value: ApprovalRecord) -> None: ...

    def all(self) -> list[ApprovalRecord]: ...


@final
class Approvals:
    """The questions of one server; `told` hears of every change."""

    def __init__(
        self,
        kept: Kept,
        clock: Clock,
        *,
        lifetime: float = LIFETIME,
        told: Callable[[ApprovalRecord], object] | None = None,
    ) -> None:
        self._kept = kept
        self._clock = clock
        self._lifetime = lifetime
        self._told = told
        # By fingerprint: asking the same again is what an agent that waits does.
        self._waiting = {
            one.fingerprint: one.token for one in kept.all() if one.status == ApprovalStatus.PENDING
        }

    def request(self, subject: Subject, *, reason: str, requester: str) -> ApprovalRecord:
        """Ask a person, or return the question about just this that waits already.

        An action of low or medium risk needs nobody: its token says so.
        """
        fingerprint = subject.fingerprint()
        waiting = self._waiting.get(fingerprint)
        if waiting is not None and (one := self.get(waiting)).status == ApprovalStatus.PENDING:
            return one
        now = self._clock.wall()
        needed = subject.action.risk_tier not in {PolicyRiskTier.LOW, PolicyRiskTier.MEDIUM}
        record = ApprovalRecord(
            token=f"approval-{secrets.token_hex(16)}",
            status=str(ApprovalStatus.PENDING if needed else ApprovalStatus.NOT_REQUIRED),
            fingerprint=fingerprint,
            action=wire(subject.action),
            principal=wire(subject.principal),
            reason=reason,
            requester=requester,
            created=now,
            expires=now + self._lifetime,
            workflow_id=subject.workflow_id,
            task_id=subject.task_id,
        )
        self._keep(record)
        return record

    def decide(
        self, token: str, *, approve: bool, approver: str, comment: str | None = None
    ) -> ApprovalRecord:
        """Answer a question; the same answer of the same person may be given again.

        Refuses an answer by who asked or who would act, and one that comes too late.
        """
        record = self.get(token)
        status = ApprovalStatus.APPROVED if approve else ApprovalStatus.DENIED
        if record.status == status and record.approver == approver:
            return record
        if record.status != ApprovalStatus.PENDING:
            raise HttpRefusal(
                409,
                "APPROVAL_DECIDED",
                f"this approval is {record.status} already; ask for another one",
            )
        if not approver or approver in {record.requester, record.principal.get("id")}:
            raise HttpRefusal(
                403,
                "SELF_APPROVAL",
                "who asked, or would act, may not answer; have somebody else decide",
            )
        if comment is not None and len(comment) > _LONGEST_COMMENT:
            raise HttpRefusal(
                422, "VALIDATION_ERROR", f"a comment has at most {_LONGEST_COMMENT} characters"
            )
        now = self._clock.wall()
        record.status = str(status)
        record.approver = approver
        record.comment = comment
        record.decided = now
        # The answer is good for as long as the question was.
        record.expires = now + self._lifetime
        self._keep(record)
        return record

    def redeem(self, token: str, subject: Subject) -> str | None:
        """Use an approval up; return why it cannot be, or None when it is done."""
        record = self._kept.get(token)
        if record is None:
            return "there is no such approval"
        record = self._aged(record)
        if record.fingerprint != subject.fingerprint():
            return "it is for another principal, action or task"
        if record.status != ApprovalStatus.APPROVED:
            return {
                ApprovalStatus.PENDING: "nobody has answered yet",
                ApprovalStatus.DENIED: "it was denied",
                ApprovalStatus.EXPIRED: "it has expired",
                ApprovalStatus.USED: "it was used before",
            }.get(ApprovalStatus(record.status), f"it is {record.status}")
        record.status = str(ApprovalStatus.USED)
        self._keep(record)
        return None

    def get(self, token: str) -> ApprovalRecord:
        """Return a question; refuses a token that names none."""
        record = self._kept.get(token)
        if record is None:
            raise HttpRefusal(404, "APPROVAL_NOT_FOUND", "there is no approval with this token")
        return self._aged(record)

    def all(self) -> list[ApprovalRecord]:
        """Return every question, oldest first."""
        return [self._aged(record) for record in self._kept.all()]

    def _aged(self, record: ApprovalRecord) -> ApprovalRecord:
        waiting = {ApprovalStatus.PENDING, ApprovalStatus.APPROVED}
        if record.status in waiting and self._clock.wall() >= record.expires:
            record.status = str(ApprovalStatus.EXPIRED)
            self._keep(record)
        return record

    def _keep(self, record: ApprovalRecord) -> None:
        self._kept.put(record.token, record)
        if record.status == ApprovalStatus.PENDING:
            self._waiting[record.fingerprint] = record.token
        else:
            self._waiting.pop(record.fingerprint, None)
        if self._told is not None:
            self._told(record)
