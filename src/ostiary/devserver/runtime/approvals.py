"""Actions that wait for a person: held, approved, denied, or expired.

A group `hold`s an action and goes on when somebody agrees. Nothing is approved by default.
Neighbour: `executions` holds tasks back here.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..clock import iso
from ..documents import Documents
from ..http.front import Json
from ..http.reading import Body
from ..http.refusals import HttpRefusal
from ..http.routing import route
from .context import Context

__all__ = ["Approvals", "Held"]

_KEPT: Final = 1_000


class Held(msgspec.Struct, kw_only=True):
    """One held action. `kind` is ToolCall, Delegate, Schedule or Other; `status` is Pending,
    Approved, Denied or Expired.
    """

    id: str
    agent_id: str
    kind: str
    summary: str
    reason: str
    context_snapshot: dict[str, Any]
    created_at: str
    expires_at: str
    status: str = "Pending"
    resolved_at: str | None = None
    resolution_reason: str | None = None


class _Reason(msgspec.Struct):
    reason: str | None = None


_REASON: Final = Body(_Reason, empty=True)


@final
class Approvals:
    """The held actions."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._held = Documents(context.store, "approval", Held)
        self._waiting: dict[str, asyncio.Future[str]] = {}
        # Whoever waited for these went with the last process.
        for held in self._held.all():
            if held.status == "Pending":
                held.status = "Expired"
                self._held.put(held.id, held)

    async def hold(
        self, agent_id: str, kind: str, summary: str, *, reason: str, snapshot: dict[str, Any]
    ) -> None:
        """Wait until somebody approves; refuse with 403 when it is denied or nobody answers."""
        now = self._context.clock.wall()
        ttl = self._context.runtime.approval_ttl
        held = Held(
            id=self._context.new_id(),
            agent_id=agent_id,
            kind=kind,
            summary=summary,
            reason=reason,
            context_snapshot=snapshot,
            created_at=iso(now),
            expires_at=iso(now + ttl),
        )
        self._held.put(held.id, held)
        self._held.keep(_KEPT)
        self._context.events.publish("approval.requested", agent_id, approval_id=held.id, kind=kind)
        waiting = self._waiting[held.id] = asyncio.get_running_loop().create_future()
        status = "Expired"
        try:
            async with asyncio.timeout(ttl):
                status = await waiting
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(held.id, None)
            if status == "Expired":
                self._resolve(held, status, None)
        if status != "Approved":
            raise HttpRefusal(
                403,
                "APPROVAL_DENIED" if status == "Denied" else "APPROVAL_EXPIRED",
                "the action was denied" if status == "Denied" else "nobody approved the action",
            )

    def _resolve(self, held: Held, status: str, reason: str | None) -> None:
        held.status = status
        held.resolution_reason = reason
        held.resolved_at = self._context.now()
        self._held.put(held.id, held)
        self._context.events.publish(
            f"approval.{status.lower()}", held.agent_id, approval_id=held.id, kind=held.kind
        )

    def routes(self) -> list[BaseRoute]:
        return [
            route("GET", "/approvals", self._list),
            route("POST", "/approvals/{id}/approve", self._approve),
            route("POST", "/approvals/{id}/deny", self._deny),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"approvals_pending": len(self._waiting)}

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    def load_demo(self) -> None:
        pass

    async def _list(self, request: Request) -> ASGIApp:
        wanted = request.query_params.get("status", "").lower()
        return Json(
            [
                held
                for held in self._held.page(0, _KEPT)
                if not wanted or held.status.lower() == wanted
            ]
        )

    async def _approve(self, request: Request) -> ASGIApp:
        return await self._answer(request, "Approved")

    async def _deny(self, request: Request) -> ASGIApp:
        return await self._answer(request, "Denied")

    async def _answer(self, request: Request, status: str) -> ASGIApp:
        body = await _REASON.read(request)
        held = self._held.get(request.path_params["id"])
        if held is None:
            raise HttpRefusal(404, "APPROVAL_NOT_FOUND", "there is no held action of this id")
        waiting = self._waiting.get(held.id)
        if held.status != "Pending" or waiting is None or waiting.done():
            raise HttpRefusal(
                409, "ALREADY_RESOLVED", f"the action is {held.status.lower()} already"
            )
        self._resolve(held, status, body.reason)
        waiting.set_result(status)
        return Json(held)
