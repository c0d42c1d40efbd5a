"""What an agent does with the runtime, on an event loop and on a thread.

Once it registers and has a tool of its own reviewed, signed and verified. In each round it
works, keeps a secret and remembers a sentence; whatever it gets back must be its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ostiary.runtime import (
    Agent,
    AgentExecution,
    AsyncRuntimeClient,
    HumanReviewDecision,
    KnowledgeItem,
    KnowledgeSourceType,
    ReviewSessionCreate,
    RuntimeClient,
    SecretRequest,
    SignedTool,
    SigningKey,
    SigningRequest,
    Tool,
    ToolProvider,
    ToolSchema,
    VectorMetadata,
    VectorSearchRequest,
    VectorSearchResponse,
    verify_tool,
)

from .services import TIMEOUT, DemoError

if TYPE_CHECKING:
    from .agents import Agent as DemoAgent

REVIEWER = "reviewer@example.com"


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


# --- on an event loop


async def join_on_loop(agent: DemoAgent, runtime: AsyncRuntimeClient, key: SigningKey) -> None:
    with agent.runtime.call():
        await runtime.create_agent(described(agent.name))
    agent.registered += 1
    with agent.runtime.call():
        request = ReviewSessionCreate(tool=tool_of(agent.name), submitted_by=agent.name)
        review_id = (await runtime.submit_tool_for_review(request)).review_id
    with agent.runtime.call():
        decision = HumanReviewDecision(decision="approve", reviewer_id=REVIEWER)
        await runtime.submit_human_review_decision(review_id, decision)
    with agent.runtime.call():
        order = SigningRequest(review_id=review_id, signing_key_id=key.key_id)
        await runtime.sign_approved_tool(order)
    with agent.runtime.call():
        signed = await runtime.get_signed_tool(review_id)
    verified(agent, signed, key)


async def keep_on_loop(agent: DemoAgent, runtime: AsyncRuntimeClient, task: str) -> None:
    with agent.runtime.call():
        started = await runtime.execute_agent(agent.name, {"prompt": task})
        done = await runtime.wait_for_execution(agent.name, started.execution_id, TIMEOUT)
    worked(agent, task, done)
    name = f"round-{agent.kept}"
    with agent.runtime.call():
        await runtime.store_secret(
            SecretRequest(agent_id=agent.name, secret_name=name, secret_value=task)
        )
    with agent.runtime.call():
        value = await runtime.get_secret(agent.name, name)
    kept(agent, task, value)
    with agent.runtime.call():
        await runtime.add_knowledge_item(sentence(agent.name, task))
    with agent.runtime.call():
        found = await runtime.search_knowledge(question(agent.name, task))
    recalled(agent, task, found)


# --- the same on a thread


def join_on_thread(agent: DemoAgent, runtime: RuntimeClient, key: SigningKey) -> None:
    with agent.runtime.call():
        runtime.create_agent(described(agent.name))
    agent.registered += 1
    with agent.runtime.call():
        request = ReviewSessionCreate(tool=tool_of(agent.name), submitted_by=agent.name)
        review_id = runtime.submit_tool_for_review(request).review_id
    with agent.runtime.call():
        decision = HumanReviewDecision(decision="approve", reviewer_id=REVIEWER)
        runtime.submit_human_review_decision(review_id, decision)
    with agent.runtime.call():
        order = SigningRequest(review_id=review_id, signing_key_id=key.key_id)
        runtime.sign_approved_tool(order)
    with agent.runtime.call():
        signed = runtime.get_signed_tool(review_id)
    verified(agent, signed, key)


def keep_on_thread(agent: DemoAgent, runtime: RuntimeClient, task: str) -> None:
    with agent.runtime.call():
        started = runtime.execute_agent(agent.name, {"prompt": task})
        done = runtime.wait_for_execution(agent.name, started.execution_id, TIMEOUT)
    worked(agent, task, done)
    name = f"round-{agent.kept}"
    with agent.runtime.call():
        runtime.store_secret(
            SecretRequest(agent_id=agent.name, secret_name=name, secret_value=task)
        )
    with agent.runtime.call():
        value = runtime.get_secret(agent.name, name)
    kept(agent, task, value)
    with agent.runtime.call():
        runtime.add_knowledge_item(sentence(agent.name, task))
    with agent.runtime.call():
        found = runtime.search_knowledge(question(agent.name, task))
    recalled(agent, task, found)
