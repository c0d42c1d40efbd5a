"""A tool that is called through the gateway is a span, and its parent's trace goes along."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from ostiary.devserver import GatewayOptions, running
from ostiary.gateway import access_from_environment
from ostiary.gateway.mcp import MCPGatewayClient

from .conftest import Recorded

TOOLS = Path(__file__).parents[1] / "mcp" / "tools_server.py"


def test_a_tool_call(recorded: Recorded) -> None:
    async def main(environment: dict[str, str]) -> None:
        access = access_from_environment(environment)
        async with MCPGatewayClient(access=access) as client:
            with recorded.tracer.start_as_current_span("mine"):
                await client.call_tool("tools", "echo", {"text": "private"})

    options = GatewayOptions(
        mcp={"tools": (sys.executable, str(TOOLS))}, allowed_tools={"tools": ("echo",)}
    )
    with running(demo=True, tcp=False, gateway=options) as server:
        asyncio.run(main(server.gateway.environment))
    spans: dict[str, Any] = {span.name: span for span in recorded.spans}
    span = spans["execute_tool echo"]
    assert span.attributes["gen_ai.tool.name"] == "echo"
    assert span.parent.span_id == spans["mine"].context.span_id
    assert "private" not in recorded.everything()
