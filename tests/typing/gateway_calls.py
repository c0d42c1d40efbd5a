"""What a checker infers for the typed gateway client. Checked, never run: see test_inference.py."""

from __future__ import annotations

import ssl
from typing import Any, assert_type

import msgspec

from ostiary.config import Limits
from ostiary.gateway import (
    AsyncChatStream,
    AsyncGatewayClient,
    ChatChunk,
    ChatReply,
    ChatStream,
    DirectProviderClient,
    Embeddings,
    GatewayClient,
    InvalidToolCall,
    Message,
    ModelCategory,
    ModelRef,
    StaticModelSelector,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageTotals,
    image,
    json_schema,
    strict_schema,
)


class City(msgspec.Struct):
    name: str


def search(pattern: str, limit: int = 3) -> list[str]:
    return [pattern] * limit


def construct(context: ssl.SSLContext) -> None:
    GatewayClient()
    GatewayClient(DirectProviderClient(allow=True), models=StaticModelSelector("openai:x"))
    AsyncGatewayClient(timeout=None, idle_timeout=None, total_timeout=5, max_retries=0)
    AsyncGatewayClient(max_connections=3, token_budget=5, limits=Limits(body=1), parser="h11")
    GatewayClient(ssl_context=context, expected_uid=0, on_request=print, on_retry=print)


def blocking(client: GatewayClient) -> None:
    reply = client.chat("x")
    assert_type(reply, ChatReply[Any])
    assert_type(reply.text, str)
    assert_type(reply.finish_reason, str | None)
    assert_type(reply.usage, Usage | None)
    assert_type(reply.tool_calls, tuple[ToolCall, ...])
    assert_type(reply.invalid_tool_calls, tuple[InvalidToolCall, ...])
    assert_type(reply.message, Message)
    assert_type(reply.tool_calls[0].json(), dict[str, Any])

    typed = client.chat("x", response_format=City, temperature=0.5, repairs=2)
    assert_type(typed, ChatReply[City])
    assert_type(typed.parsed, City | None)
    assert_type(client.chat("x", response_format=list[City]).parsed, list[City] | None)
    assert_type(client.chat("x", response_format={"type": "object"}), ChatReply[Any])

    talk: list[Message | dict[str, Any]] = [
        Message.system("x"),
        Message.user("y", image(b"z")),
        {"role": "user", "content": "z"},
    ]
    client.chat(talk, model=ModelCategory.TRIAGE, tools=[search, City, Tool.of(search), {}])
    client.chat(
        talk,
        model=ModelRef("openai", "x"),
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=5,
        max_completion_tokens=5,
        top_p=0.5,
        seed=1,
        stop=["x"],
        reasoning_effort="low",
        user="u",
        extra={"logprobs": True},
        strict=False,
        fallback=True,
        timeout=None,
        idempotency_key=True,
    )

    stream = client.stream_chat("x", response_format=City, idle_timeout=5, total_timeout=None)
    assert_type(stream, ChatStream)
    assert_type(iter(stream), ChatStream)
    assert_type(next(stream), ChatChunk)
    assert_type(next(stream).tool_calls, tuple[ToolCallDelta, ...])
    assert_type(stream.open(), ChatStream)
    assert_type(stream.collect(), ChatReply[Any])
    assert_type(stream.reply, ChatReply[Any])
    with stream as same:
        assert_type(same, ChatStream)
    stream.close()

    found = client.embed(["x"], dimensions=3, batch_size=5, concurrency=2, deduplicate=True)
    assert_type(found, Embeddings)
    assert_type(found.vectors, list[list[float]])
    assert_type(client.embed("x").usage, Usage)
    assert_type(client.health(), bool)
    assert_type(client.usage, UsageTotals)
    assert_type(client.usage.by_model, dict[str, Usage])
    assert_type(client.chat_raw({}, "openai:x", timeout=5), ChatReply[Any])
    assert_type(client.stream_raw({}), ChatStream)
    with client as opened:
        assert_type(opened, GatewayClient)
    client.close()


async def awaited(client: AsyncGatewayClient) -> None:
    assert_type(await client.chat("x"), ChatReply[Any])
    assert_type((await client.chat("x", response_format=City)).parsed, City | None)
    stream = client.stream_chat("x")
    assert_type(stream, AsyncChatStream)
    assert_type(await stream, AsyncChatStream)
    async for chunk in stream:
        assert_type(chunk, ChatChunk)
    async with client.stream_chat("x") as same:
        assert_type(same, AsyncChatStream)
    assert_type(await stream.collect(), ChatReply[Any])
    stream.close()
    assert_type(await client.embed("x"), Embeddings)
    assert_type(await client.health(), bool)
    async with client as opened:
        assert_type(opened, AsyncGatewayClient)
    await client.aclose()


def made() -> None:
    tool = Tool.of(search, strict=True)
    assert_type(tool, Tool)
    assert_type(tool.wire(), dict[str, Any])
    assert_type(json_schema(City), dict[str, Any])
    assert_type(strict_schema({}), dict[str, Any])
    assert_type(Usage() + Usage(), Usage)
    call = ToolCall("i", "n")
    assert_type(call.result("x"), Message)
    tool.run(call)
