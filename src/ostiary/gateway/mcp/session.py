"""MCP spoken: a session for each server, opened by its first call and shared by the others.

The one module here that imports the MCP library. Neighbours: `transport` sends, `held` keeps
sessions open, `client` decides what may be called.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final
from urllib.parse import quote

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, METHOD_NOT_FOUND, REQUEST_TIMEOUT, Implementation
from pydantic import ValidationError

from ...config import Limits
from ...errors import OstiaryError, adopt
from ...http._async import AsyncPool
from ..client import GatewayAccess
from ..errors import (
    FAMILY,
    GatewayBadRequestError,
    GatewayConnectionLostError,
    GatewayDeadlineError,
    GatewayError,
    GatewayNotFoundError,
    GatewayProtocolError,
    GatewayStateError,
)
from ..refusals import error_object
from .held import Held
from .models import MCPTool, MCPToolResult
from .transport import KEPT, PoolTransport

if TYPE_CHECKING:
    from .client import Progress

__all__ = ["Sessions"]

T = TypeVar("T")

_MAX_CONNECTIONS: Final = 100
_EVENT_BYTES: Final = 8 * 1024 * 1024
_MOST_PAGES: Final = 100
# A session that ended while a call was on its way into it.
_CLOSED: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@final
class _Session:
    """One server's session, and what its transport knows of its errors."""

    def __init__(self, client: Client, transport: PoolTransport) -> None:
        self.client = client
        self.transport = transport


@final
class Sessions:
    """The sessions of one client with the servers behind one gateway; bound to one loop."""

    def __init__(
        self,
        access: GatewayAccess,
        endpoint: str,
        *,
        max_retries: int,
        limits: Limits | None,
        expected_uid: int | None = None,
        path: Callable[[str], str] | None = None,
    ) -> None:
        """`path` says where a server is found; `/mcp/NAME` unless given."""
        self._loop = asyncio.get_running_loop()
        self._access = access
        self._path = path or _mounted
        self._pool = AsyncPool(
            endpoint,
            timeout=None,
            max_retries=max_retries,
            max_connections=_MAX_CONNECTIONS,
            limits=limits,
            expected_uid=expected_uid,
            family=FAMILY,
        )
        self._held: dict[str, Held[_Session]] = {}

    async def list_tools(self, server: str, timeout: float) -> list[MCPTool]:
        """Return every tool a server lists, page by page."""

        async def ask(client: Client) -> list[MCPTool]:
            found: list[MCPTool] = []
            cursor: str | None = None
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(cursor=cursor, cache_mode="bypass")
                found += [
                    MCPTool(
                        name=tool.name,
                        title=tool.title,
                        description=tool.description,
                        input_schema=dict(tool.input_schema),
                        output_schema=tool.output_schema,
                    )
                    for tool in page.tools
                ]
                cursor = page.next_cursor
                if not cursor:
                    break
            return found

        return await self._ask(server, f"tools/list of {server}", timeout, ask)

    async def call_tool(
        self,
        server: str,
        tool: str,
        arguments: dict[str, Any] | None,
        timeout: float,
        on_progress: Progress | None,
    ) -> MCPToolResult:
        """Call a tool, once."""
        ask = _calling(tool, arguments, on_progress)
        del arguments  # a traceback records the locals of the frames that raise
        return await self._ask(server, f"tools/call of {server}/{tool}", timeout, ask)

    async def close(self) -> None:
        """End the sessions, then close the pool."""
        self._check_loop()
        held, self._held = self._held, {}
        try:
            await asyncio.gather(*(one.close() for one in held.values()))
        finally:
            await self._pool.close()

    async def _ask(
        self, server: str, what: str, timeout: float, ask: Callable[[Client], Awaitable[T]]
    ) -> T:
        self._check_loop()
        session: _Session | None = None
        failure: BaseException
        limit = asyncio.timeout(None if timeout == float("inf") else timeout)
        try:
            async with limit:
                session = await self._session(server)
                try:
                    return await ask(session.client)
                except MCPError:
                    if not session.transport.session_lost:
                        raise
                # The server knows this session no longer, and so has not begun with the call.
                await self._drop(server, session)
                session = await self._session(server)
                return await ask(session.client)
        except Exception as error:  # noqa: BLE001 - whatever the library has, none of it leaves
            failure = error
        if limit.expired():
            raise GatewayDeadlineError(
                f"{what} did not end within {timeout:g} seconds; give it more with timeout",
                sent=session is not None,
            )
        # Outside the handler: the library's errors may quote what was sent and answered.
        try:
            raise _ours(failure, session, what)
        finally:
            del failure

    async def _session(self, server: str) -> _Session:
        held = self._held.get(server)
        if held is None or held.ended:
            held = self._held[server] = Held(lambda gone: self._opened(server))
        try:
            return await held.open()
        except BaseException:
            if held.ended and self._held.get(server) is held:
                del self._held[server]
            raise

    async def _drop(self, server: str, session: _Session) -> None:
        held = self._held.get(server)
        if held is not None and not held.ended and await held.open() is session:
            del self._held[server]
            await held.close()

    @asynccontextmanager
    async def _opened(self, server: str) -> AsyncGenerator[_Session]:
        import ostiary

        transport = PoolTransport(self._pool, self._access)
        url = f"http://gateway.local{self._path(server)}"
        about = Implementation(name="ostiary", version=ostiary.__version__)
        # No timeout of its own: the caller's covers the whole call.
        async with (
            httpx2.AsyncClient(transport=transport, timeout=None, trust_env=False) as http,
            Client(
                streamable_http_client(url, http_client=http, max_sse_event_size=_EVENT_BYTES),
                client_info=about,
                cache=None,
            ) as client,
        ):
            transport.opened = True
            yield _Session(client, transport)

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise GatewayStateError(
                "the MCP client belongs to another event loop; make one for this loop"
            )


def _calling(
    tool: str, arguments: dict[str, Any] | None, on_progress: Progress | None
) -> Callable[[Client], Awaitable[MCPToolResult]]:
    async def ask(client: Client) -> MCPToolResult:
        result = await client.call_tool(tool, arguments, progress_callback=on_progress)
        blocks = [
            block.model_dump(mode="json", by_alias=True, exclude_none=True)
            for block in result.content
        ]
        return MCPToolResult(
            content=tuple(blocks),
            structured=result.structured_content,
            is_error=bool(result.is_error),
        )

    return ask


def _mounted(server: str) -> str:
    return f"/mcp/{quote(server, safe='')}"


def _ours(error: BaseException, session: _Session | None, what: str) -> OstiaryError:
    """Return what a failure is called here; no prose of a peer's is in its message."""
    if isinstance(error, OstiaryError):
        return adopt(error, FAMILY)
    if isinstance(error, MCPError):
        data: Any = error.data
        known = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        kept = None if session is None else session.transport.take(known.get(KEPT))
        if kept is not None:
            return kept
        return _answered(error, known, what)
    if isinstance(error, (httpx2.HTTPError, *_CLOSED)):
        return GatewayConnectionLostError(
            f"{what}: the connection ended before the answer ({type(error).__name__})", sent=True
        )
    # RuntimeError is the library's word for a result that breaks the tool's schema.
    kind = type(error).__name__
    if isinstance(error, (ValidationError, RuntimeError)):
        kind = "neither MCP nor the tool's own output schema allows it"
    return GatewayProtocolError(f"{what} was answered with what cannot be read: {kind}", sent=True)


def _answered(error: MCPError, data: Mapping[str, Any], what: str) -> GatewayError:
    status = data.get("status")
    code = data.get("code")
    if isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600:
        word = code if isinstance(code, str) and code.isascii() and code.isidentifier() else None
        return error_object(status, code=word, endpoint=what)
    if error.code == CONNECTION_CLOSED:
        return GatewayConnectionLostError(
            f"{what}: the connection ended before the answer; it may have run", sent=True
        )
    if error.code == REQUEST_TIMEOUT:
        return GatewayDeadlineError(f"{what}: the server gave up waiting", sent=True)
    body = json.dumps({"code": error.code, "message": error.message}).encode()[:65536]
    if error.code == METHOD_NOT_FOUND:
        return GatewayNotFoundError(
            f"{what} was refused: the server has no tools, or not that method",
            code=str(error.code),
            body=body,
        )
    return GatewayBadRequestError(
        f"{what} was refused by the server (JSON-RPC error {error.code}): correct the name and "
        "the arguments by the schema that list_tools() gives; its own words are in `body`",
        code=str(error.code),
        body=body,
    )
