"""The client of the MCP servers behind a gateway: the token's tools, and no others.

What may not be called is refused before a byte is sent. Neighbour: `session` speaks MCP.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, final

from msgspec import UNSET, UnsetType

from ... import telemetry
from ..._decoders import decoder_of
from ..._route import encode_json
from ...config import Limits, timeout_seconds
from ...errors import InvalidArgumentError
from ..client import GatewayAccess, access_from_environment, safe_endpoint
from ..errors import (
    ConfigurationError,
    GatewayArgumentError,
    GatewayStateError,
    ScopeNotAuthorizedError,
)
from .models import MCPTool, MCPToolResult

if TYPE_CHECKING:
    from .session import Sessions

__all__ = ["MCPGatewayClient", "Progress"]


class Progress(Protocol):
    """Awaited with how far a tool is, of how much, and its word for it, where it has them."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


_GATEWAY_TIMEOUT: Final = 120.0

_object: Final = decoder_of(dict[str, Any]).decode


@final
class MCPGatewayClient:
    """Calls tools of MCP servers through the gateway, on one event loop (docs/mcp.md).

    Each server gets a session with its first call, and each request of it both tokens. A call
    is allowed by `tctx.allowed_tools` of the run's Transaction Token, which the gateway checks
    as well. Close it with `aclose`, or use it as a context manager.
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str] | None = None,
        *,
        access: GatewayAccess | None = None,
        timeout: float | None = _GATEWAY_TIMEOUT,
        max_retries: int = 3,
        limits: Limits | None = None,
        expected_uid: int | None = None,
    ) -> None:
        """Describe a client; nothing is opened.

        `access` has the tokens; left out, the environment decides as for `GatewayClient`.
        `socket_path` takes the place of the socket it names. `timeout` bounds a call, the
        opening of its session included; None is no limit. `expected_uid` refuses a Unix socket
        whose server runs as somebody else. Raises `ConfigurationError` in direct mode, where no
        gateway stands before the servers, and for plain http to another machine.
        """
        found = access_from_environment() if access is None else access
        if not found.is_gateway_mode:
            raise ConfigurationError(
                "MCP servers stand behind a gateway, and this process talks to providers "
                "directly; unset SAGE_SANCTUM_ALLOW_DIRECT and set LLM_GATEWAY_SOCKET"
            )
        self._access = found
        self._endpoint = safe_endpoint(
            "the gateway's endpoint",
            found.get_endpoint("mcp")
            if socket_path is None
            else f"unix://{os.fspath(socket_path)}",
        )
        self._timeout = _seconds(timeout)
        self._max_retries = max_retries
        self._limits = limits
        self._expected_uid = expected_uid
        self._sessions: Sessions | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint}, {'closed' if self._closed else 'open'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {
            "timeout": self._timeout,
            "max_retries": self._max_retries,
            "limits": self._limits,
            "expected_uid": self._expected_uid,
        }
        return _restore, (self._endpoint, self._access, settings)

    async def allowed_tools(self) -> dict[str, tuple[str, ...]]:
        """Return the tools this run may call, by server, as its Transaction Token says.

        Raises an `AuthError` when there is no valid token: then nothing is allowed.
        """
        trat = await self._access.get_trat_async()
        return {} if trat is None else dict(trat.tctx.allowed_tools)

    async def list_tools(
        self, server: str, *, timeout: float | UnsetType | None = UNSET
    ) -> list[MCPTool]:
        """Return the tools of a server that this run may call, with their schemas.

        Raises `ScopeNotAuthorizedError` when the token lists none of that server.
        """
        allowed = (await self.allowed_tools()).get(server, ())
        if not allowed:
            raise ScopeNotAuthorizedError(
                f"this run may use no tool of the MCP server {server!r}; nothing was sent. Its "
                "Transaction Token lists what it may under tctx.allowed_tools"
            )
        found = await self._ready().list_tools(server, self._seconds(timeout))
        return [tool for tool in found if tool.name in allowed]

    async def call_tool(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | UnsetType | None = UNSET,
        on_progress: Progress | None = None,
    ) -> MCPToolResult:
        """Call a tool and return what it answered.

        `arguments` is anything msgspec can encode as a JSON object; None is no arguments.
        `on_progress` is awaited for each report of a tool that makes them. A tool that says it
        failed is no exception: see `is_error`. The call is not repeated once the server may
        have it.

        Raises `ScopeNotAuthorizedError` for a tool that the token does not list, before
        anything is sent; `GatewayDeadlineError` when time runs out, and then the server is told
        to stop; `GatewayBadGatewayError` when the server died of it.
        """
        if tool not in (await self.allowed_tools()).get(server, ()):
            del arguments
            raise ScopeNotAuthorizedError(
                f"this run may not use the tool {tool!r} of the MCP server {server!r}; nothing "
                "was sent. Its Transaction Token lists what it may under tctx.allowed_tools"
            )
        given: dict[str, Any] | None = None
        try:
            given = _plain(arguments)
            with telemetry.operation("execute_tool", name=tool, about={"tool.type": "extension"}):
                return await self._ready().call_tool(
                    server, tool, given, self._seconds(timeout), on_progress
                )
        finally:
            del arguments, given  # a traceback records the locals of the frames that raise

    async def invoke_tool(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Call a tool and return MCP's result object, as the guide's client does.

        Members: `content`, `isError`, and `structuredContent` of a tool with an output schema.
        Otherwise as `call_tool`.
        """
        try:
            result = await self.call_tool(server, tool, arguments)
        finally:
            del arguments  # a traceback records the locals of the frames that raise
        found: dict[str, Any] = {"content": list(result.content), "isError": result.is_error}
        if result.structured is not None:
            found["structuredContent"] = result.structured
        return found

    async def aclose(self) -> None:
        """End every session and close every connection. Final."""
        self._closed = True
        sessions, self._sessions = self._sessions, None
        if sessions is not None:
            await sessions.close()

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _ready(self) -> Sessions:
        self._check_open()
        if self._sessions is None:
            missing = None
            try:
                from .session import Sessions

                self._sessions = Sessions(
                    self._access,
                    self._endpoint,
                    max_retries=self._max_retries,
                    limits=self._limits,
                    expected_uid=self._expected_uid,
                )
                return self._sessions
            except ModuleNotFoundError as error:
                missing = (error.name or "").partition(".")[0]
                if missing == "ostiary":
                    raise
            raise ConfigurationError(
                f"MCP needs the package {missing}; run pip install 'ostiary[mcp]'"
            )
        return self._sessions

    def _check_open(self) -> None:
        if self._closed:
            raise GatewayStateError("the MCP client is closed; make another one")

    def _seconds(self, timeout: float | UnsetType | None) -> float:
        return self._timeout if timeout is UNSET else _seconds(timeout)


def _plain(arguments: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the arguments as JSON has them; what is none must not end the whole session."""
    if arguments is None:
        return None
    problem = "a tool's arguments are a mapping of names to values"
    if isinstance(arguments, Mapping):
        try:
            return _object(encode_json(dict(arguments), "the tool's arguments"))
        except InvalidArgumentError as error:
            problem = error.message
    del arguments  # a traceback records the locals of the frame that raises
    raise GatewayArgumentError(problem)


def _seconds(timeout: float | None) -> float:
    problem = ""
    try:
        return timeout_seconds(timeout)
    except InvalidArgumentError as error:
        problem = error.message
    raise GatewayArgumentError(problem)


def _restore(endpoint: str, access: GatewayAccess, settings: dict[str, Any]) -> MCPGatewayClient:
    client = MCPGatewayClient(access=access, **settings)
    client._endpoint = endpoint  # pyright: ignore[reportPrivateUsage]
    return client
