"""200 agents, a vault and governance, then one table: `make demo`.

Both services run in a process of their own, on private Unix sockets below a temporary home
that is removed at the end, Ctrl-C included. Every agent logs in to the vault with a key of
its own; it asks governance before it acts, leases and uses credentials, and streams what it
is allowed to do. Most agents share one event loop and one async governance client, the
others a blocking one on threads.

Exits 0 only when no call failed, every answer was the one to its question, every lease
granted was given back, governance decided as it must, and what the agents counted is what
the services counted; and when the traces can be read back and the audit log verifies.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ostiary import OstiaryError, Secret
from ostiary.devserver.admin import AdminClient
from ostiary.governance import (
    AsyncGovernanceClient,
    GovernanceBlock,
    GovernanceClient,
    RunResponse,
    StreamEvent,
    TraceResponse,
    collect_stream,
)
from ostiary.http import RequestInfo
from ostiary.vault import AsyncLease, AsyncVaultClient, Lease, VaultClient, keys

CREDENTIALS = {
    "demo/openai": Secret("sk-demo-0123456789"),
    "demo/github": Secret("ghp-demo-0123456789"),
    "demo/webhook": Secret("whsec-demo-0123456789"),
}
THROTTLED = "delete the drafts"  # docs/dev.md lists the rules that decide so
BLOCKED = "delete all production data"
# Of one call. More than the default: a starved machine is no failure.
TIMEOUT = 120.0
STOP_SECONDS = 10.0


class GovernanceReady(msgspec.Struct):
    """Where governance is, and what may ask it."""

    unix_url: str
    token_file: str


class Ready(msgspec.Struct):
    """The line that `ostiary dev --json` prints when it listens."""

    socket: str
    governance: GovernanceReady


class DemoError(Exception):
    """The demonstration cannot go on, or an answer is not the one to its question."""


# --- what the agents count


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
    granted: int = 0
    released: int = 0
    streams: int = 0
    events: int = 0
    events_due: int = 0
    traces: dict[str, str] = field(default_factory=dict[str, str])
    problem: str | None = None

    def tasks(self) -> Iterator[tuple[str, str]]:
        """Yield for each round what is allowed, and what is throttled or blocked."""
        for number in itertools.count():
            other = THROTTLED if (self.turn + number) % 2 else BLOCKED
            yield f"report on round {number} of {self.name}", f"{other} of {self.name}"

    def lent(self, path: str, value: Secret) -> None:
        """Take a lease's value, which must be that of its path."""
        self.granted += 1
        if value != CREDENTIALS[path]:
            raise DemoError(f"the lease of {path} holds something else")

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
    agent: Agent, socket: Path, governance: AsyncGovernanceClient, over: Callable[[], bool]
) -> None:
    """Ask, lease, use, stream and give back, until it is over."""
    async with AsyncVaultClient(
        agent.name, socket_path=socket, key_path=agent.key, timeout=TIMEOUT
    ) as vault:
        for task, other in agent.tasks():
            with agent.governance.call():
                answer = await governance.run_async(task, agent_id=agent.name)
            agent.answered(task, answer)
            async with contextlib.AsyncExitStack() as held:
                for path in CREDENTIALS:
                    await held.enter_async_context(leased_on_loop(agent, vault, path))
                with agent.vault.call():
                    await vault.sign("demo/webhook", task)
                with agent.vault.call():
                    await vault.http_header("demo/openai")
                with agent.governance.call():
                    events = [
                        event async for event in governance.run_stream(task, agent_id=agent.name)
                    ]
                agent.streamed(task, events)
            with agent.governance.call():
                try:
                    answer = await governance.run_async(other, agent_id=agent.name)
                except GovernanceBlock as block:
                    agent.blocked(other, block)
                else:
                    agent.answered(other, answer)
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
    agent: Agent, socket: Path, governance: GovernanceClient, over: Callable[[], bool]
) -> None:
    with VaultClient(agent.name, socket_path=socket, key_path=agent.key, timeout=TIMEOUT) as vault:
        for task, other in agent.tasks():
            with agent.governance.call():
                answer = governance.run(task, agent_id=agent.name)
            agent.answered(task, answer)
            with contextlib.ExitStack() as held:
                for path in CREDENTIALS:
                    held.enter_context(leased_on_thread(agent, vault, path))
                with agent.vault.call():
                    vault.sign("demo/webhook", task)
                with agent.vault.call():
                    vault.http_header("demo/openai")
                with agent.governance.call():
                    events = list(governance.run_stream(task, agent_id=agent.name))
                agent.streamed(task, events)
            with agent.governance.call():
                try:
                    answer = governance.run(other, agent_id=agent.name)
                except GovernanceBlock as block:
                    agent.blocked(other, block)
                else:
                    agent.answered(other, answer)
            if over():
                return


# --- all of them


@dataclass
class Services:
    """Where the two services are, and how often governance was sent a request."""

    socket: Path
    ready: GovernanceReady
    requests: itertools.count[int] = field(default_factory=itertools.count)

    def governance(self) -> dict[str, Any]:
        """Return what a governance client is made with."""
        return {
            "base_url": self.ready.unix_url,
            "api_key": Secret(Path(self.ready.token_file).read_text("ascii").strip()),
            "timeout": TIMEOUT,
            "strict": True,  # events out of order are an error
            "on_request": self.count,
        }

    def count(self, info: RequestInfo) -> None:
        """Be told of every attempt, on whatever thread: one step of a counter is one step."""
        next(self.requests)


@contextlib.contextmanager
def noting(agent: Agent) -> Generator[None]:
    """Have a failure end its agent, and no other."""
    try:
        yield
    except (DemoError, OstiaryError) as error:
        agent.problem = f"{type(error).__name__}: {error}"


async def run_agents(
    services: Services, agents: Sequence[Agent], threads: int, seconds: float, show: Show
) -> float:
    """Run every agent at once, the last `threads` of them on threads; return the seconds."""
    began = time.monotonic()
    stopped = threading.Event()

    def over() -> bool:
        return stopped.is_set() or time.monotonic() >= began + seconds

    async def on_loop(agent: Agent, governance: AsyncGovernanceClient) -> None:
        with noting(agent):
            await run_on_loop(agent, services.socket, governance, over)

    def on_thread(agent: Agent, governance: GovernanceClient) -> None:
        with noting(agent):
            run_on_thread(agent, services.socket, governance, over)

    on_the_loop, on_threads = agents[: len(agents) - threads], agents[len(agents) - threads :]
    ticker = asyncio.create_task(tick(began, agents, show))
    loop = asyncio.get_running_loop()
    with (
        GovernanceClient(**services.governance()) as blocking,
        ThreadPoolExecutor(max(threads, 1)) as pool,
    ):
        try:
            async with (
                AsyncGovernanceClient(**services.governance()) as shared,
                asyncio.TaskGroup() as group,
            ):
                for agent in on_threads:
                    group.create_task(wait(loop.run_in_executor(pool, on_thread, agent, blocking)))
                for agent in on_the_loop:
                    group.create_task(on_loop(agent, shared))
        finally:
            stopped.set()
            ticker.cancel()
    return time.monotonic() - began


async def wait(done: asyncio.Future[None]) -> None:
    await done


async def tick(began: float, agents: Sequence[Agent], show: Show) -> None:
    while True:
        await asyncio.sleep(0.2)
        show(time.monotonic() - began, agents)


Show = Callable[[float, Sequence[Agent]], None]


def calls_of(agents: Iterable[Agent]) -> int:
    return sum(len(agent.vault.took) + len(agent.governance.took) for agent in agents)


@contextlib.contextmanager
def progress(console: Console, seconds: float) -> Generator[Show]:
    """Yield a function that shows how far the agents are: a bar, or a line each second."""
    if not console.is_terminal:
        printed = 0

        def line(elapsed: float, agents: Sequence[Agent]) -> None:
            nonlocal printed
            if elapsed >= printed + 1:
                printed = int(elapsed)
                failed = sum(agent.problem is not None for agent in agents)
                console.print(f"  {printed} s: {calls_of(agents):,} calls, {failed} errors")

        yield line
        return
    with Progress(
        TextColumn("  agents at work"),
        BarColumn(),
        TextColumn("{task.fields[calls]:,} calls"),
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=seconds, calls=0)

        def draw(elapsed: float, agents: Sequence[Agent]) -> None:
            bar.update(task, completed=min(elapsed, seconds), calls=calls_of(agents), refresh=True)

        yield draw


# --- the services


@contextlib.contextmanager
def services_at(home: Path) -> Generator[Services]:
    """Run `ostiary dev` on `home` in a child process; yield where it listens."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OSTIARY_", "SANCTUM_"))
    }
    log = home.parent / "services.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "ostiary", "dev", "--home", home, "--no-tcp", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            # Ctrl-C is for this process, which then stops the services in good order.
            start_new_session=True,
        )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            child.wait(STOP_SECONDS)
            raise DemoError(f"the services did not start:\n{log.read_text(errors='replace')}")
        ready = msgspec.json.decode(line, type=Ready)
        yield Services(Path(ready.socket), ready.governance)
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


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


# --- what came of it


@dataclass
class Accounts:
    """What the services counted; asked for before they stop."""

    granted: int
    returned: int
    audited: int
    audit_valid: bool
    decisions: dict[str, int]
    requests: int
    traces: int
    """How many of the traces that were asked for say what the agents were told."""
    asked: int


def ask_services(admin: AdminClient, services: Services, agents: Sequence[Agent]) -> Accounts:
    status, verdict = admin.status(), admin.audit_verify()
    # What the vault ended itself, by expiry or because a connection went, was not given back.
    ended = sum(len(admin.audit(action=one, limit=1000)) for one in ("expire", "end", "revoke"))
    # Of each agent the last of either sort: reading all of them back would take longer than
    # making them did.
    last = {
        (agent.name, decision): trace_id
        for agent in agents
        for trace_id, decision in agent.traces.items()
    }
    with GovernanceClient(**services.governance()) as client, ThreadPoolExecutor(8) as pool:
        found: list[TraceResponse | None] = list(
            pool.map(client.governance.get_trace, last.values())
        )
        stability = client.governance.status()
        metrics = client.system.metrics()
    return Accounts(
        granted=status.leases_granted,
        returned=status.leases_granted - status.leases - ended,
        audited=verdict.entries,
        audit_valid=verdict.valid,
        decisions=stability["decisions"],
        requests=metrics.requests_total or 0,
        traces=sum(
            trace is not None and (trace.trace_id, trace.decision) == (trace_id, decision)
            for trace, ((_, decision), trace_id) in zip(found, last.items(), strict=True)
        ),
        asked=len(last),
    )


def percentile(took: Sequence[float], share: float) -> str:
    if not took:
        return "-"
    return f"{took[min(len(took) - 1, int(len(took) * share))] * 1000:.2f} ms"


def report(
    console: Console,
    services: Services,
    agents: Sequence[Agent],
    accounts: Accounts,
    title: str,
    elapsed: float,
) -> bool:
    """Print the table; return whether everything is as it must be."""
    sent = next(services.requests)
    problems = Counter(agent.problem for agent in agents if agent.problem is not None)
    decided = Counter(d for agent in agents for d in agent.traces.values())
    both = [
        sorted(seconds for agent in agents for seconds in agent.vault.took),
        sorted(seconds for agent in agents for seconds in agent.governance.took),
    ]

    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_row("", "vault", "governance", style="bold")
    table.add_row("calls", *(f"{len(took):,}" for took in both))
    table.add_row("calls/s", *(f"{len(took) / elapsed:,.0f}" for took in both))
    table.add_row("p50", *(percentile(took, 0.5) for took in both))
    table.add_row("p99", *(percentile(took, 0.99) for took in both))
    table.add_section()

    counts = {
        "leases granted": (sum(agent.granted for agent in agents), accounts.granted),
        "leases given back": (sum(agent.released for agent in agents), accounts.returned),
        "allowed": (decided["ALLOW"], accounts.decisions["ALLOW"]),
        "throttled": (decided["THROTTLE"], accounts.decisions["THROTTLE"]),
        "blocked, as they must be": (decided["BLOCK"], accounts.decisions["BLOCK"]),
        f"events of {sum(agent.streams for agent in agents):,} streams": (
            sum(agent.events for agent in agents),
            sum(agent.events_due for agent in agents),
        ),
        "HTTP requests": (sent, accounts.requests),
        "traces read back": (accounts.asked, accounts.traces),
    }
    table.add_row("", "agents count", "services count", style="bold")
    for name, (here, there) in counts.items():
        style = "" if here == there else "bold red"
        table.add_row(name, f"{here:,}", f"{there:,}", style=style)
    table.add_row(
        "audit chain",
        "verified" if accounts.audit_valid else "BROKEN",
        f"{accounts.audited:,}",
        style="" if accounts.audit_valid else "bold red",
    )
    table.add_section()
    table.add_row("errors", f"{problems.total()}", style="bold red" if problems else "")
    console.print(table)
    for text, count in problems.most_common(5):
        console.print(f"{count} x {text}", style="red", markup=False)
    return (
        not problems
        and all(here == there for here, there in counts.values())
        and accounts.audit_valid
        and all(both)
    )


def loop_factory() -> tuple[str, Callable[[], asyncio.AbstractEventLoop]]:
    try:
        import uvloop
    except ImportError:
        return "asyncio", asyncio.new_event_loop
    return "uvloop", uvloop.new_event_loop


def demo(count: int, threads: int, seconds: float) -> int:
    console = Console(highlight=False)
    loop_name, factory = loop_factory()
    top = Path(tempfile.mkdtemp(prefix="ostiary-demo-"))
    try:
        console.print("starting an embedded vault and governance in a process of their own")
        with services_at(top / "home") as services, AdminClient(services.socket) as admin:
            console.print(f"making {count} key pairs and registering their agents")
            agents = prepare(admin, top / "keys", count)
            console.print(
                f"{count - threads} agents on an event loop ({loop_name}) and {threads} on "
                "threads ask, lease, use, stream"
            )
            with progress(console, seconds) as show, asyncio.Runner(loop_factory=factory) as one:
                elapsed = one.run(run_agents(services, agents, threads, seconds, show))
            title = f"{count} agents, each with its own key, for {elapsed:.1f} s"
            accounts = ask_services(admin, services, agents)
            return 0 if report(console, services, agents, accounts, title, elapsed) else 1
    except (DemoError, OstiaryError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    finally:
        shutil.rmtree(top, ignore_errors=True)


def allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files; macOS begins with 256, and the child inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def interrupt(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Many agents against an embedded vault and embedded governance."
    )
    parser.add_argument("--agents", type=int, default=200, help="how many, up to 1000 (200)")
    parser.add_argument("--threads", type=int, help="how many of them on threads (a tenth)")
    parser.add_argument("--seconds", type=float, default=5.0, help="for how long (5)")
    arguments = parser.parse_args()
    agents: int = arguments.agents
    threads: int = agents // 10 if arguments.threads is None else arguments.threads
    if not 1 <= agents <= 1000 or not 0 <= threads <= agents or not arguments.seconds > 0:
        parser.error("--agents is 1 to 1000, --threads not more, and --seconds more than 0")
    allow_descriptors(2 * agents + 400)
    # Both ways of being told to stop run the same clean-up.
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return demo(agents, threads, arguments.seconds)
    except KeyboardInterrupt:
        print("stopped; nothing is left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
