"""What a checker infers for tools, telemetry and stand-ins. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

from ostiary import telemetry
from ostiary.gateway import GatewayAccess, TransactionToken
from ostiary.gateway.mcp import MCPGatewayClient, MCPTool, MCPToolResult
from ostiary.testing.mocks import (
    MockContext,
    MockEmbeddings,
    MockGatewayClient,
    MockLLM,
    MockTratClient,
)


async def tools(access: GatewayAccess) -> None:
    async with MCPGatewayClient(access=access, timeout=None) as client:
        assert_type(client, MCPGatewayClient)
        assert_type(await client.invoke_tool("s", "t"), dict[str, Any])
        assert_type(await client.call_tool("s", "t", {"a": 1}, timeout=3), MCPToolResult)
        assert_type(await client.list_tools("s"), list[MCPTool])
        assert_type(await client.allowed_tools(), dict[str, tuple[str, ...]])


async def progress(client: MCPGatewayClient) -> None:
    async def note(progress: float, total: float | None, message: str | None) -> None: ...

    await client.call_tool("s", "t", on_progress=note)
    await client.call_tool("s", "t", on_progress=print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def told() -> None:
    assert_type(telemetry.enabled(), bool)
    with telemetry.operation("chat", provider="openai", name="m") as call:
        assert_type(call, telemetry.Operation)
        call.reply(input_tokens=1, finish_reasons=["stop"])
    telemetry.operation("talk", name="m")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def stand_ins(context: MockContext) -> None:
    assert_type(MockGatewayClient().get_endpoint("openai"), str)
    assert_type(MockTratClient().get_token(), TransactionToken)
    assert_type(context.llm, MockLLM)
    assert_type(context.create_llm_client("analysis"), MockLLM)
    assert_type(context.embeddings, MockEmbeddings)
