"""One MCP server of the runtime: connected when a caller says so, and again when it died.

Neighbours: `ostiary.devserver.mcp.child` runs the process, `endpoints` is who asks. Importing
this needs the extra `mcp`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeVar, final

import mcp_types as types
import msgspec
from mcp import Client
from mcp.shared.exceptions import MCPError

from ...http.refusals import HttpRefusal
from ...mcp.child import Child
from .configuration import ServerConfig

__all__ = ["McpServer"]

T = TypeVar("T")
P = TypeVar("P", types.ListToolsResult, types.ListResourcesResult)

_RESTART_DELAY: Final = 0.5
_PAGES: Final = 100
# How long it may take until the end of a process is known, before it is told without.
_SETTLING: Final = 0.5
_LONGEST_MESSAGE: Final = 500
_SHORTEST_SECRET: Final = 4

_canonical = msgspec.json.Encoder(order="deterministic").encode


@final
class McpServer:
    """A server that was added.

    `now` returns the time as it is shown. A server whose process died is started again by the
    next call; `last_error` keeps what happened until somebody connects or disconnects.
    """

    def __init__(self, config: ServerConfig, *, directory: str, now: Callable[[], str]) -> None:
        self.name = config.name
        self._timeout = float(config.timeout_seconds)
        self._secrets = [one for one in config.env.values() if len(one) >= _SHORTEST_SECRET]
        self._now = now
        self._child = Child(
            config.name,
            config.command,
            start_timeout=self._timeout,
            restart_delay=_RESTART_DELAY,
            environment=config.env,
            directory=config.cwd or directory,
            client_name="ostiary-runtime",
        )
        self._connecting = asyncio.Lock()
        self._wanted = False
        self._opening = 0
        self._shown_start = 0
        self._connected_at: str | None = None
        self._problem: str | None = None
        self._tools: list[dict[str, Any]] = []
        self._resources: list[dict[str, Any]] = []

    # -- what it is like ----------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether somebody connected it and nobody disconnected it since."""
        return self._wanted

    @property
    def status(self) -> str:
        """One of connected, disconnected, connecting, error."""
        if self._opening:
            return "connecting"
        if self._wanted and self._child.running:
            return "connected"
        return "error" if self._wanted or self._problem else "disconnected"

    async def info(self) -> dict[str, Any]:
        """Return the answer to `GET mcp/servers/{name}`."""
        await self._child.settled(_SETTLING)
        status = self.status
        connected = status == "connected"
        problem = self._child.problem or self._problem
        if status == "error" and problem is None:
            problem = "it ended by itself"
        return {
            "server_name": self.name,
            "status": status,
            "pid": self._child.pid,
            "connected_at": self._connected_at if connected else None,
            "last_error": None if problem is None else self._hidden(problem),
            "tools_count": len(self._tools),
            "resources_count": len(self._resources),
        }

    # -- connections --------------------------------------------------------

    async def connect(self) -> None:
        """Start the server and ask what it has; nothing to do when it is connected."""
        async with self._connecting:
            if self._wanted and self._child.running:
                return
            self._child.forgive()
            self._child.problem = self._problem = None
            refusal: HttpRefusal
            self._opening += 1
            try:
                client = await self._client()
                async with asyncio.timeout(self._timeout):
                    self._tools = await self._all_tools(client)
                    self._resources = await self._all_resources(client)
                self._wanted = True
                return
            except HttpRefusal as found:
                refusal = self._told(found)
            except TimeoutError:
                refusal = self._silent()
            except MCPError as error:
                refusal = self._failed(error)
            finally:
                self._opening -= 1
            await self._child.stop()
            self._wanted = False
            self._problem = self._child.problem or refusal.message
            raise refusal

    async def disconnect(self) -> None:
        """End the server's process, if there is one, or the attempt to start it."""
        self._wanted = False
        await self._child.stop()
        async with self._connecting:
            self._wanted = False
            await self._child.stop()
            self._child.problem = self._problem = None
            self._tools, self._resources = [], []

    async def stop(self) -> None:
        """End the process without waiting for who connects it."""
        self._wanted = False
        await self._child.stop()

    # -- what it offers -----------------------------------------------------

    async def tools(self) -> list[dict[str, Any]]:
        """Return its tools, asked anew."""
        self._tools = await self._ask(self._all_tools, seconds=self._timeout, repeatable=True)
        return self._tools

    async def resources(self) -> list[dict[str, Any]]:
        """Return its resources, asked anew."""
        found = await self._ask(self._all_resources, seconds=self._timeout, repeatable=True)
        self._resources = found
        return found

    async def call(
        self, tool: str, arguments: dict[str, Any], seconds: float | None
    ) -> dict[str, Any]:
        """Call a tool once and return its result; it is not repeated, whatever happens.

        `seconds` None is the server's own time.
        """
        if not _has(self._tools, tool) and not _has(await self.tools(), tool):
            raise HttpRefusal(
                404,
                "MCP_TOOL_NOT_FOUND",
                f"the MCP server {self.name} has no tool of this name; list its tools",
            )
        limit = self._timeout if seconds is None else seconds
        result = await self._ask(
            lambda client: client.call_tool(tool, arguments, read_timeout_seconds=limit),
            seconds=limit + 1.0,  # the library's own limit tells the server to stop, too
            repeatable=False,
        )
        answer: dict[str, Any] = {
            "content": [_plain(block) for block in result.content],
            "is_error": result.is_error,
        }
        if result.structured_content is not None:
            answer["structured_content"] = result.structured_content
        return answer

    async def read(self, uri: str) -> dict[str, Any]:
        """Return the contents of a resource."""
        result = await self._ask(
            lambda client: client.read_resource(uri), seconds=self._timeout, repeatable=True
        )
        contents: list[dict[str, Any]] = []
        for one in result.contents:
            shown: dict[str, Any] = {"uri": str(one.uri)}
            if one.mime_type is not None:
                shown["mime_type"] = one.mime_type
            if isinstance(one, types.TextResourceContents):
                shown["text"] = one.text
            else:
                shown["blob"] = one.blob
            contents.append(shown)
        return {"contents": contents}

    # -- asking -------------------------------------------------------------

    async def _client(self) -> Client:
        fresh = not self._child.running
        if fresh and self._child.problem is not None:
            self._problem = self._child.problem
        self._opening += fresh
        try:
            client = await self._child.client()
        finally:
            self._opening -= fresh
        if self._shown_start != self._child.starts:
            self._shown_start = self._child.starts
            self._connected_at = self._now()
        return client

    async def _ask(
        self, ask: Callable[[Client], Awaitable[T]], *, seconds: float, repeatable: bool
    ) -> T:
        refusal: HttpRefusal
        while True:
            if not self._wanted:
                raise HttpRefusal(
                    409,
                    "MCP_NOT_CONNECTED",
                    f"the MCP server {self.name} is not connected; connect it first",
                )
            try:
                with self._child.in_use():
                    client = await self._client()
                    async with asyncio.timeout(seconds):
                        return await ask(client)
            except HttpRefusal as found:
                refusal = self._told(found)
            except TimeoutError:
                refusal = self._silent()
            except MCPError as error:
                if error.code == types.CONNECTION_CLOSED and repeatable:
                    # Its death may be noticed by nobody but this call: once more, with another.
                    repeatable = False
                    continue
                await self._child.settled(_SETTLING)
                refusal = self._failed(error)
            except (RuntimeError, ValueError):
                # The library's words for an answer that breaks the protocol or its own schema;
                # they quote it.
                refusal = HttpRefusal(
                    502,
                    "MCP_SERVER_FAILED",
                    f"the MCP server {self.name} answered with what its own schema, or the "
                    "protocol, forbids",
                )
            raise refusal

    async def _all_tools(self, client: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async for page in _pages(client.list_tools):
            for tool in page.tools:
                schema: dict[str, Any] = tool.input_schema
                found.append(
                    {
                        "name": tool.name,
                        "description": tool.description or tool.title or "",
                        "server_name": self.name,
                        "schema": schema,
                        "verified": False,
                        "verification_hash": hashlib.sha256(_canonical(schema)).hexdigest(),
                    }
                )
        return found

    async def _all_resources(self, client: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async for page in _pages(client.list_resources):
            found += [
                {
                    "uri": str(one.uri),
                    "name": one.name,
                    "description": one.description,
                    "mime_type": one.mime_type,
                    "server_name": self.name,
                }
                for one in page.resources
            ]
        return found

    # -- what went wrong ----------------------------------------------------

    def _told(self, refusal: HttpRefusal) -> HttpRefusal:
        """A child's refusal in the runtime's words, with what the server said of itself."""
        message = refusal.message
        if refusal.status != 503 and self._child.problem is not None:
            message = f"the MCP server {self.name} did not start: {self._child.problem}"
        return HttpRefusal(
            refusal.status,
            "MCP_" + refusal.code.upper(),
            self._hidden(message),
            headers=refusal.headers,
        )

    def _silent(self) -> HttpRefusal:
        return HttpRefusal(
            504,
            "MCP_SERVER_TIMEOUT",
            f"the MCP server {self.name} did not answer in time; raise timeout_seconds, or "
            "disconnect and connect it",
        )

    def _failed(self, error: MCPError) -> HttpRefusal:
        if error.code == types.REQUEST_TIMEOUT:
            return self._silent()
        if error.code == types.CONNECTION_CLOSED:
            how = self._hidden(self._child.problem or "it ended")
            return HttpRefusal(
                502,
                "MCP_SERVER_FAILED",
                f"the MCP server {self.name} was lost while it worked on the call ({how}); it is "
                "started again by the next one",
            )
        # The server's own error: of what it was asked, in words meant for who asked.
        said = self._hidden(str(error.message))[:_LONGEST_MESSAGE]
        return HttpRefusal(
            422,
            "MCP_REFUSED",
            f"the MCP server {self.name} refused: {said}",
            details={"mcp_code": error.code},
        )

    def _hidden(self, text: str) -> str:
        """Take the values of its variables out of what a server wrote."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text


async def _pages(ask: Callable[..., Awaitable[P]]) -> AsyncGenerator[P]:
    """Yield the pages of a listing; none when the server does not know the method."""
    cursor: str | None = None
    for _ in range(_PAGES):
        try:
            page = await ask(cursor=cursor)
        except MCPError as error:
            # Optional in the protocol: a server may offer tools and no resources.
            if error.code != types.METHOD_NOT_FOUND:
                raise
            return
        yield page
        cursor = page.next_cursor
        if not cursor:
            return


def _has(tools: list[dict[str, Any]], name: str) -> bool:
    return any(tool["name"] == name for tool in tools)


def _plain(block: Any) -> dict[str, Any]:
    plain: dict[str, Any] = block.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain
