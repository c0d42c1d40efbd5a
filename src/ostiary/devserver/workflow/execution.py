"""Workflows over HTTP: set off, waited for or not, followed, listed, broken off.

Whoever goes away while he waits ends nothing: the workflow goes on, and is found by its id.
Neighbours: `engine` runs them, `progress` streams what they do.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, cast, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...workflow.enums import WorkflowState
from ...workflow.models import Principal, WorkflowSpec, wire
from ..documents import Documents
from ..http.front import Json
from .context import Context, guarded
from .keys import Caller, caller_of
from .policy.safety import check_safety, refuse_unsafe
from .progress import Progress
from .reading import (
    bad_query,
    cursor,
    instant,
    known,
    limit,
    member,
    model,
    next_cursor,
    read_object,
    refused,
    text,
)

__all__ = ["Execution"]

_PAGE: Final = 50
_MOST: Final = 500
_LONGEST_ID: Final = 1_000
_KEPT: Final = 10_000
_PRUNE_EVERY: Final = 500
_RUNNING: Final = frozenset(
    {WorkflowState.PENDING, WorkflowState.RUNNING, WorkflowState.CANCELLING}
)


@final
class Execution:
    """The paths below `workflows`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._engine = context.engine
        self._progress = Progress(context)
        # Which requests with an Idempotency-Key have set a workflow off.
        self._begun = Documents(context.store, "begun", float)
        self._since_pruned = 0

    def routes(self) -> list[BaseRoute]:
        see = ("read", "execute")
        return [
            guarded("POST", "/workflows/execute", self._execute, "execute"),
            guarded("GET", "/workflows", self._list, *see),
            guarded("GET", "/workflows/{id:path}/status", self._status, *see),
            guarded("GET", "/workflows/{id:path}/result", self._result, *see),
            guarded("GET", "/workflows/{id:path}/spec", self._spec, *see),
            guarded("GET", "/workflows/{id:path}/events", self._progress.events, *see),
            guarded("POST", "/workflows/{id:path}/cancel", self._cancel, "execute"),
        ]

    async def _execute(self, request: Request) -> ASGIApp:
        body = await read_object(request)
        spec = model(WorkflowSpec, body.get("workflow"), "workflow")
        _addressable(spec)
        _safe(spec)
        context = body.get("context")
        if context is not None and not isinstance(context, dict):
            raise refused([("context", "is an object")])
        rerun = body.get("rerun")
        if rerun is not None and not isinstance(rerun, bool):
            raise refused([("rerun", "is true or false")])
        caller = caller_of(request)
        asked: dict[str, Any] = {
            "principal": _principal(caller, cast("dict[str, Any] | None", context)),
            "context": context,
            "requester": caller.name,
            "owner": caller.name,
            "correlation_id": text(body, "correlation_id", "correlationId"),
            "approval_token": text(body, "approval_token", "approvalToken"),
            "rerun": bool(rerun),
        }
        waits = _waits(request)
        mark = _mark(request, caller, spec)
        if mark is None or not self._has_begun(mark):
            status = await self._engine.submit(spec, **asked)
            if mark is not None:
                self._begin(mark)
        else:
            # It was set off for this very request, by a server that has stopped since then.
            status = self._engine.status(spec.id)
        if not waits:
            return Json(status, status=202 if status["status"] in _RUNNING else 200)
        return Json(await self._engine.result(spec.id))

    def _has_begun(self, mark: str) -> bool:
        begun = self._begun.get(mark)
        ttl = self._context.workflow.idempotency_ttl
        return begun is not None and self._context.clock.wall() - begun <= ttl

    def _begin(self, mark: str) -> None:
        self._begun.put(mark, self._context.clock.wall())
        self._since_pruned += 1
        if self._since_pruned >= _PRUNE_EVERY:
            self._since_pruned = 0
            self._begun.keep(_KEPT)

    async def _status(self, request: Request) -> ASGIApp:
        return Json(self._engine.status(request.path_params["id"]))

    async def _result(self, request: Request) -> ASGIApp:
        return Json(await self._engine.result(request.path_params["id"], wait=False))

    async def _spec(self, request: Request) -> ASGIApp:
        return Json(self._engine.spec(request.path_params["id"]))

    async def _cancel(self, request: Request) -> ASGIApp:
        return Json(await self._engine.cancel(request.path_params["id"]))

    async def _list(self, request: Request) -> ASGIApp:
        state = known(request, "status")
        if state is not None and state not in set(WorkflowState):
            raise bad_query("status", f"is one of {', '.join(WorkflowState)}")
        before = cursor(request, 1)
        found = self._engine.listed(
            state,
            name=known(request, "name"),
            started_after=instant(request, "started_after"),
            started_before=instant(request, "started_before"),
            limit=limit(request, _PAGE, _MOST),
            cursor=None if before is None else str(int(before[0])),
        )
        answer: dict[str, Any] = {"workflows": found["workflows"]}
        if found["next_cursor"] is not None:
            answer["next_cursor"] = next_cursor(int(found["next_cursor"]))
        return Json(answer)


def _addressable(spec: WorkflowSpec) -> None:
    """Refuse an id that no path could name."""
    if not {".", ".."}.isdisjoint(spec.id.split("/")) or "\0" in spec.id:
        raise refused([("workflow.id", "has a part that is . or .., or a NUL character")])
    if len(spec.id) > _LONGEST_ID:
        raise refused([("workflow.id", f"has at most {_LONGEST_ID} characters")])


def _safe(spec: WorkflowSpec) -> None:
    """Refuse a workflow that breaks its safety policy; a cycle is left to the engine, which
    refuses it whatever the policy says.
    """
    report = check_safety(spec)
    if not report.valid and all(one.rule != "no_cycles" for one in report.violations):
        refuse_unsafe(spec)


def _principal(caller: Caller, context: dict[str, Any] | None) -> Principal:
    """Return whose permissions count: the key's; an administrator may name another one."""
    given = member(context or {}, "principal")
    if given is None:
        return caller.principal
    caller.require("admin")
    return model(Principal, given, "context.principal")


def _mark(request: Request, caller: Caller, spec: WorkflowSpec) -> str | None:
    """Return what a request with an Idempotency-Key is known by after a restart."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    said = msgspec.json.encode([caller.name, key, wire(spec)], order="sorted")
    return hashlib.sha256(said).hexdigest()


def _waits(request: Request) -> bool:
    """Return whether the answer is to be the result."""
    wait = known(request, "wait")
    if wait not in {None, "0", "1", "false", "true"}:
        raise bad_query("wait", "is 0 or 1")
    if wait is not None:
        return wait in {"1", "true"}
    preferred = request.headers.get("prefer", "").lower()
    return "respond-async" not in {one.strip() for one in preferred.split(",")}
