# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""What agents use and how they are reached: MCP servers, the agent language, HTTP input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ..._calls.colours import Key, Timeout
from ..._calls.waiting._sync import wait_until
from ..._calls.waiting.pace import POLL_INTERVAL, WAIT
from .. import _bodies as bodies
from .. import _routes as routes
from ..errors import FAMILY, WaitTimeoutError
from ..models import (
    AgentDeployRequest,
    AgentDeployResponse,
    DslCompileRequest,
    DslCompileResponse,
    HttpInputCreateRequest,
    HttpInputServerInfo,
    HttpInputUpdateRequest,
    McpConnectionInfo,
    McpResourceContents,
    McpResourceInfo,
    McpServerConfig,
    McpToolInfo,
    McpToolResult,
    WebhookTriggerRequest,
    WebhookTriggerResponse,
)

if TYPE_CHECKING:
    from ...http._sync import Pool

__all__ = ["ToolCalls"]


class ToolCalls:
    """The methods of a client about MCP servers, the agent language and HTTP input."""

    _pool: Pool

    # --- MCP servers

    def add_mcp_server(
        self,
        config: McpServerConfig | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Make an MCP server known; it is started by `connect_mcp_server`."""
        try:
            return self._pool.call(
                routes.MCP_ADD,
                body=bodies.given(McpServerConfig, "config", config),
                timeout=timeout,
                idempotency_key=idempotency_key,
            )
        finally:
            del config  # its environment may hold keys

    def list_mcp_servers(self, *, timeout: Timeout = UNSET) -> list[McpConnectionInfo]:
        """Return all MCP servers and how their connections are."""
        return self._pool.call(routes.MCP_LIST, timeout=timeout)

    def get_mcp_server(self, server_name: str, *, timeout: Timeout = UNSET) -> McpConnectionInfo:
        """Return how the connection to an MCP server is."""
        return self._pool.call(routes.MCP_GET, server_name, timeout=timeout)

    def remove_mcp_server(self, server_name: str, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """End an MCP server and forget it."""
        return self._pool.call(routes.MCP_REMOVE, server_name, timeout=timeout)

    def connect_mcp_server(
        self, server_name: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> dict[str, Any]:
        """Start an MCP server and ask for its tools and resources.

        That may take the `timeout_seconds` of its configuration: `timeout` should be longer.
        """
        return self._pool.call(
            routes.MCP_CONNECT, server_name, timeout=timeout, idempotency_key=idempotency_key
        )

    def disconnect_mcp_server(
        self, server_name: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> dict[str, Any]:
        """End an MCP server; it can be connected again."""
        return self._pool.call(
            routes.MCP_DISCONNECT, server_name, timeout=timeout, idempotency_key=idempotency_key
        )

    def list_mcp_tools(
        self, server_name: str | None = None, *, timeout: Timeout = UNSET
    ) -> list[McpToolInfo]:
        """Return the tools of a connected MCP server, or of all of them."""
        return self._pool.call(routes.MCP_TOOLS, query=_server(server_name), timeout=timeout)

    def list_mcp_resources(
        self, server_name: str | None = None, *, timeout: Timeout = UNSET
    ) -> list[McpResourceInfo]:
        """Return the resources of a connected MCP server, or of all of them."""
        return self._pool.call(routes.MCP_RESOURCES, query=_server(server_name), timeout=timeout)

    def call_mcp_tool(
        self,
        server_name: str,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> McpToolResult:
        """Call a tool of an MCP server; see `is_error` of what it returns."""
        return self._pool.call(
            routes.MCP_CALL,
            server_name,
            body={
                "name": bodies.text("tool", tool),
                "arguments": {} if arguments is None else dict(arguments),
            },
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def read_mcp_resource(
        self, server_name: str, uri: str, *, timeout: Timeout = UNSET
    ) -> McpResourceContents:
        """Return what a resource of an MCP server holds."""
        return self._pool.call(
            routes.MCP_READ, server_name, query={"uri": bodies.text("uri", uri)}, timeout=timeout
        )

    # --- the agent language, and deployments

    def compile_dsl(
        self,
        compile_request: DslCompileRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> DslCompileResponse:
        """Compile an agent's source; what is wrong with it stands in the reply's `errors`."""
        return self._pool.call(
            routes.DSL_COMPILE,
            body=bodies.given(DslCompileRequest, "compile_request", compile_request),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def deploy_agent(
        self,
        deploy_request: AgentDeployRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> AgentDeployResponse:
        """Deploy an agent; `endpoint_url` is where it can be reached."""
        return self._pool.call(
            routes.DEPLOY,
            body=bodies.given(AgentDeployRequest, "deploy_request", deploy_request),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def get_agent_deployment(
        self, deployment_id: str, *, timeout: Timeout = UNSET
    ) -> AgentDeployResponse:
        """Return a deployment and how it is."""
        return self._pool.call(routes.DEPLOYMENT_GET, deployment_id, timeout=timeout)

    def list_agent_deployments(
        self, agent_id: str | None = None, *, timeout: Timeout = UNSET
    ) -> list[AgentDeployResponse]:
        """Return the deployments of an agent, or of all of them."""
        named = bodies.optional_text("agent_id", agent_id)
        return self._pool.call(
            routes.DEPLOYMENTS_LIST,
            query=None if named is None else {"agent_id": named},
            timeout=timeout,
        )

    def stop_agent_deployment(
        self, deployment_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> dict[str, Any]:
        """Stop a deployment; one that has stopped stays so."""
        return self._pool.call(
            routes.DEPLOYMENT_STOP, deployment_id, timeout=timeout, idempotency_key=idempotency_key
        )

    def rollback_agent_deployment(
        self, deployment_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> AgentDeployResponse:
        """Put the deployment that this one replaced back in its place, and return it."""
        return self._pool.call(
            routes.DEPLOYMENT_ROLLBACK,
            deployment_id,
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def wait_for_deployment(
        self,
        deployment_id: str,
        timeout: float | None = WAIT,
        *,
        poll_interval: float = POLL_INTERVAL,
        on_update: Callable[[AgentDeployResponse], object] | None = None,
    ) -> AgentDeployResponse:
        """Wait until a deployment runs, has stopped or has failed, and return it.

        Times are seconds, None is no limit; `WaitTimeoutError`, a TimeoutError, when it is
        over. What may pass meanwhile is waited out: 429, 502, 503, 504, lost connections.
        """
        return wait_until(
            self._pool,
            lambda patience: self.get_agent_deployment(deployment_id, timeout=patience),
            lambda deployment: bodies.has_settled(deployment.status),
            lambda deployment: bodies.still("deployment", deployment_id, deployment),
            timeout=timeout,
            poll_interval=poll_interval,
            on_update=on_update,
            failure=WaitTimeoutError,
            family=FAMILY,
        )

    # --- HTTP input

    def create_http_input_server(
        self,
        request: HttpInputCreateRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> HttpInputServerInfo:
        """Open a listener whose requests go to agents, by its routing rules."""
        try:
            return self._pool.call(
                routes.HTTP_INPUT_CREATE,
                body=bodies.given(HttpInputCreateRequest, "request", request),
                timeout=timeout,
                idempotency_key=idempotency_key,
            )
        finally:
            del request  # its auth_header may be a key

    def list_http_input_servers(self, *, timeout: Timeout = UNSET) -> list[HttpInputServerInfo]:
        """Return all listeners."""
        return self._pool.call(routes.HTTP_INPUT_LIST, timeout=timeout)

    def get_http_input_server(
        self, server_id: str, *, timeout: Timeout = UNSET
    ) -> HttpInputServerInfo:
        """Return a listener: its configuration and what it has done."""
        return self._pool.call(routes.HTTP_INPUT_GET, server_id, timeout=timeout)

    def update_http_input_server(
        self, request: HttpInputUpdateRequest | Mapping[str, Any], *, timeout: Timeout = UNSET
    ) -> HttpInputServerInfo:
        """Give a listener another configuration."""
        try:
            server_id, body = bodies.with_server(HttpInputUpdateRequest, request)
            return self._pool.call(routes.HTTP_INPUT_UPDATE, server_id, body=body, timeout=timeout)
        finally:
            body = None
            del request

    def start_http_input_server(
        self, server_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> dict[str, Any]:
        """Have a listener accept requests."""
        return self._pool.call(
            routes.HTTP_INPUT_START, server_id, timeout=timeout, idempotency_key=idempotency_key
        )

    def stop_http_input_server(
        self, server_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> dict[str, Any]:
        """Have a listener accept no more requests."""
        return self._pool.call(
            routes.HTTP_INPUT_STOP, server_id, timeout=timeout, idempotency_key=idempotency_key
        )

    def delete_http_input_server(
        self, server_id: str, *, timeout: Timeout = UNSET
    ) -> dict[str, Any]:
        """Stop a listener and forget it."""
        return self._pool.call(routes.HTTP_INPUT_DELETE, server_id, timeout=timeout)

    def trigger_webhook(
        self,
        request: WebhookTriggerRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> WebhookTriggerResponse:
        """Do what a request to a listener would do, and return what came of it."""
        try:
            server_id, body = bodies.with_server(WebhookTriggerRequest, request)
            return self._pool.call(
                routes.HTTP_INPUT_TRIGGER,
                server_id,
                body=body,
                timeout=timeout,
                idempotency_key=idempotency_key,
            )
        finally:
            body = None
            del request

    def get_http_input_metrics(self, server_id: str, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Return a listener's figures."""
        return self._pool.call(routes.HTTP_INPUT_METRICS, server_id, timeout=timeout)


def _server(name: str | None) -> dict[str, str] | None:
    named = bodies.optional_text("server_name", name or None)
    return None if named is None else {"server": named}
