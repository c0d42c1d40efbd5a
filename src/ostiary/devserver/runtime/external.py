"""Agents that run elsewhere and report here: heartbeats and events.

Neighbour: `agents` keeps what they tell.
"""

from __future__ import annotations

from typing import Any, Final, cast, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..http.front import Json
from ..http.reading import Body, invalid
from ..http.refusals import HttpRefusal
from ..http.routing import route
from .agents import is_external
from .context import Context
from .records import AgentRecord, seed_state

__all__ = ["External", "refuse_agentpin"]

_BODY_BYTES: Final = 256 * 1024
_EVENTS: Final = 100


class _Heartbeat(msgspec.Struct):
    state: str
    metadata: dict[str, str] | None = None
    last_result: str | None = None
    agentpin_jwt: str | None = None


class _Event(msgspec.Struct):
    event_type: str
    payload: Any
    agentpin_jwt: str | None = None


_HEARTBEAT: Final = Body(_Heartbeat, limit=_BODY_BYTES)
_EVENT: Final = Body(_Event, limit=_BODY_BYTES)


@final
class External:
    """What external agents tell."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/agents/{id}/heartbeat", self._heartbeat),
            route("POST", "/agents/{id}/events", self._event),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"external_agents": sum(map(is_external, self._context.agents.all()))}

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    def load_demo(self) -> None:
        pass

    async def _heartbeat(self, request: Request) -> ASGIApp:
        body = await _HEARTBEAT.read(request)
        record = self._record(request)
        refuse_agentpin(body.agentpin_jwt)
        if seed_state(body.state) is None:
            raise invalid("state", "state is none of the words for an agent's state")
        record.reported_state = body.state
        record.last_heartbeat = self._context.clock.wall()
        if body.metadata is not None:
            record.metadata = {**record.metadata, **body.metadata}
        if body.last_result is not None:
            record.last_result = body.last_result
        self._context.agents.heard(record)
        return Json({})

    async def _event(self, request: Request) -> ASGIApp:
        body = await _EVENT.read(request)
        record = self._record(request)
        refuse_agentpin(body.agentpin_jwt)
        if not body.event_type:
            raise invalid("event_type", "event_type is empty; name the event")
        event = {
            "event_type": body.event_type,
            "payload": body.payload,
            "timestamp": self._context.now(),
        }
        record.recent_events = [*record.recent_events, event][-_EVENTS:]
        self._context.agents.heard(record)
        payload: Any = body.payload
        told = cast("dict[str, Any]", payload) if isinstance(payload, dict) else {"value": payload}
        self._context.events.publish(body.event_type, record.id, **told)
        return Json({})

    def _record(self, request: Request) -> AgentRecord:
        record = self._context.agents.require(request.path_params["id"])
        if not is_external(record):
            raise HttpRefusal(
                404,
                "AGENT_NOT_EXTERNAL",
                "this agent runs here; only an agent created with the execution mode External "
                "reports of itself",
            )
        return record


def refuse_agentpin(token: str | None) -> None:
    """Refuse a proof of identity, which nobody here can verify."""
    if token is not None:
        raise HttpRefusal(
            401,
            "AGENTPIN_VERIFICATION_FAILED",
            "this runtime holds no AgentPin keys, so that it cannot verify agentpin_jwt; leave it "
            "out",
            headers=((b"www-authenticate", b"Bearer"),),
        )
