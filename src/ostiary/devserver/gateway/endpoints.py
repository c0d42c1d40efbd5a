"""The wire of the gateway: paths, the order of the checks, answers and streams.

Whoever speaks to it as the original client does is answered as that one needs it (the
compatibility profile of docs/protocol.md). Neighbours: `gate` decides, the providers
answer, `calls` remembers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, Protocol, final

import msgspec
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..clock import Clock
from ..http.connection import Connection
from ..http.front import Cut, Json, read_body
from ..http.refusals import HttpRefusal
from ..http.streams import EventStream
from ..options import GatewayOptions
from .calls import CallRecord, Calls
from .gate import CHAT, EMBEDDINGS, Caller, Gate
from .provider import Provider
from .quota import Quota
from .wire import bounded, document, error_object, invalid

__all__ = ["Endpoints", "McpMount"]

_HEARTBEAT: Final = 10.0

_encode = msgspec.json.Encoder().encode

Work = Callable[[Request, CallRecord], Awaitable[ASGIApp]]


class McpMount(Protocol):
    """What answers below `/mcp/`; its caller is known, and the run's scope was checked."""

    async def answer(self, caller: Caller, server: str, request: Request) -> ASGIApp:
        """Return the answer to one request for the server of that name."""
        ...


@final
class Endpoints:
    """One method for each endpoint; `app` routes to them."""

    def __init__(
        self,
        options: GatewayOptions,
        gate: Gate,
        providers: Mapping[str, Provider],
        quota: Quota,
        calls: Calls,
        clock: Clock,
        *,
        mcp: McpMount | None,
    ) -> None:
        self._options = options
        self._gate = gate
        self._providers = providers
        self._quota = quota
        self._calls = calls
        self._clock = clock
        self._mcp = mcp
        methods = ["GET", "POST", "DELETE"]
        self.app: ASGIApp = Router(
            [
                Route("/health", self.health, methods=["GET"]),
                Route("/v1/chat/completions", self._on_record("chat", self.chat), methods=["POST"]),
                Route("/v1/embeddings", self._on_record("embed", self.embed), methods=["POST"]),
                Route("/v1/models", self._on_record("models", self.models), methods=["GET"]),
                Route("/mcp/{server}", self._on_record("mcp", self.mcp), methods=methods),
            ],
            redirect_slashes=False,
        )

    def prepare(self, scope: Scope) -> None:
        """Have the original client's connection end with the answer (C2, C3, C8)."""
        if self._is_original(scope):
            connection: Connection = scope["state"]["connection"]
            connection.end_with_answer()

    def _is_original(self, scope: Scope) -> bool:
        if self._options.compatibility != "auto":
            return self._options.compatibility == "always"
        return not any(name == b"user-agent" for name, _ in scope["headers"])

    def _on_record(self, kind: str, work: Work) -> Callable[[Request], Awaitable[ASGIApp]]:
        """Return an endpoint whose every call is on record before it is answered."""

        async def endpoint(request: Request) -> ASGIApp:
            self._calls.check()
            call = CallRecord(
                kind=kind,
                method=request.method,
                path=request.url.path,
                request_id=request.scope["state"].get("request_id", ""),
                began=self._clock.wall(),
            )
            refused: HttpRefusal | None = None
            answer: ASGIApp | None = None
            try:
                answer = await work(request, call)
            except HttpRefusal as refusal:
                refused = refusal
                call.status, call.code = refusal.status, refusal.code
            except BaseException as error:
                gone = isinstance(error, asyncio.CancelledError)
                call.status, call.code = (499, "cancelled") if gone else (500, "internal_error")
                self._calls.add(call)
                raise
            if refused is None and call.stream:
                assert answer is not None
                return answer  # on record when the stream has ended
            self._calls.add(call)
            await self._calls.commit()
            if refused is not None:
                raise refused
            assert answer is not None
            return answer

        return endpoint

    def _identified(self, request: Request, call: CallRecord) -> Caller:
        caller = self._gate.identify(request.scope["headers"])
        call.subject, call.txn = caller.subject, caller.txn
        call.run_id, call.org_id = caller.run_id, caller.org_id
        return caller

    async def _admitted(
        self, request: Request, call: CallRecord, categories: tuple[str, ...]
    ) -> tuple[dict[str, Any], Provider]:
        """Go through the checks in their order; return the request and who answers it."""
        gate = self._gate
        caller = self._identified(request, call)
        name = request.headers.get("x-provider", "").strip().lower()
        gate.check_provider(caller, name)
        call.provider = name
        found = document(bytes(await read_body(bounded(request, self._options.request_limit))))
        gate.check_model(caller, name, found["model"], categories)
        call.model = found["model"]
        gate.check_scope(caller)
        provider = self._providers.get(name)
        if provider is None:
            raise HttpRefusal(
                503,
                "provider_unavailable",
                "no model of this provider is connected to the gateway; start it with --forward",
                details={"param": "X-Provider"},
            )
        provider.check(found, call.kind)
        self._quota.take(caller.subject)
        return found, provider

    # -- endpoints ----------------------------------------------------------

    async def health(self, request: Request) -> ASGIApp:
        return Json({"status": "ok"})

    async def chat(self, request: Request, call: CallRecord) -> ASGIApp:
        found, provider = await self._admitted(request, call, CHAT)
        original = self._is_original(request.scope)
        wanted = found.get("stream")
        if wanted is not None and not isinstance(wanted, bool):
            raise invalid("stream", "stream is neither true nor false")
        if not wanted:
            return _Document(await provider.chat(found, call, original=original))
        chunks = await provider.stream(found, call, original=original)
        call.stream = True
        return self._streamed(chunks, call)

    async def embed(self, request: Request, call: CallRecord) -> ASGIApp:
        found, provider = await self._admitted(request, call, EMBEDDINGS)
        return _Document(await provider.embed(found, call))

    async def models(self, request: Request, call: CallRecord) -> ASGIApp:
        caller = self._identified(request, call)
        self._gate.check_scope(caller)
        wanted = request.headers.get("x-provider", "").strip().lower()
        listed: dict[str, dict[str, Any]] = {}
        for models in caller.allowed_models.values():
            for reference in models:
                provider, _, model = reference.partition(":")
                if provider in caller.allowed_providers and wanted in {"", provider}:
                    listed[reference] = {
                        "id": model,
                        "object": "model",
                        "created": 0,
                        "owned_by": provider,
                    }
        return Json({"object": "list", "data": list(listed.values())})

    async def mcp(self, request: Request, call: CallRecord) -> ASGIApp:
        caller = self._identified(request, call)
        self._gate.check_scope(caller)
        if self._mcp is None:
            raise HttpRefusal(
                404, "server_not_found", "no MCP server is connected here; start it with --mcp"
            )
        self._quota.take(caller.subject)
        server = request.path_params["server"]
        return await self._mcp.answer(caller, server, bounded(request, self._options.request_limit))

    def _streamed(self, chunks: AsyncGenerator[bytes], call: CallRecord) -> ASGIApp:
        async def work(stream: EventStream) -> None:
            call.status, call.code = 499, "cancelled"  # until it turns out otherwise
            try:
                async with aclosing(chunks):
                    async for chunk in chunks:
                        await stream.event(chunk)
                call.status, call.code = 200, ""
            except HttpRefusal as refusal:
                call.status, call.code = refusal.status, refusal.code
                error = error_object(refusal.status, refusal.code, refusal.message)
                await stream.event(_encode(error))
            except asyncio.CancelledError:
                if not stream.interrupted:
                    raise
                call.status, call.code = 503, "server_stopping"
                error = error_object(503, call.code, "the server stops; try again later")
                await stream.event(_encode(error))
            except Cut:
                call.code = "cut"
                raise
            finally:
                self._calls.add(call)
            # What is on its way ends only when it is on record.
            await self._calls.commit()
            if not call.code:
                await stream.event(b"[DONE]")

        return EventStream(work, heartbeat=_HEARTBEAT)


class _Document:
    """An answer that is JSON already; an ASGI application."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})
