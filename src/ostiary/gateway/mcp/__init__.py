"""Tools of MCP servers behind the gateway, called as the run's token allows (docs/mcp.md).

Needs the extra `mcp`, which is imported by the first call. It stands apart on purpose:
`ostiary.gateway` does not export it. Neighbour: the embedded gateway serves the other side.
"""

from __future__ import annotations

from .client import MCPGatewayClient, Progress
from .models import MCPTool, MCPToolResult

__all__ = ["MCPGatewayClient", "MCPTool", "MCPToolResult", "Progress"]
