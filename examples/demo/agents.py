"""The agents: what each counts on its own side, and how it judges what it is told.

Neighbours: `rounds`, what they do; `accounts`, where their figures stand beside the services'.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ostiary import Secret
from ostiary.devserver.admin import AdminClient
from ostiary.gateway import ChatReply
from ostiary.governance import GovernanceBlock, RunResponse, StreamEvent, collect_stream
from ostiary.runtime import SigningKey
from ostiary.vault import keys
from ostiary.workflow import TelemetryPipeline

from .services import CREDENTIALS, DemoError

Domain = Literal["vault", "governance", "gateway", "runtime", "workflow"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)

# How many calls joining takes, and a round; a row of the progress is full when they are made.
JOINING: dict[Domain, int] = {
    "vault": 0,
    "governance": 0,
    "gateway": 0,
    "runtime": 6,
    "workflow": 3,
}
ROUND: dict[Domain, int] = {
    "vault": 2 * len(CREDENTIALS) + 2,
    "governance": 3,
    "gateway": 2,
    "runtime": 5,
    "workflow": 1,
}

THROTTLED = "delete the drafts"  # docs/dev.md lists the rules that decide so
BLOCKED = "delete all production data"


@dataclass
class Ledger:
    """The calls to one service."""

    took: list[float] = field(default_factory=list[float])
    failed: int = 0
    cpu: float = 0.0
    """Of the whole process, in seconds: that of these calls only when nothing else is going on."""

    @contextlib.contextmanager
    def call(self) -> Generator[None]:
        """Time one call."""
        cpu, began = time.process_time(), time.perf_counter()
        try:
            yield
        except BaseException:
            self.failed += 1
            raise
        self.took.append(time.perf_counter() - began)
        self.cpu += time.process_time() - cpu


@dataclass(frozen=True)
class Shared:
    """What the agents have in common beside their clients."""

    socket: Path
    signer: SigningKey
    pipeline: TelemetryPipeline
    stopped: threading.Event


def due(task: str) -> str:
    """Return how governance must decide."""
    return "BLOCK" if BLOCKED in task else "THROTTLE" if THROTTLED in task else "ALLOW"


@dataclass
class Agent:
    """One agent, and what it counted."""

    name: str
    key: Path
    # Which of the two it tries besides in a round, so that some do either at any time.
    turn: int
    ledgers: dict[Domain, Ledger] = field(
        default_factory=lambda: {domain: Ledger() for domain in DOMAINS}
    )
    granted: int = 0
    released: int = 0
    events: int = 0
    events_due: int = 0
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

    def call(self, domain: Domain) -> contextlib.AbstractContextManager[None]:
        """Time one call to a domain."""
        return self.ledgers[domain].call()

    def tasks(self, rounds: int, stopped: threading.Event) -> Iterator[tuple[str, str]]:
        """Yield for each round what is allowed, and what is throttled or blocked."""
        for number in range(rounds):
            if stopped.is_set():
                return
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
        self.tokens_in += reply.usage.prompt_tokens
        self.tokens_out += reply.usage.completion_tokens


def prepare(admin: AdminClient, directory: Path, count: int) -> list[Agent]:
    """Register agents with the vault, each with a key file of its own."""
    agents: list[Agent] = []
    for number in range(count):
        name = f"agent-{number:03d}"
        key = keys.generate()
        agents.append(Agent(name, keys.save(key, directory / f"{name}.key"), number))
        admin.agent_add(name, key.public_key_hex, allow=["demo/*"])
    return agents
