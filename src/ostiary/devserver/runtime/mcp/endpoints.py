"""The paths of MCP servers: add, connect, list, call, read, disconnect, remove.

Neighbours: `configuration` checks what is added, `servers` does the work.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Any, Final, final

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
from ..trail import record
from .configuration import (
    GUIDES_COMMAND,
    Kept,
    ServerConfig,
    check,
    check_allowed,
    keep,
    restore,
)
from .verification import Verification

if TYPE_CHECKING:
    from .servers import McpServer

__all__ = ["Mcp"]

_MOST_SERVERS: Final = 256
_MOST_CONNECTED: Final = 32
_LONGEST_SECONDS: Final = 3600.0
_URI_LENGTH: Final = 4096


class _Call(msgspec.Struct, kw_only=True):
    name: str
    arguments: dict[str, Any] = {}
    agent_id: str | None = None
    timeout_seconds: float | None = None


_CONFIG: Final = Body(ServerConfig)
_CALL: Final = Body(_Call)


@final
class Mcp:
    """The MCP servers of one runtime. What was added stays; processes end with the runtime."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept = Documents(context.store, "mcp_server", Kept)
        self._servers: dict[str, McpServer] = {}
        self._directory = context.directory / "mcp"
        allowed = set(context.runtime.mcp_allow)
        if context.options.demo:
            allowed.add(GUIDES_COMMAND)
        self._allowed = frozenset(allowed)

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/mcp/servers", self._add),
            route("GET", "/mcp/servers", self._list),
            route("GET", "/mcp/servers/{name}", self._show),
            route("DELETE", "/mcp/servers/{name}", self._remove),
            route("POST", "/mcp/servers/{name}/connect", self._connect),
            route("POST", "/mcp/servers/{name}/disconnect", self._disconnect),
            route("POST", "/mcp/servers/{name}/tools/call", self._call),
            route("GET", "/mcp/servers/{name}/resources/read", self._read),
            route("GET", "/mcp/tools", self._tools),
            route("GET", "/mcp/resources", self._resources),
        ]

    def gauges(self) -> dict[str, int | float]:
        return {"mcp_servers": self._kept.count(), "mcp_connections": len(self._connected())}

    async def start(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)

    async def stop(self, grace: float) -> None:
        servers, self._servers = list(self._servers.values()), {}
        await asyncio.gather(*(server.stop() for server in servers))

    def load_demo(self) -> None:
        pass

    # -- servers ------------------------------------------------------------

    async def _add(self, request: Request) -> ASGIApp:
        config = await _CONFIG.read(request)
        check(config)
        if self._context.token is None:
            check_allowed(config, self._allowed)
        answer = {"status": "added", "name": config.name}
        known = self._kept.get(config.name)
        if known is not None:
            if restore(known, self._context) == config:
                return Json(answer)
            raise HttpRefusal(
                409,
                "MCP_SERVER_EXISTS",
                f"there is another MCP server called {config.name}; remove it first, or choose "
                "another name",
            )
        if self._kept.count() >= _MOST_SERVERS:
            raise HttpRefusal(
                409, "MCP_TOO_MANY", f"there are {_MOST_SERVERS} MCP servers; remove some"
            )
        self._kept.put(config.name, keep(config, self._context))
        self._note("add", config.name)
        return Json(answer, status=201)

    async def _list(self, request: Request) -> ASGIApp:
        return Json([await self._info(kept.name) for kept in self._kept.all()])

    async def _show(self, request: Request) -> ASGIApp:
        return Json(await self._info(self._known(request).name))

    async def _remove(self, request: Request) -> ASGIApp:
        name = self._known(request).name
        self._kept.delete(name)
        server = self._servers.pop(name, None)
        self._note("remove", name)
        if server is not None:
            await server.stop()
        return Json({"name": name, "status": "removed"})

    async def _connect(self, request: Request) -> ASGIApp:
        kept = self._known(request)
        server = self._servers.get(kept.name)
        if server is None or not server.wanted:
            connected = self._connected()
            if len(connected) >= _MOST_CONNECTED:
                raise HttpRefusal(
                    409,
                    "MCP_TOO_MANY",
                    f"{_MOST_CONNECTED} MCP servers are connected; disconnect some",
                )
        if server is None:
            server = self._make(kept)
        problem = ""
        try:
            await server.connect()
        except HttpRefusal as refusal:
            problem = refusal.code
            raise
        finally:
            self._note("connect", kept.name, problem)
        if self._servers.get(kept.name) is not server:
            await server.stop()  # it was removed meanwhile
            raise _unknown()
        info = await server.info()
        return Json(
            {
                name: info[name]
                for name in ("server_name", "status", "tools_count", "resources_count")
            }
        )

    async def _disconnect(self, request: Request) -> ASGIApp:
        name = self._known(request).name
        server = self._servers.get(name)
        if server is not None:
            await server.disconnect()
            self._note("disconnect", name)
        return Json({"server_name": name, "status": "disconnected"})

    # -- what they offer ----------------------------------------------------

    async def _tools(self, request: Request) -> ASGIApp:
        tools = await self._listed(request, "tools")
        return Json(Verification(self._context).mark(tools))

    async def _resources(self, request: Request) -> ASGIApp:
        return Json(await self._listed(request, "resources"))

    async def _listed(self, request: Request, what: str) -> list[dict[str, Any]]:
        async def one(server: McpServer) -> list[dict[str, Any]]:
            return await (server.tools() if what == "tools" else server.resources())

        name = request.query_params.get("server")
        if name:
            return await one(self._server(name))
        # One that fails must not hide the others; its status says why it is not among them.
        found = await asyncio.gather(*map(one, self._connected()), return_exceptions=True)
        listed: list[dict[str, Any]] = []
        for each in found:
            if isinstance(each, list):
                listed += each
            elif not isinstance(each, HttpRefusal):
                raise each
        return listed

    async def _call(self, request: Request) -> ASGIApp:
        server = self._server(request.path_params["name"])
        body = await _CALL.read(request)
        seconds = body.timeout_seconds
        if seconds is not None and not 0 < seconds <= _LONGEST_SECONDS:
            raise invalid(
                "timeout_seconds",
                f"timeout_seconds is more than 0 and at most {_LONGEST_SECONDS:g}",
            )
        problem = "CANCELLED"
        try:
            if body.agent_id is None:
                answer = await server.call(body.name, body.arguments, seconds)
            else:
                async with self._context.agents.task(body.agent_id, "mcp_tool") as execution:
                    answer = await server.call(body.name, body.arguments, seconds)
                    execution.result = {"server_name": server.name, "tool": body.name}
            problem = ""
        except HttpRefusal as refusal:
            problem = refusal.code
            raise
        finally:
            self._note("call", f"{server.name}:{body.name}"[:256], problem, body.agent_id or "")
        return Json(answer)

    async def _read(self, request: Request) -> ASGIApp:
        server = self._server(request.path_params["name"])
        uri = request.query_params.get("uri", "")
        if not uri or len(uri) > _URI_LENGTH:
            raise invalid("uri", f"uri names the resource, in 1 to {_URI_LENGTH} characters")
        return Json(await server.read(uri))

    # -- finding ------------------------------------------------------------

    def _known(self, request: Request) -> Kept:
        found = self._kept.get(request.path_params["name"])
        if found is None:
            raise _unknown()
        return found

    def _server(self, name: str) -> McpServer:
        server = self._servers.get(name)
        if server is not None:
            return server
        if self._kept.get(name) is None:
            raise _unknown()
        raise HttpRefusal(
            409,
            "MCP_NOT_CONNECTED",
            f"the MCP server {name} is not connected; connect it first",
        )

    def _connected(self) -> list[McpServer]:
        return [server for server in self._servers.values() if server.wanted]

    async def _info(self, name: str) -> dict[str, Any]:
        server = self._servers.get(name)
        if server is not None:
            return await server.info()
        return {
            "server_name": name,
            "status": "disconnected",
            "pid": None,
            "connected_at": None,
            "last_error": None,
            "tools_count": 0,
            "resources_count": 0,
        }

    def _make(self, kept: Kept) -> McpServer:
        if importlib.util.find_spec("mcp") is None:
            raise HttpRefusal(
                501,
                "MCP_NOT_INSTALLED",
                "MCP servers need the extra: `pip install 'ostiary[mcp]'` where the runtime runs",
            )
        from .servers import McpServer

        config = restore(kept, self._context)
        if self._context.token is None:
            check_allowed(config, self._allowed)  # it may have been added by somebody with a key
        server = self._servers[kept.name] = McpServer(
            config, directory=str(self._directory), now=self._context.now
        )
        return server

    def _note(self, action: str, resource: str, problem: str = "", agent: str = "") -> None:
        record(
            self._context,
            Event(
                f"runtime.mcp.{action}",
                action,
                agent=agent,
                resource=resource,
                allowed=not problem,
                reason=problem,
            ),
        )
        if action in {"connect", "disconnect"}:
            kind = f"mcp.{action}_failed" if problem else f"mcp.{action}ed"
            self._context.events.publish(kind, None, server_name=resource)


def _unknown() -> HttpRefusal:
    return HttpRefusal(404, "MCP_SERVER_NOT_FOUND", "there is no MCP server of this name; add it")
