"""What a checker infers for the runtime clients. Checked, never run: see test_inference.py."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, assert_type

from ostiary import Secret
from ostiary.config import Limits
from ostiary.errors import APIError as AnyAPIError
from ostiary.runtime import (
    Agent,
    AgentDeployResponse,
    AgentExecution,
    AgentMessage,
    AgentState,
    AgentStatusResponse,
    AgentSummary,
    AsyncClient,
    AsyncEvents,
    AsyncPages,
    AsyncRuntimeClient,
    Client,
    Events,
    FeatureNotAvailableError,
    KnowledgeItem,
    NotFoundError,
    Pages,
    ReviewSession,
    ReviewSessionList,
    ReviewStatus,
    ReviewTimeoutError,
    RuntimeClient,
    RuntimeEvent,
    ScheduleSummary,
    SubmissionOutcome,
    SymbiontError,
    Tool,
    VectorSearchResponse,
    WorkflowExecutionResponse,
)


def construct(context: ssl.SSLContext) -> None:
    assert_type(Client(), RuntimeClient)
    assert_type(AsyncClient(), AsyncRuntimeClient)
    Client("key", "http://localhost:8080/api/v1")
    Client(api_key=Secret("k"), base_url="unix:///run/r.sock", timeout=None, max_retries=0)
    Client(max_connections=5, limits=Limits(body=1), parser="h11", ssl_context=context)
    AsyncClient(base_url="https://h/api/v1", expected_uid=0, on_retry=print)


def blocking(client: Client, agent: Agent, raw: Mapping[str, Any]) -> None:
    assert_type(client.list_agents(), list[str])
    assert_type(client.list_agent_details(timeout=1.5), list[AgentSummary])
    status = client.get_agent_status("a", timeout=None)
    assert_type(status, AgentStatusResponse)
    assert_type(status.state, AgentState)
    assert_type(client.create_agent(agent, idempotency_key=True), dict[str, Any])
    assert_type(client.create_agent(raw, idempotency_key="k"), dict[str, Any])
    assert_type(client.execute_agent("a", {"n": [1]}), AgentExecution)
    assert_type(client.receive_messages("a"), list[AgentMessage])
    assert_type(client.list_review_sessions(1, 10, ReviewStatus.SIGNED, None), ReviewSessionList)
    pages = client.iter_review_sessions("signed", limit=5)
    assert_type(pages, Pages[ReviewSession])
    for session in pages:
        assert_type(session, ReviewSession)
        assert_type(session.tool, Tool)
    assert_type(client.wait_for_review_completion("r", 5, on_update=print), ReviewSession)
    assert_type(client.wait_for_agent("a", AgentState.IDLE, None), AgentStatusResponse)
    assert_type(client.wait_for_agent("a", ["idle", AgentState.ERROR]), AgentStatusResponse)
    assert_type(client.wait_for_deployment("d", poll_interval=0.5), AgentDeployResponse)
    assert_type(client.wait_for_workflow("w"), WorkflowExecutionResponse)
    assert_type(client.submit_tools_for_review([raw], 4), list[SubmissionOutcome])
    assert_type(client.get_secret("a", "n"), str)
    assert_type(client.search_knowledge({"query": "q"}), VectorSearchResponse)
    assert_type([item.id for item in client.iter_knowledge()], list[str])
    assert_type(client.schedules.list(), list[ScheduleSummary])
    assert_type(client.supports("mcp"), bool)
    assert_type(client.prometheus_metrics(), str)
    with client.events("a", ["agent.created"], idle_timeout=5) as stream:
        assert_type(stream, Events)
        assert_type(next(stream), RuntimeEvent)
        assert_type(stream.last_event_id, str | None)
    with client as same:
        assert_type(same, RuntimeClient)
    assert_type(client.close(), None)


async def asynchronous(client: AsyncClient, raw: Mapping[str, Any]) -> None:
    assert_type(await client.list_agents(), list[str])
    assert_type(await client.get_agent_status("a"), AgentStatusResponse)
    assert_type(await client.execute_workflow(raw, idempotency_key="k"), dict[str, Any])
    assert_type(await client.wait_for_review_completion("r"), ReviewSession)
    pages = client.iter_knowledge("a", limit=5)
    assert_type(pages, AsyncPages[KnowledgeItem])
    async for item in pages:
        assert_type(item, KnowledgeItem)
    assert_type(await client.submit_tools_for_review([raw]), list[SubmissionOutcome])
    assert_type(await client.schedules.list(), list[ScheduleSummary])
    stream = client.events()
    assert_type(stream, AsyncEvents)
    assert_type(await anext(stream), RuntimeEvent)
    async with client as same:
        assert_type(same, AsyncRuntimeClient)
    assert_type(await client.aclose(), None)


def errors(error: FeatureNotAvailableError, late: ReviewTimeoutError) -> None:
    wide: SymbiontError = error
    missing: NotFoundError = error
    shared: AnyAPIError = missing
    builtin: TimeoutError = late
    assert_type(wide.status_code, int | None)
    assert_type(wide.response_text, str | None)
    assert_type(error.feature, str | None)
    print(shared, builtin)
