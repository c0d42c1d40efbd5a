"""What an agent does in a round, on an event loop and on a thread, and what it counts.

Neighbours: `services`, which it talks to; `accounts`, where its figures stand beside theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostiary import OstiaryError, Secret
from ostiary.devserver.admin import AdminClient
from ostiary.gateway import AsyncGatewayClient, ChatReply, GatewayClient, ModelCategory
from ostiary.governance import (
    AsyncGovernanceClient,
    GovernanceBlock,
    GovernanceClient,
    RunResponse,
    StreamEvent,
    collect_stream,
)
from ostiary.runtime import AsyncRuntimeClient, RuntimeClient, SigningKey
from ostiary.vault import AsyncLease, AsyncVaultClient, Lease, VaultClient, keys
from ostiary.workflow import (
    AsyncWorkflowClient,
    TelemetryCounters,
    TelemetryPipeline,
    WorkflowClient,
)

from .keeping import join_on_loop, join_on_thread, keep_on_loop, keep_on_thread
from .ordering import ask_on_loop, ask_on_thread, order_on_loop, order_on_thread
from .services import CREDENTIALS, TIMEOUT, DemoError, Services

THROTTLED = "delete the drafts"  # docs/dev.md lists the rules that decide so
BLOCKED = "delete all production data"


@dataclass
class Ledger:
    """The calls of one agent to one service."""

    took: list[float] = field(default_factory=list[float])

    @contextlib.contextmanager
    def call(self) -> Generator[None]:
        """Time one call; one that fails is not counted here."""
        began = time.perf_counter()
        yield
        self.took.append(time.perf_counter() - began)


@dataclass(frozen=True)
class LoopClients:
    """What the agents on the event loop share: a client of each service but the vault."""

    governance: AsyncGovernanceClient
    models: AsyncGatewayClient
    runtime: AsyncRuntimeClient
    flows: AsyncWorkflowClient
    person: AsyncWorkflowClient
    """Somebody who may approve what the agents ask for; they may not themselves."""


@dataclass(frozen=True)
class ThreadClients:
    """The same for the agents on threads."""

    governance: GovernanceClient
    models: GatewayClient
    runtime: RuntimeClient
    flows: WorkflowClient
    person: WorkflowClient


def due(task: str) -> str:
    """Return how governance must decide."""
    return "BLOCK" if BLOCKED in task else "THROTTLE" if THROTTLED in task else "ALLOW"


@dataclass
class Agent:
    """One agent, and what it counted on its own side."""

    name: str
    key: Path
    # Which of the two it does besides in a round, so that some do either at any time.
    turn: int
    vault: Ledger = field(default_factory=Ledger)
    governance: Ledger = field(default_factory=Ledger)
    gateway: Ledger = field(default_factory=Ledger)
    runtime: Ledger = field(default_factory=Ledger)
    workflow: Ledger = field(default_factory=Ledger)
    granted: int = 0
    released: int = 0
    streams: int = 0
    events: int = 0
    events_due: int = 0
    pieces: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    registered: int = 0
    signed: int = 0
    worked: int = 0
    kept: int = 0
    known: int = 0
    approved: int = 0
    flows: int = 0
    traces: dict[str, str] = field(default_factory=dict[str, str])
    problem: str | None = None

    def tasks(self) -> Iterator[tuple[str, str]]:
        """Yield for each round what is allowed, and what is throttled or blocked."""
        for number in itertools.count():
            other = THROTTLED if (self.turn + number) % 2 else BLOCKED
            yield f"report on round {number} of {self.name}", f"{other} of {self.name}"

    # --- the vault

    def lent(self, path: str, value: Secret) -> None:
        """Take a lease's value, which must be that of its path."""
        self.granted += 1
        if value != CREDENTIALS[path]:
            raise DemoError(f"the lease of {path} holds something else")

    # --- governance

    def answered(self, task: str, answer: RunResponse) -> None:
        """Take the result of a run: decided as it must be, of this task and of no other."""
        if answer.decision != due(task):
            raise DemoError(f"governance decided {answer.decision} where {due(task)} is due")
        if answer.text != f"processed: {task}":
            raise DemoError("governance answered with the result of something else")
        self._decided(answer.trace_id, due(task))

    def streamed(self, task: str, events: Sequence[StreamEvent]) -> None:
        """Take a whole stream: its words, and an end that says the same."""
        answer = collect_stream(events)
        words = "".join(event.data["text"] for event in events if event.type == "token")
        if words != answer.text:
            raise DemoError("the words of a stream are not its result")
        self.answered(task, answer)
        self.streams += 1
        self.events += len(events)
        self.events_due += len(words.split()) + 3  # `start`, `final`, `done`

    def blocked(self, task: str, block: GovernanceBlock) -> None:
        """Take a refusal, which must have been due."""
        if due(task) != "BLOCK":
            raise DemoError(f"governance blocked where {due(task)} is due")
        self._decided(block.trace_id, "BLOCK")

    def _decided(self, trace_id: str, decision: str) -> None:
        if trace_id in self.traces:
            raise DemoError("two decisions have the same trace")
        self.traces[trace_id] = decision

    # --- the gateway

    def told(self, prompt: str, reply: ChatReply[Any], pieces: Sequence[str] = ()) -> None:
        """Take a model's answer: the built-in one says what it was told."""
        if reply.text != prompt or (pieces and "".join(pieces) != prompt):
            raise DemoError("the model answered what somebody else had asked")
        if reply.finish_reason != "stop" or reply.usage is None:
            raise DemoError("the model's answer is not whole")
        self.pieces += len(pieces)
        self.tokens_in += reply.usage.prompt_tokens
        self.tokens_out += reply.usage.completion_tokens


# --- what an agent does, on an event loop


@contextlib.asynccontextmanager
async def leased_on_loop(
    agent: Agent, vault: AsyncVaultClient, path: str
) -> AsyncGenerator[AsyncLease]:
    """Hold a lease; granting and giving back are a call each."""
    began = time.perf_counter()
    async with vault.lease(path) as lease:
        agent.vault.took.append(time.perf_counter() - began)
        agent.lent(path, lease.value)
        yield lease
        began = time.perf_counter()
    agent.vault.took.append(time.perf_counter() - began)
    agent.released += 1


async def run_on_loop(
    agent: Agent,
    socket: Path,
    clients: LoopClients,
    signer: SigningKey,
    pipeline: TelemetryPipeline,
    over: Callable[[], bool],
) -> None:
    """Register; then ask, think, lease, use, stream, give back, keep, order, until it is over."""
    async with AsyncVaultClient(
        agent.name, socket_path=socket, key_path=agent.key, timeout=TIMEOUT
    ) as vault:
        await join_on_loop(agent, clients.runtime, signer)
        await ask_on_loop(agent, clients.flows, clients.person)
        for task, other in agent.tasks():
            with agent.governance.call():
                answer = await clients.governance.run_async(task, agent_id=agent.name)
            agent.answered(task, answer)
            prompt = f"How would you {task}?"
            with agent.gateway.call():
                reply = await clients.models.chat(prompt, model=ModelCategory.TRIAGE)
            agent.told(prompt, reply)
            async with contextlib.AsyncExitStack() as held:
                for path in CREDENTIALS:
                    await held.enter_async_context(leased_on_loop(agent, vault, path))
                with agent.vault.call():
                    await vault.sign("demo/webhook", task)
                with agent.vault.call():
                    await vault.http_header("demo/openai")
                with agent.governance.call():
                    events = [
                        event
                        async for event in clients.governance.run_stream(task, agent_id=agent.name)
                    ]
                agent.streamed(task, events)
                prompt = f"What is there to {task}?"
                with agent.gateway.call():
                    stream = clients.models.stream_chat(prompt)
                    pieces = [chunk.text async for chunk in stream if chunk.text]
                agent.told(prompt, stream.reply, pieces)
            with agent.governance.call():
                try:
                    answer = await clients.governance.run_async(other, agent_id=agent.name)
                except GovernanceBlock as block:
                    agent.blocked(other, block)
                else:
                    agent.answered(other, answer)
            await keep_on_loop(agent, clients.runtime, task)
            await order_on_loop(agent, clients.flows, pipeline, task)
            if over():
                return


# --- the same on a thread


@contextlib.contextmanager
def leased_on_thread(agent: Agent, vault: VaultClient, path: str) -> Generator[Lease]:
    began = time.perf_counter()
    with vault.lease(path) as lease:
        agent.vault.took.append(time.perf_counter() - began)
        agent.lent(path, lease.value)
        yield lease
        began = time.perf_counter()
    agent.vault.took.append(time.perf_counter() - began)
    agent.released += 1


def run_on_thread(
    agent: Agent,
    socket: Path,
    clients: ThreadClients,
    signer: SigningKey,
    pipeline: TelemetryPipeline,
    over: Callable[[], bool],
) -> None:
    with VaultClient(agent.name, socket_path=socket, key_path=agent.key, timeout=TIMEOUT) as vault:
        join_on_thread(agent, clients.runtime, signer)
        ask_on_thread(agent, clients.flows, clients.person)
        for task, other in agent.tasks():
            with agent.governance.call():
                answer = clients.governance.run(task, agent_id=agent.name)
            agent.answered(task, answer)
            prompt = f"How would you {task}?"
            with agent.gateway.call():
                reply = clients.models.chat(prompt, model=ModelCategory.TRIAGE)
            agent.told(prompt, reply)
            with contextlib.ExitStack() as held:
                for path in CREDENTIALS:
                    held.enter_context(leased_on_thread(agent, vault, path))
                with agent.vault.call():
                    vault.sign("demo/webhook", task)
                with agent.vault.call():
                    vault.http_header("demo/openai")
                with agent.governance.call():
                    events = list(clients.governance.run_stream(task, agent_id=agent.name))
                agent.streamed(task, events)
                prompt = f"What is there to {task}?"
                with agent.gateway.call():
                    stream = clients.models.stream_chat(prompt)
                    pieces = [chunk.text for chunk in stream if chunk.text]
                agent.told(prompt, stream.reply, pieces)
            with agent.governance.call():
                try:
                    answer = clients.governance.run(other, agent_id=agent.name)
                except GovernanceBlock as block:
                    agent.blocked(other, block)
                else:
                    agent.answered(other, answer)
            keep_on_thread(agent, clients.runtime, task)
            order_on_thread(agent, clients.flows, pipeline, task)
            if over():
                return


# --- all of them


def prepare(admin: AdminClient, directory: Path, count: int) -> list[Agent]:
    """Store the credentials and register the agents, each with a key file of its own."""
    for path, value in CREDENTIALS.items():
        admin.put(path, value)
    agents: list[Agent] = []
    for number in range(count):
        name = f"agent-{number:03d}"
        key = keys.generate()
        agents.append(Agent(name, keys.save(key, directory / f"{name}.key"), number))
        admin.agent_add(name, key.public_key_hex, allow=["demo/*"])
    return agents


Show = Callable[[float, Sequence[Agent]], None]


@contextlib.contextmanager
def noting(agent: Agent) -> Generator[None]:
    """Have a failure end its agent, and no other."""
    try:
        yield
    except (DemoError, OstiaryError) as error:
        agent.problem = f"{type(error).__name__}: {error}"


async def run_agents(
    services: Services, agents: Sequence[Agent], threads: int, seconds: float, show: Show
) -> tuple[float, TelemetryCounters]:
    """Run every agent at once, the last `threads` of them on threads.

    Returns the seconds that it took, and what became of the agents' reports.
    """
    began = time.monotonic()
    stopped = threading.Event()

    def over() -> bool:
        return stopped.is_set() or time.monotonic() >= began + seconds

    on_the_loop, on_threads = agents[: len(agents) - threads], agents[len(agents) - threads :]
    ticker = asyncio.create_task(tick(began, agents, show))
    loop = asyncio.get_running_loop()
    with (
        GovernanceClient(**services.governance()) as governance,
        GatewayClient(services.access(), timeout=TIMEOUT) as models,
        RuntimeClient(**services.runtime()) as runtime,
        WorkflowClient(**services.workflow()) as flows,
        WorkflowClient(**services.workflow(person=True)) as person,
        ThreadPoolExecutor(max(threads, 1)) as pool,
    ):
        blocking = ThreadClients(governance, models, runtime, flows, person)
        # Its memory holds what all of them report in this time: nothing waits, nothing drops.
        pipeline = TelemetryPipeline(flows, overflow="raise", max_queue=1_000_000)
        signer = (await asyncio.to_thread(runtime.list_signing_keys))[0]

        def on_thread(agent: Agent) -> None:
            with noting(agent):
                run_on_thread(agent, services.socket, blocking, signer, pipeline, over)

        async def on_loop(agent: Agent, clients: LoopClients) -> None:
            with noting(agent):
                await run_on_loop(agent, services.socket, clients, signer, pipeline, over)

        try:
            async with (
                AsyncGovernanceClient(**services.governance()) as a_governance,
                AsyncGatewayClient(services.access(), timeout=TIMEOUT) as a_gateway,
                AsyncRuntimeClient(**services.runtime()) as a_runtime,
                AsyncWorkflowClient(**services.workflow()) as a_workflow,
                AsyncWorkflowClient(**services.workflow(person=True)) as a_person,
                asyncio.TaskGroup() as group,
            ):
                clients = LoopClients(a_governance, a_gateway, a_runtime, a_workflow, a_person)
                for agent in on_threads:
                    group.create_task(wait(loop.run_in_executor(pool, on_thread, agent)))
                for agent in on_the_loop:
                    group.create_task(on_loop(agent, clients))
        finally:
            stopped.set()
            ticker.cancel()
            counters = await pipeline.aclose(TIMEOUT)
    return time.monotonic() - began, counters


async def wait(done: asyncio.Future[None]) -> None:
    await done


async def tick(began: float, agents: Sequence[Agent], show: Show) -> None:
    while True:
        await asyncio.sleep(0.2)
        show(time.monotonic() - began, agents)
