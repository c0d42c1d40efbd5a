"""What an agent does: it joins, then goes through all five domains in each of its rounds.

Whatever comes back must be its own, which `agents`, `keeping` and `ordering` judge.
"""

from __future__ import annotations

from ostiary import AsyncOstiary
from ostiary.gateway import ModelCategory
from ostiary.governance import GovernanceBlock
from ostiary.runtime import (
    HumanReviewDecision,
    ReviewSessionCreate,
    SecretRequest,
    SigningKey,
    SigningRequest,
)
from ostiary.vault import AsyncVaultClient

from .. import keeping, ordering
from ..agents import Agent, Shared
from ..services import CREDENTIALS, TIMEOUT
from .pausing import async_sleep


async def take_part(
    agent: Agent, client: AsyncOstiary, person: AsyncOstiary, shared: Shared, rounds: int
) -> None:
    """Join, and go that many rounds.

    `client` is what all agents share; the vault's is each agent's own, since it logs in with the
    agent's key. `person` is somebody who may approve what the agents ask for.
    """
    async with AsyncVaultClient(
        agent.name, socket_path=shared.socket, key_path=agent.key, timeout=TIMEOUT
    ) as vault:
        await have_a_tool_signed(agent, client, shared.signer)
        await ask_for_leave(agent, client, person)
        for task, other in agent.tasks(rounds, shared.stopped):
            await act(agent, vault, client, task)
            await try_something_else(agent, client, other)
            await remember(agent, client, task)
            with agent.call("workflow"):
                spec = ordering.written(agent, task)
                result = await client.workflow.execute_workflow(spec, correlation_id=agent.name)
            ordering.ran(agent, task, result, shared.pipeline)


async def have_a_tool_signed(agent: Agent, client: AsyncOstiary, signer: SigningKey) -> None:
    """Register with the runtime; hand in a tool, have it approved and signed, and verify it."""
    runtime = client.runtime
    with agent.call("runtime"):
        await runtime.create_agent(keeping.described(agent.name))
    agent.registered += 1
    with agent.call("runtime"):
        request = ReviewSessionCreate(tool=keeping.tool_of(agent.name), submitted_by=agent.name)
        review_id = (await runtime.submit_tool_for_review(request)).review_id
    with agent.call("runtime"):
        # It is analysed first, and nobody may decide before. Who asks seldom keeps nobody up.
        gap = 0.05
        while (await runtime.get_review_session(review_id)).status in keeping.UNDER_ANALYSIS:
            await async_sleep(gap)
            gap = min(2 * gap, 2.0)
    with agent.call("runtime"):
        decision = HumanReviewDecision(decision="approve", reviewer_id=keeping.REVIEWER)
        await runtime.submit_human_review_decision(review_id, decision)
    with agent.call("runtime"):
        order = SigningRequest(review_id=review_id, signing_key_id=signer.key_id)
        await runtime.sign_approved_tool(order)
    with agent.call("runtime"):
        signed = await runtime.get_signed_tool(review_id)
    keeping.verified(agent, signed, signer)


async def ask_for_leave(agent: Agent, client: AsyncOstiary, person: AsyncOstiary) -> None:
    """Ask for a person's approval, have it given by somebody else, and use it."""
    action, principal = ordering.risky(agent)
    with agent.call("workflow"):
        token = await client.workflow.request_approval(action, principal, ordering.REASON)
    with agent.call("workflow"):
        await person.workflow.approve(token)
    with agent.call("workflow"):
        context = ordering.judged(action, principal)
        decision = await client.workflow.evaluate_policy(context, approval_token=token)
    ordering.passed(agent, decision)


async def act(agent: Agent, vault: AsyncVaultClient, client: AsyncOstiary, task: str) -> None:
    """Ask governance, ask a model; then lease and use credentials, and stream the same two."""
    governance, gateway = client.governance, client.gateway
    with agent.call("governance"):
        answer = await governance.run_async(task, agent_id=agent.name)
    agent.answered(task, answer)
    prompt = f"How would you {task}?"
    with agent.call("gateway"):
        reply = await gateway.chat(prompt, model=ModelCategory.TRIAGE)
    agent.told(prompt, reply)
    # Closing the vault's client gives back what a failure left behind.
    leases = [vault.lease(path) for path in CREDENTIALS]
    for path, lease in zip(CREDENTIALS, leases, strict=True):
        with agent.call("vault"):
            await lease.acquire()
        agent.lent(path, lease.value)
    with agent.call("vault"):
        await vault.sign("demo/webhook", task)
    with agent.call("vault"):
        await vault.http_header("demo/openai")
    with agent.call("governance"):
        events = [event async for event in governance.run_stream(task, agent_id=agent.name)]
    agent.streamed(task, events)
    prompt = f"What is there to {task}?"
    with agent.call("gateway"):
        stream = gateway.stream_chat(prompt)
        pieces = [chunk.text async for chunk in stream if chunk.text]
    agent.told(prompt, stream.reply, pieces)
    for lease in leases:
        with agent.call("vault"):
            await lease.release()
        agent.released += 1


async def try_something_else(agent: Agent, client: AsyncOstiary, task: str) -> None:
    """Ask governance for what it must throttle or block."""
    with agent.call("governance"):
        try:
            answer = await client.governance.run_async(task, agent_id=agent.name)
        except GovernanceBlock as block:
            agent.blocked(task, block)
        else:
            agent.answered(task, answer)


async def remember(agent: Agent, client: AsyncOstiary, task: str) -> None:
    """Have the runtime do the task, keep a secret and find a sentence again."""
    runtime = client.runtime
    with agent.call("runtime"):
        started = await runtime.execute_agent(agent.name, {"prompt": task})
        done = await runtime.wait_for_execution(agent.name, started.execution_id, TIMEOUT)
    keeping.worked(agent, task, done)
    name = f"round-{agent.kept}"
    with agent.call("runtime"):
        await runtime.store_secret(
            SecretRequest(agent_id=agent.name, secret_name=name, secret_value=task)
        )
    with agent.call("runtime"):
        value = await runtime.get_secret(agent.name, name)
    keeping.kept(agent, task, value)
    with agent.call("runtime"):
        await runtime.add_knowledge_item(keeping.sentence(agent.name, task))
    with agent.call("runtime"):
        found = await runtime.search_knowledge(keeping.question(agent.name, task))
    keeping.recalled(agent, task, found)
