"""The paths of HTTP inputs: create, change, start, stop, trigger, look at, remove.

Neighbours: `listener` serves an input, `Deployments` has agents work.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...audit import Event
from ...documents import Documents
from ...http.front import Json
from ...http.reading import Body, invalid
from ...http.refusals import HttpRefusal
from ...http.routing import route
from ..context import Context
from ..deployments import Deployments
from ..trail import record
from .authorization import Authorization
from .configuration import InputConfig, Kept, completed, keep, restore, revealed, view
from .listener import Answer, Asked, Counts, Listener, Outcome

__all__ = ["HttpInputs"]

_MOST: Final = 64
_GRACE: Final = 1.0
_CONNECTIONS_EACH: Final = 4
_SPARE_CONNECTIONS: Final = 32


class _Create(msgspec.Struct, kw_only=True):
    config: InputConfig


class _Update(msgspec.Struct, kw_only=True):
    config: InputConfig
    server_id: str | None = None


class _Trigger(msgspec.Struct, kw_only=True):
    payload: dict[str, Any]
    headers: dict[str, str] = {}
    server_id: str | None = None
    path: str | None = None


_CREATE: Final = Body(_Create)
_UPDATE: Final = Body(_Update)
_TRIGGER: Final = Body(_Trigger)


@final
class HttpInputs:
    """The HTTP inputs of one runtime. What was created stays; none runs until it is started."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept = Documents(context.store, "http_input", Kept)
        self._running: dict[str, Listener] = {}
        self._counts: dict[str, Counts] = {}  # by id; since the runtime started
        self._problems: dict[str, str] = {}
        # One at a time: two starts of one input would be two listeners.
        self._changing = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        one = "/http-input/servers/{server_id}"
        return [
            route("POST", "/http-input/servers", self._create),
            route("GET", "/http-input/servers", self._list),
            route("GET", one, self._show),
            route("PUT", one, self._update),
            route("DELETE", one, self._delete),
            route("POST", one + "/start", self._start),
            route("POST", one + "/stop", self._stop),
            route("POST", one + "/trigger", self._trigger),
            route("GET", one + "/metrics", self._metrics),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {
            "http_inputs": self._kept.count(),
            "http_inputs_running": len(self._running),
        }

    async def start(self) -> None:
        pass

    async def stop(self, grace: float) -> None:
        running, self._running = list(self._running.values()), {}
        await asyncio.gather(*(listener.stop(grace) for listener in running))

    def load_demo(self) -> None:
        pass

    # -- setting up ---------------------------------------------------------

    async def _create(self, request: Request) -> ASGIApp:
        config = self._checked((await _CREATE.read(request)).config, known=None)
        if self._kept.count() >= _MOST:
            raise HttpRefusal(
                409, "HTTP_INPUT_TOO_MANY", f"there are {_MOST} HTTP inputs; delete some"
            )
        server_id = self._context.new_id("input")
        kept = keep(server_id, config, self._context)
        self._kept.put(server_id, kept)
        self._note_change("create", server_id)
        return Json(self._info(kept), status=201)

    async def _list(self, request: Request) -> ASGIApp:
        return Json([self._info(kept) for kept in self._kept.all()])

    async def _show(self, request: Request) -> ASGIApp:
        return Json(self._info(self._known(request)))

    async def _update(self, request: Request) -> ASGIApp:
        kept = self._known(request)
        body = await _UPDATE.read(request)
        if body.server_id not in {None, kept.server_id}:
            raise invalid("server_id", "server_id is not the one in the path")
        async with self._changing:
            known = restore(self._known(request), self._context)
            config = self._checked(body.config, known=known)
            listener = self._running.get(kept.server_id)
            if listener is not None:
                await self._changed(kept.server_id, listener, config)
            kept = keep(kept.server_id, config, self._context)
            self._kept.put(kept.server_id, kept)
        self._note_change("update", kept.server_id)
        return Json(self._info(kept))

    async def _changed(self, server_id: str, listener: Listener, config: InputConfig) -> None:
        """Have a running input serve another configuration; the old one stays if it cannot."""
        if config.port in {listener.config.port, listener.port}:
            authorization = Authorization(config, self._context)
            listener.replace(config, authorization)
            return
        successor = self._listener(server_id, config)
        await successor.start()
        self._running[server_id] = successor
        await listener.stop(_GRACE)

    async def _delete(self, request: Request) -> ASGIApp:
        server_id = self._known(request).server_id
        async with self._changing:
            self._kept.delete(server_id)
            self._counts.pop(server_id, None)
            self._problems.pop(server_id, None)
            listener = self._running.pop(server_id, None)
            if listener is not None:
                await listener.stop(_GRACE)
        self._note_change("delete", server_id)
        return Json({"server_id": server_id, "status": "deleted"})

    # -- running ------------------------------------------------------------

    async def _start(self, request: Request) -> ASGIApp:
        async with self._changing:
            kept = self._known(request)
            server_id = kept.server_id
            listener = self._running.get(server_id)
            if listener is None:
                try:
                    listener = self._listener(server_id, restore(kept, self._context))
                    await listener.start()
                except HttpRefusal as refusal:
                    self._problems[server_id] = refusal.message
                    raise
                self._problems.pop(server_id, None)
                self._running[server_id] = listener
                self._note_change("start", server_id)
        return Json({"server_id": server_id, "status": "running", "url": listener.url})

    async def _stop(self, request: Request) -> ASGIApp:
        async with self._changing:
            server_id = self._known(request).server_id
            self._problems.pop(server_id, None)
            listener = self._running.pop(server_id, None)
            if listener is not None:
                await listener.stop(_GRACE)
                self._note_change("stop", server_id)
        return Json({"server_id": server_id, "status": "stopped"})

    async def _trigger(self, request: Request) -> ASGIApp:
        kept = self._known(request)
        body = await _TRIGGER.read(request)
        if body.server_id not in {None, kept.server_id}:
            raise invalid("server_id", "server_id is not the one in the path")
        listener = self._running.get(kept.server_id)
        if listener is None:
            raise HttpRefusal(
                409, "HTTP_INPUT_NOT_RUNNING", "this HTTP input does not run; start it first"
            )
        path = body.path or listener.config.path
        answer, milliseconds = await listener.trigger(body.payload, body.headers, path)
        return Json(
            {
                "status": "error" if answer.code else "success",
                "response_code": answer.status,
                "response_body": _as_object(answer),
                "processing_time_ms": milliseconds,
                "agent_id": answer.agent_id,
            }
        )

    async def _metrics(self, request: Request) -> ASGIApp:
        server_id = self._known(request).server_id
        running = self._running.get(server_id)
        return Json(
            {
                "server_id": server_id,
                "status": self._status(server_id),
                "uptime_seconds": 0 if running is None else running.uptime,
                "active_connections": 0 if running is None else running.connections,
                "requests_in_progress": 0 if running is None else running.in_hand,
                **self._counts.setdefault(server_id, Counts()).shown(),
            }
        )

    # -- pieces -------------------------------------------------------------

    def _known(self, request: Request) -> Kept:
        found = self._kept.get(request.path_params["server_id"])
        if found is None:
            raise HttpRefusal(404, "HTTP_INPUT_NOT_FOUND", "there is no HTTP input of this id")
        return found

    def _checked(self, config: InputConfig, *, known: InputConfig | None) -> InputConfig:
        config = revealed(config, known)
        config = completed(config, host=self._context.options.host)
        for agent_id in (config.agent_id, *(rule.agent_id for rule in config.routing_rules)):
            self._context.agents.require(agent_id)
        Authorization(config, self._context)  # reads the key, while somebody is there to be told
        return config

    def _listener(self, server_id: str, config: InputConfig) -> Listener:
        options = self._context.options
        return Listener(
            config,
            Authorization(config, self._context),
            self._run,
            partial(self._note, server_id),
            origins=options.allow_origins,
            max_connections=min(
                options.max_connections,
                config.concurrency * _CONNECTIONS_EACH + _SPARE_CONNECTIONS,
            ),
            counts=self._counts.setdefault(server_id, Counts()),
            clock=self._context.clock,
        )

    async def _run(self, asked: Asked) -> Outcome:
        result = await self._context.group(Deployments).run(
            asked.agent_id,
            "http_input",
            asked.payload,
            asked.headers,
            body=asked.body,
            authenticated=asked.authenticated,
        )
        return Outcome(
            status=result.status,
            output=result.output,
            text=result.text,
            code=result.code,
            error=result.error,
        )

    def _status(self, server_id: str) -> str:
        if server_id in self._running:
            return "running"
        return "error" if server_id in self._problems else "stopped"

    def _info(self, kept: Kept) -> dict[str, Any]:
        server_id = kept.server_id
        listener = self._running.get(server_id)
        counts = self._counts.get(server_id)
        info: dict[str, Any] = {
            "server_id": server_id,
            "config": view(kept.config, port=None if listener is None else listener.port),
            "status": self._status(server_id),
            "uptime_seconds": None if listener is None else listener.uptime,
            "requests_processed": 0 if counts is None else counts.requests,
            "active_connections": 0 if listener is None else listener.connections,
            "last_error": self._problems.get(server_id),
        }
        if listener is not None:
            info["url"] = listener.url
        return info

    def _note(self, server_id: str, agent_id: str, status: int, code: str) -> None:
        record(
            self._context,
            Event(
                "runtime.http_input.request",
                "request",
                agent=agent_id,
                resource=server_id,
                allowed=not code,
                reason=code,
                metadata={"status": status},
            ),
        )

    def _note_change(self, action: str, server_id: str) -> None:
        record(self._context, Event(f"runtime.http_input.{action}", action, resource=server_id))
        self._context.events.publish(f"http_input.{action}", None, server_id=server_id)


def _as_object(answer: Answer) -> dict[str, Any]:
    return {"response": answer.text} if answer.document is None else answer.document
