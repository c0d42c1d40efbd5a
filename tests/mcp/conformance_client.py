"""The client that the protocol's conformance suite tests: `python conformance_client.py URL`.

Our sessions, as `MCPGatewayClient` opens them, at the suite's own URL instead of `/mcp/NAME`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any
from urllib.parse import urlsplit

from ostiary.gateway.mcp.session import Sessions
from ostiary.testing.mocks import MockGatewayClient

ARGUMENTS: dict[str, dict[str, Any]] = {"add_numbers": {"a": 5, "b": 3}}


async def main(url: str) -> None:
    found = urlsplit(url)
    sessions = Sessions(
        MockGatewayClient(is_gateway=True),
        f"{found.scheme}://{found.netloc}",
        max_retries=0,
        limits=None,
        path=lambda _: found.path or "/",
    )
    try:
        tools = await sessions.list_tools("suite", 20.0)
        if os.environ.get("MCP_CONFORMANCE_SCENARIO") != "initialize":
            for tool in tools:
                given = ARGUMENTS.get(tool.name, {})
                result = await sessions.call_tool("suite", tool.name, given, 20.0, None)
                print(tool.name, result.text)
    finally:
        await sessions.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1]))
