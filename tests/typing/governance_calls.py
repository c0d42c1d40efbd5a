"""What a checker infers for the governance clients. Checked, never run: see test_inference.py."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any, Literal, assert_type

from ostiary import Secret
from ostiary.config import Limits
from ostiary.errors import APIError, NotFoundError, PermissionDeniedError
from ostiary.governance import (
    AgentResult,
    AsyncClient,
    AsyncGovernanceClient,
    AsyncRunStream,
    ChatResponse,
    Client,
    GovernanceBlock,
    GovernanceClient,
    HealthResponse,
    HestiaAPIError,
    HestiaConnectError,
    HestiaDeadlineError,
    HestiaError,
    InvalidInput,
    NotFound,
    RunResponse,
    RunStream,
    StreamEvent,
    SystemMetrics,
    SystemStatus,
    TraceResponse,
    collect_stream,
    is_token_event,
)


def construct(context: ssl.SSLContext) -> None:
    assert_type(Client(), GovernanceClient)
    assert_type(AsyncClient(), AsyncGovernanceClient)
    Client("http://localhost:8000", "key", 30.0, 3)
    Client(base_url="unix:///run/g.sock", api_key=Secret("k"), timeout=None, retries=0)
    Client(strict=True, idle_timeout=None, max_connections=5, limits=Limits(body=1), parser="h11")
    AsyncClient("https://h", ssl_context=context, expected_uid=0, on_retry=print)


def blocking(client: Client) -> None:
    run = client.run("x", "s", "a", "fast", 5000, False, timeout=None, idempotency_key=True)
    assert_type(run, RunResponse)
    assert_type(run.result, str)
    assert_type(run.output, str | None)
    assert_type(run.decision, Literal["ALLOW", "THROTTLE", "BLOCK"] | None)
    assert_type(run.text, str | None)
    stream = client.run_stream("x", timeout=5, idle_timeout=1.5, strict=True)
    assert_type(stream, RunStream)
    assert_type(iter(stream), RunStream)
    assert_type(next(stream), StreamEvent)
    events: Iterator[StreamEvent] = stream
    with stream as same:
        assert_type(same, RunStream)
    for event in events:
        assert_type(event.data, dict[str, Any])
        assert_type(
            event.type,
            Literal["start", "token", "delta", "tool_call", "final", "error", "done"],
        )
        if is_token_event(event):
            assert_type(event, StreamEvent)
    assert_type(stream.collect(), RunResponse)
    assert_type(collect_stream(stream), RunResponse)
    assert_type(collect_stream([StreamEvent("done")]), RunResponse)
    assert_type(client.chat.run("hi", session_id="s"), ChatResponse)
    assert_type(client.chat("hi"), ChatResponse)
    assert_type(client.chat.send("hi"), ChatResponse)
    assert_type(client.agents.run("a", "t", {"depth": 2}), AgentResult)
    assert_type(client.agents("a", "t"), AgentResult)
    assert_type(client.system.status(), SystemStatus)
    assert_type(client.system.health(), HealthResponse)
    assert_type(client.system.config(), dict[str, Any])
    assert_type(client.system.metrics(), SystemMetrics)
    assert_type(client.secrets.get("k"), str)
    assert_type(client.secrets("k"), str)
    client.secrets.set("k", Secret("v"), provider="mail")
    client.secrets.delete("k", timeout=1)
    assert_type(client.governance.explain("WRITE", {"path": "/x"}), dict[str, Any])
    assert_type(client.governance.status(), dict[str, Any])
    assert_type(client.governance.trace("t"), dict[str, Any] | None)
    assert_type(client.governance.get_trace("t"), TraceResponse | None)
    with client as entered:
        assert_type(entered, GovernanceClient)
    client.close()


async def awaited(client: AsyncClient, other: Client) -> None:
    assert_type(await client.run_async("x", session_id="s"), RunResponse)
    assert_type(client.run("x"), RunResponse)
    stream = client.run_stream("x")
    assert_type(stream, AsyncRunStream)
    async for event in stream:
        assert_type(event, StreamEvent)
    async with stream as same:
        assert_type(same, AsyncRunStream)
    await stream.aclose()
    assert_type(await stream.collect(), RunResponse)
    assert_type(await collect_stream(client.run_stream("x")), RunResponse)
    assert_type(await client.chat.run_async("hi"), ChatResponse)
    assert_type(client.chat.run("hi"), ChatResponse)
    assert_type(client.chat("hi"), ChatResponse)
    assert_type(await client.agents.run_async("a", "t"), AgentResult)
    assert_type(await client.system.status_async(), SystemStatus)
    assert_type(await client.system.config_async(), dict[str, Any])
    assert_type(await client.system.metrics_async(), SystemMetrics)
    assert_type(await client.system.health_async(), HealthResponse)
    assert_type(await client.secrets.get_async("k"), str)
    await client.secrets.set_async("k", "v")
    await client.secrets.delete_async("k")
    assert_type(client.secrets.get("k"), str)
    assert_type(await client.governance.explain_async("WRITE"), dict[str, Any])
    assert_type(await client.governance.status_async(), dict[str, Any])
    assert_type(await client.governance.trace_async("t"), dict[str, Any] | None)
    assert_type(await client.governance.get_trace_async("t"), TraceResponse | None)
    assert_type(await other.chat.run_async("hi"), ChatResponse)
    assert_type(await other.governance.trace_async("t"), dict[str, Any] | None)
    async with client as entered:
        assert_type(entered, AsyncGovernanceClient)
    await client.aclose()


def caught(client: Client) -> None:
    try:
        client.run("x")
    except GovernanceBlock as block:
        assert_type(block.trace_id, str)
        assert_type(block.details, dict[str, Any] | None)
        refused: PermissionDeniedError = block
        print(refused.status)
    except (InvalidInput, NotFound) as error:
        assert_type(error.code, str)
        answered: HestiaAPIError = error
        shared: APIError = answered
        print(shared.status)
    except HestiaConnectError as error:
        unreachable: ConnectionError = error
        print(unreachable, error.sent)
    except HestiaDeadlineError as error:
        late: TimeoutError = error
        print(late)
    except HestiaError as error:
        assert_type(error.code, str)
        assert_type(error.message, str)
        assert_type(error.trace_id, str | None)
    missing: NotFoundError = NotFound("gone", "t-1")
    print(missing, HestiaError("CODE", "what happened", "t-1"), GovernanceBlock("t-1"))
