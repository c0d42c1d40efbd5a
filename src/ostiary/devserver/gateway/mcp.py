"""MCP servers behind the gateway: `/mcp/NAME`, for runs whose token lists their tools.

Each request stands alone and is allowed, or not, by the token it came with. Tools only: a
token says nothing of prompts and resources, so there are none here. Neighbours: the gate has
made the `Caller`; `mcp.child` of the room above runs the servers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, final

import anyio
import mcp_types as types
import msgspec
from mcp import Client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..._decoders import decoder_of
from ...gateway.mcp.held import Held
from ..http.refusals import HttpRefusal
from ..mcp.child import Child
from .gate import Caller

__all__ = ["McpServers"]

# JSON-RPC leaves -32000 to -32099 to servers; `data` says the rest.
_REFUSED: Final = -32003
_FAILED: Final = -32005
_SWEEP_SECONDS: Final = 30.0

T = TypeVar("T")

_Context = ServerRequestContext[Any, Request]
Key = tuple[str, str, str]


class _Asked(msgspec.Struct):
    """As much of a JSON-RPC request as decides whether it may pass."""

    method: str = ""
    params: dict[str, Any] | None = None


_decode: Final = decoder_of(_Asked).decode


@final
class McpServers:
    """The MCP servers of one gateway, each as the command that runs it.

    Runs do not share a process: a server may keep what one run told it. `call_timeout` is how
    long a tool may take. At most `max_children` processes run; one that no call has used for
    `idle_expiry` seconds is ended.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        call_timeout: float = 60.0,
        start_timeout: float = 60.0,
        restart_delay: float = 0.5,
        idle_expiry: float = 600.0,
        max_children: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = {name: tuple(command) for name, command in commands.items()}
        self._call_timeout = call_timeout
        self._start_timeout = start_timeout
        self._restart_delay = restart_delay
        self._idle_expiry = idle_expiry
        self._max_children = max_children
        self._clock = clock
        self._children: dict[Key, Child] = {}
        self._fronts: dict[str, Held[StreamableHTTPSessionManager]] = {}
        self._tidying: asyncio.Task[None] | None = None
        self._ending: list[Child] = []

    @property
    def names(self) -> list[str]:
        """What servers there are."""
        return list(self._commands)

    @property
    def children(self) -> Mapping[Key, Child]:
        """The processes by server, organisation and run."""
        return self._children

    async def answer(self, caller: Caller, server: str, request: Request) -> ASGIApp:
        """Return what answers `request`, or raise the refusal.

        A refusal that can be told from the request alone is an HTTP one; what goes wrong
        later is a JSON-RPC error whose `data` has the same `code` and `status`.
        """
        if server not in self._commands:
            raise HttpRefusal(
                404,
                "server_not_found",
                f"no MCP server is named like that; there are: {', '.join(self.names) or 'none'}",
            )
        if not caller.allowed_tools.get(server):
            raise HttpRefusal(
                403,
                "tool_not_allowed",
                f"this run may use no tool of {server}; its token lists those it may",
            )
        if request.method != "POST":
            # No session, no stream of its own: the specification leaves both to the server.
            raise HttpRefusal(
                405,
                "method_not_allowed",
                "an MCP server is asked by POST here",
                headers=((b"allow", b"POST"),),
            )
        body = await request.body()
        asked = _asked(body)
        if asked.method == "tools/call":
            _check_tool(caller, server, (asked.params or {}).get("name"))
        if asked.method in {"tools/call", "tools/list"}:
            # Started here, so that a server which does not start is told by a status.
            await self._child(caller, server).client()
        front = self._fronts.get(server)
        if front is None or front.ended:
            front = self._fronts[server] = Held(lambda _: self._served(server))
        manager = await front.open()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope = {**scope, "ostiary.caller": caller}
            await manager.handle_request(scope, _again(body, receive), send)

        return app

    async def stop(self) -> None:
        """End every process and every answer that is under way."""
        fronts, self._fronts = self._fronts, {}
        children, self._children = [*self._children.values(), *self._ending], {}
        if self._tidying is not None:
            self._tidying.cancel()
        async with anyio.create_task_group() as closing:
            for front in fronts.values():
                closing.start_soon(front.close)
            for child in children:
                closing.start_soon(child.stop)

    def _child(self, caller: Caller, server: str) -> Child:
        key = (server, caller.org_id, caller.run_id)
        child = self._children.get(key)
        if child is None:
            if len(self._children) >= self._max_children:
                raise HttpRefusal(
                    503,
                    "server_unavailable",
                    f"{self._max_children} MCP servers are running, which is the limit; try again "
                    "when other runs have ended",
                    headers=((b"retry-after", b"30"),),
                )
            child = self._children[key] = Child(
                server,
                self._commands[server],
                start_timeout=self._start_timeout,
                restart_delay=self._restart_delay,
                clock=self._clock,
            )
            if self._tidying is None or self._tidying.done():
                self._tidying = asyncio.create_task(self._tidy())
        return child

    async def _tidy(self) -> None:
        while self._children:
            await asyncio.sleep(min(self._idle_expiry, _SWEEP_SECONDS))
            await self.sweep()

    async def sweep(self) -> None:
        """End the processes that no call has used for a while."""
        before = self._clock() - self._idle_expiry
        for key, child in list(self._children.items()):
            if not child.busy and child.last_used < before:
                self._ending.append(self._children.pop(key))
        for child in list(self._ending):
            await child.stop()
            if child in self._ending:  # two may sweep at once
                self._ending.remove(child)

    @asynccontextmanager
    async def _served(self, server: str) -> AsyncGenerator[StreamableHTTPSessionManager]:
        async def list_tools(
            context: _Context, params: types.PaginatedRequestParams | None
        ) -> types.ListToolsResult:
            caller = _caller(context)
            cursor = None if params is None else params.cursor
            found = await self._ask(caller, server, lambda client: client.list_tools(cursor=cursor))
            allowed = caller.allowed_tools.get(server, [])
            found.tools = [tool for tool in found.tools if tool.name in allowed]
            return found

        async def call_tool(
            context: _Context, params: types.CallToolRequestParams
        ) -> types.CallToolResult:
            caller = _caller(context)
            # Once more, on what the library read: two parsers may differ, this one is asked.
            refusal = None
            try:
                _check_tool(caller, server, params.name)
            except HttpRefusal as found:
                refusal = found
            if refusal is not None:
                raise _told(refusal, _REFUSED)
            return await self._ask(
                caller,
                server,
                lambda client: client.call_tool(
                    params.name,
                    params.arguments,
                    read_timeout_seconds=self._call_timeout,
                    progress_callback=context.session.report_progress,
                ),
            )

        app: Server[Any] = Server(
            server,
            version="1",
            instructions=None,
            on_list_tools=list_tools,
            on_call_tool=call_tool,
        )
        manager = StreamableHTTPSessionManager(app, stateless=True)
        async with manager.run():
            yield manager

    async def _ask(self, caller: Caller, server: str, ask: Callable[[Client], Awaitable[T]]) -> T:
        child = self._child(caller, server)
        failure: MCPError
        try:
            with child.in_use():
                return await ask(await child.client())
        except HttpRefusal as found:
            failure = _told(found, _FAILED)
        except MCPError as error:
            failure = _relayed(error, server)
        except RuntimeError:
            # The library's word for a result that breaks the tool's own schema; it quotes it.
            refusal = HttpRefusal(
                502,
                "server_failed",
                f"the MCP server {server} answered with what its own output schema forbids",
            )
            failure = _told(refusal, _FAILED)
        raise failure


def _asked(body: bytes) -> _Asked:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Asked()  # the library has its own words for that


def _check_tool(caller: Caller, server: str, tool: object) -> None:
    if tool not in caller.allowed_tools.get(server, ()):
        raise HttpRefusal(
            403,
            "tool_not_allowed",
            f"this run may not use that tool of {server}; its token lists those it may",
            details={"param": "name"},
        )


def _caller(context: _Context) -> Caller:
    assert context.request is not None
    caller: Caller = context.request.scope["ostiary.caller"]
    return caller


def _told(refusal: HttpRefusal, code: int) -> MCPError:
    return MCPError(code, refusal.message, {"code": refusal.code, "status": refusal.status})


def _relayed(error: MCPError, server: str) -> MCPError:
    """What a child's failure is called outside; its own errors are passed on as they are."""
    if error.code == types.CONNECTION_CLOSED:
        refusal = HttpRefusal(
            502, "server_failed", f"the MCP server {server} ended while it worked on the call"
        )
    elif error.code == types.REQUEST_TIMEOUT:
        refusal = HttpRefusal(
            504, "server_timeout", f"the MCP server {server} did not answer in time"
        )
    else:
        return error
    return _told(refusal, _FAILED)


def _again(body: bytes, receive: Receive) -> Receive:
    """The request's body, which was read already, and then what else the client does."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed
