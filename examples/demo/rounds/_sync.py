# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""What an agent does: it joins, then goes through all five domains in each of its rounds.

Whatever comes back must be its own, which `agents`, `keeping` and `ordering` judge.
"""

from __future__ import annotations

from ostiary import Ostiary
from ostiary.gateway import ModelCategory
from ostiary.governance import GovernanceBlock
from ostiary.runtime import (
    HumanReviewDecision,
    ReviewSessionCreate,
    SecretRequest,
    SigningKey,
    SigningRequest,
)
from ostiary.vault import VaultClient

from .. import keeping, ordering
from ..agents import Agent, Shared
from ..services import CREDENTIALS, TIMEOUT
from .pausing import sleep


def take_part(agent: Agent, client: Ostiary, person: Ostiary, shared: Shared, rounds: int) -> None:
    """Join, and go that many rounds.

    `client` is what all agents share; the vault's is each agent's own, since it logs in with the
    agent's key. `person` is somebody who may approve what the agents ask for.
    """
    with VaultClient(
        agent.name, socket_path=shared.socket, key_path=agent.key, timeout=TIMEOUT
    ) as vault:
        have_a_tool_signed(agent, client, shared.signer)
        ask_for_leave(agent, client, person)
        for task, other in agent.tasks(rounds, shared.stopped):
            act(agent, vault, client, task)
            try_something_else(agent, client, other)
            remember(agent, client, task)
            with agent.call("workflow"):
                spec = ordering.written(agent, task)
                result = client.workflow.execute_workflow(spec, correlation_id=agent.name)
            ordering.ran(agent, task, result, shared.pipeline)


def have_a_tool_signed(agent: Agent, client: Ostiary, signer: SigningKey) -> None:
    """Register with the runtime; hand in a tool, have it approved and signed, and verify it."""
    runtime = client.runtime
    with agent.call("runtime"):
        runtime.create_agent(keeping.described(agent.name))
    agent.registered += 1
    with agent.call("runtime"):
        request = ReviewSessionCreate(tool=keeping.tool_of(agent.name), submitted_by=agent.name)
        review_id = (runtime.submit_tool_for_review(request)).review_id
    with agent.call("runtime"):
        # It is analysed first, and nobody may decide before. Who asks seldom keeps nobody up.
        gap = 0.05
        while (runtime.get_review_session(review_id)).status in keeping.UNDER_ANALYSIS:
            sleep(gap)
            gap = min(2 * gap, 2.0)
    with agent.call("runtime"):
        decision = HumanReviewDecision(decision="approve", reviewer_id=keeping.REVIEWER)
        runtime.submit_human_review_decision(review_id, decision)
    with agent.call("runtime"):
        order = SigningRequest(review_id=review_id, signing_key_id=signer.key_id)
        runtime.sign_approved_tool(order)
    with agent.call("runtime"):
        signed = runtime.get_signed_tool(review_id)
    keeping.verified(agent, signed, signer)


def ask_for_leave(agent: Agent, client: Ostiary, person: Ostiary) -> None:
    """Ask for a person's approval, have it given by somebody else, and use it."""
    action, principal = ordering.risky(agent)
    with agent.call("workflow"):
        token = client.workflow.request_approval(action, principal, ordering.REASON)
    with agent.call("workflow"):
        person.workflow.approve(token)
    with agent.call("workflow"):
        context = ordering.judged(action, principal)
        decision = client.workflow.evaluate_policy(context, approval_token=token)
    ordering.passed(agent, decision)


def act(agent: Agent, vault: VaultClient, client: Ostiary, task: str) -> None:
    """Ask governance, ask a model; then lease and use credentials, and stream the same two."""
    governance, gateway = client.governance, client.gateway
    with agent.call("governance"):
        answer = governance.run(task, agent_id=agent.name)
    agent.answered(task, answer)
    prompt = f"How would you {task}?"
    with agent.call("gateway"):
        reply = gateway.chat(prompt, model=ModelCategory.TRIAGE)
    agent.told(prompt, reply)
    # Closing the vault's client gives back what a failure left behind.
    leases = [vault.lease(path) for path in CREDENTIALS]
    for path, lease in zip(CREDENTIALS, leases, strict=True):
        with agent.call("vault"):
            lease.acquire()
        agent.lent(path, lease.value)
    with agent.call("vault"):
        vault.sign("demo/webhook", task)
    with agent.call("vault"):
        vault.http_header("demo/openai")
    with agent.call("governance"):
        events = [event for event in governance.run_stream(task, agent_id=agent.name)]
    agent.streamed(task, events)
    prompt = f"What is there to {task}?"
    with agent.call("gateway"):
        stream = gateway.stream_chat(prompt)
        pieces = [chunk.text for chunk in stream if chunk.text]
    agent.told(prompt, stream.reply, pieces)
    for lease in leases:
        with agent.call("vault"):
            lease.release()
        agent.released += 1


def try_something_else(agent: Agent, client: Ostiary, task: str) -> None:
    """Ask governance for what it must throttle or block."""
    with agent.call("governance"):
        try:
            answer = client.governance.run(task, agent_id=agent.name)
        except GovernanceBlock as block:
            agent.blocked(task, block)
        else:
            agent.answered(task, answer)


def remember(agent: Agent, client: Ostiary, task: str) -> None:
    """Have the runtime do the task, keep a secret and find a sentence again."""
    runtime = client.runtime
    with agent.call("runtime"):
        started = runtime.execute_agent(agent.name, {"prompt": task})
        done = runtime.wait_for_execution(agent.name, started.execution_id, TIMEOUT)
    keeping.worked(agent, task, done)
    name = f"round-{agent.kept}"
    with agent.call("runtime"):
        runtime.store_secret(
            SecretRequest(agent_id=agent.name, secret_name=name, secret_value=task)
        )
    with agent.call("runtime"):
        value = runtime.get_secret(agent.name, name)
    keeping.kept(agent, task, value)
    with agent.call("runtime"):
        runtime.add_knowledge_item(keeping.sentence(agent.name, task))
    with agent.call("runtime"):
        found = runtime.search_knowledge(keeping.question(agent.name, task))
    keeping.recalled(agent, task, found)
