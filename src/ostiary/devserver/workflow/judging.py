"""Policy over HTTP: judgements, checks, questions to people and their answers.

Who asks and who answers is what the keys say, never the body; where no key is asked for, whoever
answers may name himself. Neighbours: `policy.guard` judges, `policy.approvals` keeps questions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast, final

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...workflow.enums import ApprovalStatus
from ...workflow.models import Action, PolicyContext, Principal, wire
from ..http.front import Json
from .context import Context, guarded
from .keys import Caller, caller_of
from .policy.approvals import ApprovalRecord, Subject
from .policy.guard import check
from .reading import (
    bad_query,
    cursor,
    known,
    limit,
    member,
    model,
    next_cursor,
    read_object,
    refused,
    text,
)

__all__ = ["Judging"]

_PAGE: Final = 50
_MOST: Final = 500
_AUDIT: Final = 1_000
_OPERATOR: Final = "operator"


@final
class Judging:
    """The paths below `policy`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._approvals = context.approvals

    def routes(self) -> list[BaseRoute]:
        ask, see = ("execute",), ("read", "approve", "execute")
        return [
            guarded("POST", "/policy/evaluate", self._evaluate, *ask),
            guarded("POST", "/policy/check", self._check, "execute", "read"),
            guarded("POST", "/policy/approval", self._request, *ask),
            guarded("GET", "/policy/audit", self._audit, "read"),
            guarded("GET", "/policy/approvals", self._list, *see),
            guarded("GET", "/policy/approvals/{token}", self._one, *see),
            guarded("POST", "/policy/approvals/{token}/approve", self._approve, "approve"),
            guarded("POST", "/policy/approvals/{token}/deny", self._deny, "approve"),
        ]

    async def _evaluate(self, request: Request) -> ASGIApp:
        body = await read_object(request)
        log = member(body, "audit_log", "auditLog")
        if isinstance(log, list) and len(cast("Any", log)) > _AUDIT:
            raise refused([("audit_log", f"has at most {_AUDIT} entries; it is not used here")])
        asked = model(PolicyContext, body)
        metadata = asked.action.metadata or {}
        tool = asked.tool_name or metadata.get("tool_name")
        decision = self._context.guard.decide(
            asked.principal,
            asked.action,
            tool_name=tool if isinstance(tool, str) else None,
            approval_token=asked.approval_token,
            workflow_id=text(body, "workflow_id", "workflowId"),
            task_id=text(body, "task_id", "taskId"),
            requester=_asker(caller_of(request), asked.principal),
        )
        return Json(wire(decision))

    async def _check(self, request: Request) -> ASGIApp:
        body = await read_object(request)
        principal, action = _parties(body)
        missing = check(principal, action)
        answer: dict[str, Any] = {"allowed": not missing}
        if missing:
            answer["missing"] = [
                {"permission": wire(permission), "reason": why} for permission, why in missing
            ]
        return Json(answer)

    async def _audit(self, request: Request) -> ASGIApp:
        size = limit(request, _PAGE, _MOST)
        before = cursor(request, 1)
        found = self._context.audit.before(None if before is None else int(before[0]), size + 1)
        answer: dict[str, Any] = {"entries": [one.shown() for one in found[:size]]}
        if len(found) > size:
            answer["next_cursor"] = next_cursor(found[size - 1].number)
        return Json(answer)

    async def _request(self, request: Request) -> ASGIApp:
        body = await read_object(request)
        principal, action = _parties(body)
        reason = text(body, "reason", required=True)
        assert reason is not None
        record = self._approvals.request(
            Subject(
                principal=principal,
                action=action,
                workflow_id=text(body, "workflow_id", "workflowId"),
                task_id=text(body, "task_id", "taskId"),
            ),
            reason=reason,
            requester=_asker(caller_of(request), principal),
        )
        return Json({**record.shown(), "approval_token": record.token})

    async def _list(self, request: Request) -> ASGIApp:
        status = known(request, "status")
        if status is not None and status not in set(ApprovalStatus):
            raise bad_query("status", f"is one of {', '.join(ApprovalStatus)}")
        workflow_id = known(request, "workflow_id")
        size = limit(request, _PAGE, _MOST)
        before = cursor(request, 1)
        found: list[tuple[int, ApprovalRecord]] = [
            (number, record)
            for number, record in _newest_first(self._approvals.all())
            if (before is None or number < before[0])
            and status in {None, record.status}
            and workflow_id in {None, record.workflow_id}
        ]
        answer: dict[str, Any] = {"approvals": [one.shown() for _, one in found[:size]]}
        if len(found) > size:
            answer["next_cursor"] = next_cursor(found[size - 1][0])
        return Json(answer)

    async def _one(self, request: Request) -> ASGIApp:
        return Json(self._approvals.get(request.path_params["token"]).shown())

    async def _approve(self, request: Request) -> ASGIApp:
        return await self._decide(request, approve=True)

    async def _deny(self, request: Request) -> ASGIApp:
        return await self._decide(request, approve=False)

    async def _decide(self, request: Request, *, approve: bool) -> ASGIApp:
        body = await read_object(request, empty=True)
        caller = caller_of(request)
        named = text(body, "approver")
        comment = body.get("comment")
        if comment is not None and not isinstance(comment, str):
            raise refused([("comment", "is text")])
        record = self._approvals.decide(
            request.path_params["token"],
            approve=approve,
            approver=caller.name if caller.known else named or _OPERATOR,
            comment=comment,
        )
        return Json(record.shown())


def _parties(body: dict[str, Any]) -> tuple[Principal, Action]:
    return (
        model(Principal, body.get("principal"), "principal"),
        model(Action, body.get("action"), "action"),
    )


def _asker(caller: Caller, principal: Principal) -> str:
    """Return who asked, and may not answer."""
    return caller.name if caller.known else principal.id


def _newest_first(records: list[ApprovalRecord]) -> Iterable[tuple[int, ApprovalRecord]]:
    for number in range(len(records) - 1, -1, -1):
        yield number, records[number]
