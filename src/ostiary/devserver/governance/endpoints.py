"""The wire of governance: paths, bodies and answers, protocols and user agents.

Everything here is a shape; what is done stands in `commands`. The original client builds its
classes by keyword and breaks on a member it does not know, so it gets exactly its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from ..._decoders import decoder_of
from ..clock import iso
from ..http.front import Json, read_json
from ..http.refusals import HttpRefusal
from ..http.streams import EventStream
from ..options import Options
from .commands import MODEL, Command, Done, Governance
from .rules import RULES
from .traces import Trace

__all__ = ["Endpoints"]

_ORIGINAL: Final = "HestiaOS-SDK/"
_ID_LIMIT: Final = 512
_LONGEST_MS: Final = 3_600_000

_encode = msgspec.json.Encoder().encode


class _Context(msgspec.Struct):
    session_id: str | None = None
    agent_id: str | None = None
    mode_hint: str | None = None


class _RunOptions(msgspec.Struct):
    timeout_ms: int | None = None
    stream: bool | None = None


class _Run(msgspec.Struct):
    input: str
    context: _Context | None = None
    options: _RunOptions | None = None


class _Chat(msgspec.Struct):
    message: str
    session_id: str | None = None


class _Agent(msgspec.Struct):
    agent_id: str
    task: str
    config: dict[str, Any] | None = None


class _Secret(msgspec.Struct):
    credential_ref: str
    secret: str
    provider: str | None = None
    allowed_tools: list[str] | None = None

    def __repr__(self) -> str:
        return "_Secret()"


class _Explain(msgspec.Struct):
    command_type: str
    command_input: dict[str, Any] | None = None


_RUN: Final = decoder_of(_Run)
_CHAT: Final = decoder_of(_Chat)
_AGENT: Final = decoder_of(_Agent)
_SECRET: Final = decoder_of(_Secret)
_EXPLAIN: Final = decoder_of(_Explain)

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


@final
class Endpoints:
    """One method for each of the protocol's endpoints; `app` routes to them."""

    def __init__(self, service: Governance, options: Options) -> None:
        self._service = service
        self._options = options
        self._seed_meaning = service.options.meaning == "seed"
        self.app: ASGIApp = Router(
            [
                _route("POST", "/api/v1/run", self.run),
                _route("POST", "/api/v1/run/stream", self.stream),
                _route("POST", "/api/chat", self.chat),
                _route("POST", "/api/agents/run", self.agent),
                _route("GET", "/api/system/status", self.status),
                _route("GET", "/api/system/config", self.config),
                _route("GET", "/api/system/metrics", self.metrics),
                _route("POST", "/api/secrets", self.set_secret),
                # A key may come with its slashes as they are.
                _route("GET, DELETE", "/api/secrets/{key:path}", self.secret),
                _route("POST", "/api/governance/explain", self.explain),
                _route("GET", "/api/governance/stability", self.stability),
                _route("GET", "/api/governance/status", self.stability),
                _route("GET", "/api/governance/trace/{id:path}", self.trace),
                _route("GET", "/api/v1/health", self.health),
                _route("GET", "/api/v1/trace/{id:path}", self.trace),
            ],
            redirect_slashes=False,
        )

    # -- commands -----------------------------------------------------------

    async def run(self, request: Request) -> ASGIApp:
        command = _command("run", await read_json(request, _RUN))
        service = self._service
        done = await service.perform(command, await service.admit(command))
        return Json({**self._ran(done), "latency_ms": done.trace.latency_ms})

    def _ran(self, done: Done) -> dict[str, object]:
        """The members of a RunResponse, in the guide's order and the chosen meaning."""
        trace = done.trace
        seed = self._seed_meaning
        return {
            "result": done.output if seed else trace.decision,
            "trace_id": trace.trace_id,
            "output": done.output,
            "mode": trace.decision if seed else trace.mode,
            "budget": trace.budget,
        }

    async def stream(self, request: Request) -> ASGIApp:
        command = _command("stream", await read_json(request, _RUN))
        # A block is an answer of its own, before the stream begins.
        trace = await self._service.admit(command)
        return EventStream(
            partial(self._events, command, trace), heartbeat=self._service.options.heartbeat
        )

    async def _events(self, command: Command, trace: Trace, stream: EventStream) -> None:
        """start, body, then final or error, then done: whatever happens."""
        clock = self._service.vault.clock.wall

        async def event(type: str, data: dict[str, object]) -> None:
            document = {
                "type": type,
                "data": data,
                "trace_id": trace.trace_id,
                "timestamp": iso(clock()),
            }
            await stream.event(_encode(document))

        async def token(text: str) -> None:
            await event("token", {"text": text})

        await event("start", {})
        try:
            done = await self._service.perform(command, trace, token)
        except HttpRefusal as refusal:
            await event("error", {"code": refusal.code, "message": refusal.message})
        except asyncio.CancelledError:
            if not stream.interrupted:
                raise
            await event(
                "error", {"code": "SERVER_STOPPING", "message": "the server stops; try again later"}
            )
        else:
            final = self._ran(done)
            del final["trace_id"]  # the event has it
            await event("final", {**final, "latency_ms": trace.latency_ms})
        await event("done", {})

    async def chat(self, request: Request) -> ASGIApp:
        body = await read_json(request, _CHAT)
        _check_ids(session_id=body.session_id)
        command = Command(kind="chat", text=body.message, session_id=body.session_id)
        service = self._service
        done = await service.perform(command, await service.admit(command))
        answer: dict[str, object] = {
            "response": done.output,
            # One conversation of its own, for who named none.
            "session_id": body.session_id or done.trace.trace_id,
            "processing_time": done.trace.latency_ms / 1000,
            "model": MODEL,
            "trace_id": done.trace.trace_id,
        }
        if not _is_original(request):
            answer["result"] = done.output
        return Json(answer)

    async def agent(self, request: Request) -> ASGIApp:
        body = await read_json(request, _AGENT)
        _check_ids(agent_id=body.agent_id)
        if not body.agent_id:
            raise _invalid("agent_id", "agent_id is empty; name the agent")
        command = Command(
            kind="agent",
            text=body.task,
            agent_id=body.agent_id,
            arguments={"task": body.task, "config": body.config},
        )
        service = self._service
        done = await service.perform(command, await service.admit(command))
        answer: dict[str, object] = {
            "agent_id": body.agent_id,
            "status": "COMPLETED",
            "output": done.output,
            "error": None,
            "trace_id": done.trace.trace_id,
        }
        if not _is_original(request):
            answer["result"] = done.output
        return Json(answer)

    # -- system -------------------------------------------------------------

    async def status(self, request: Request) -> ASGIApp:
        service = self._service
        return Json(
            {
                "status": "OK" if service.mode == "NORMAL" else "DEGRADED",
                "version": _version(),
                "uptime_seconds": service.gauges.uptime,
                # No model server belongs to this control plane.
                "ollama": False,
                "vllm": False,
                "dsgk": True,
                "storage": service.storage,
            }
        )

    async def health(self, request: Request) -> ASGIApp:
        service = self._service
        return Json(
            {
                "status": "ok" if service.mode == "NORMAL" else "degraded",
                "version": _version(),
                "uptime_seconds": service.gauges.uptime,
                "api_version": "v1",
            }
        )

    async def config(self, request: Request) -> ASGIApp:
        options = self._options
        service = self._service
        return Json(
            {
                "server": "ostiary dev",
                "version": _version(),
                "mode": service.mode,
                "meaning": service.options.meaning,
                "authentication": "none" if options.demo else "bearer",
                "heartbeat_seconds": service.options.heartbeat,
                "request_limit_bytes": options.request_limit,
                "longest_timeout_ms": _LONGEST_MS,
                "rules": [
                    {"rule": r.id, "decision": r.decision, "risk": r.risk, "reason": r.reason}
                    for r in RULES
                ],
            }
        )

    async def metrics(self, request: Request) -> ASGIApp:
        gauges = self._service.gauges
        measured: dict[str, object] = {
            "cpu_percent": gauges.cpu_percent(),
            "memory_percent": gauges.memory_percent(),
            "active_sessions": gauges.active_sessions(),
            "requests_total": gauges.requests,
            "avg_latency_ms": gauges.average_latency_ms(),
        }
        if _is_original(request):
            return Json(measured)
        return Json({"metrics": measured, **measured})

    # -- secrets ------------------------------------------------------------

    async def set_secret(self, request: Request) -> ASGIApp:
        body = await read_json(request, _SECRET)
        provider = body.provider or "custom"
        tools = ["*"] if body.allowed_tools is None else body.allowed_tools
        if not body.credential_ref:
            raise _invalid("credential_ref", "credential_ref is empty; name the secret")
        self._service.secrets.set(
            body.credential_ref, body.secret, provider=provider, allowed_tools=tools
        )
        return Json(
            {"credential_ref": body.credential_ref, "provider": provider, "allowed_tools": tools}
        )

    async def secret(self, request: Request) -> ASGIApp:
        key: str = request.path_params["key"]
        if request.method == "DELETE":
            self._service.secrets.delete(key)
            return Json(None, status=204)
        return Json(self._service.secrets.get(key))

    # -- governance ---------------------------------------------------------

    async def explain(self, request: Request) -> ASGIApp:
        body = await read_json(request, _EXPLAIN)
        return Json(self._service.explain(body.command_type, body.command_input or {}))

    async def stability(self, request: Request) -> ASGIApp:
        return Json(self._service.stability())

    async def trace(self, request: Request) -> ASGIApp:
        return Json(self._service.trace(request.path_params["id"]))


def _route(methods: str, path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=methods.split(", "))


def _is_original(request: Request) -> bool:
    return request.headers.get("user-agent", "").startswith(_ORIGINAL)


def _command(kind: str, body: _Run) -> Command:
    context = body.context or _Context()
    options = body.options or _RunOptions()
    timeout_ms = 30_000 if options.timeout_ms is None else options.timeout_ms
    if not 1 <= timeout_ms <= _LONGEST_MS:
        raise _invalid("options.timeout_ms", f"timeout_ms is not between 1 and {_LONGEST_MS}")
    _check_ids(session_id=context.session_id, agent_id=context.agent_id)
    return Command(
        kind=kind,
        text=body.input,
        session_id=context.session_id,
        agent_id=context.agent_id,
        mode_hint=context.mode_hint,
        timeout_ms=timeout_ms,
    )


def _check_ids(**ids: str | None) -> None:
    for name, value in ids.items():
        if value is not None and len(value) > _ID_LIMIT:
            raise _invalid(name, f"{name} is longer than {_ID_LIMIT} characters")


def _invalid(field: str, message: str) -> HttpRefusal:
    return HttpRefusal(422, "INVALID_INPUT", message, details={"field": field})


def _version() -> str:
    from ostiary import __version__

    return __version__
