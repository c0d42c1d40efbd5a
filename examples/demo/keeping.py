"""What an agent tells the runtime, and what it must be told: its tool, task, secret, sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ostiary.runtime import (
    Agent,
    AgentExecution,
    KnowledgeItem,
    KnowledgeSourceType,
    ReviewStatus,
    SignedTool,
    SigningKey,
    Tool,
    ToolProvider,
    ToolSchema,
    VectorMetadata,
    VectorSearchRequest,
    VectorSearchResponse,
    verify_tool,
)

from .services import DemoError

if TYPE_CHECKING:
    from .agents import Agent as DemoAgent

REVIEWER = "reviewer@example.com"
UNDER_ANALYSIS = {ReviewStatus.SUBMITTED, ReviewStatus.PENDING_ANALYSIS, ReviewStatus.ANALYZING}


def described(name: str) -> Agent:
    return Agent(
        id=name,
        name=name,
        description="One of the demonstration's agents",
        system_prompt="Say what you were told.",
        tools=[],
        model="echo",
        temperature=0.0,
        top_p=1.0,
        max_tokens=256,
    )


def tool_of(name: str) -> Tool:
    return Tool(
        name=f"{name}-adder",
        description="Adds two numbers",
        schema=ToolSchema(
            properties={"a": {"type": "number"}, "b": {"type": "number"}}, required=["a", "b"]
        ),
        provider=ToolProvider(name=name),
    )


def sentence(name: str, task: str) -> KnowledgeItem:
    return KnowledgeItem(
        id=f"{name}/{task}",
        content=task,
        metadata=VectorMetadata(
            source=name,
            source_type=KnowledgeSourceType.DOCUMENT,
            timestamp=datetime.now(UTC),
            agent_id=name,
        ),
    )


def question(name: str, task: str) -> VectorSearchRequest:
    return VectorSearchRequest(query=task, agent_id=name, limit=1, similarity_threshold=0.9)


# --- what comes back


def verified(agent: DemoAgent, signed: SignedTool, key: SigningKey) -> None:
    """Take a signed tool: the one that was handed in, with a signature that fits."""
    verify_tool(signed, key)
    if signed.tool.name != f"{agent.name}-adder":
        raise DemoError("the runtime signed somebody else's tool")
    agent.signed += 1


def worked(agent: DemoAgent, task: str, done: AgentExecution) -> None:
    """Take the end of an execution: the built-in model says what it was told."""
    result: Any = done.result
    if done.status != "completed" or task not in str(result):
        raise DemoError(f"an execution ended as {done.status}: {result}")
    agent.worked += 1


def recalled(agent: DemoAgent, task: str, found: VectorSearchResponse) -> None:
    """Take what was remembered: the agent's own sentence, and of this round."""
    if [one.item.id for one in found.results] != [f"{agent.name}/{task}"]:
        raise DemoError("the runtime remembers something else")
    agent.known += 1


def kept(agent: DemoAgent, task: str, value: str) -> None:
    if value != task:
        raise DemoError("the runtime gave out somebody else's secret")
    agent.kept += 1
