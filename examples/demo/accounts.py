"""What agents and services counted, side by side: the progress, the questions, the table."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ostiary.devserver.admin import AdminClient
from ostiary.governance import GovernanceClient, TraceResponse
from ostiary.runtime import RuntimeClient
from ostiary.workflow import TelemetryCounters, WorkflowClient

from .agents import Agent, Show
from .ordering import TASKS
from .scan import Scan
from .services import Services, Used


def calls_of(agents: Iterable[Agent]) -> int:
    return sum(
        len(ledger.took)
        for agent in agents
        for ledger in (
            *(agent.vault, agent.governance, agent.gateway),
            *(agent.runtime, agent.workflow),
        )
    )


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


@dataclass
class Accounts:
    """What the services counted; asked for before they stop."""

    granted: int
    returned: int
    decisions: dict[str, int]
    requests: int
    traces: int
    """How many of the traces that were asked for say what the agents were told."""
    asked: int
    used: Used
    """What the agents used of the gateway; the scan came later."""
    registered: int
    worked: int
    signed: int
    kept: int
    known: int
    runtime_requests: int
    reports: TelemetryCounters
    """What became of what the agents reported."""
    approved: int
    flows: int
    steps: int
    told: int


def ask_services(
    admin: AdminClient, services: Services, agents: Sequence[Agent], reports: TelemetryCounters
) -> Accounts:
    """Ask for it, when the agents have ended and before anything else is done."""
    status = admin.status()
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
    with RuntimeClient(**services.runtime()) as runtime, ThreadPoolExecutor(8) as pool:
        names = runtime.list_agents()
        worked = sum(one.tasks_completed for one in pool.map(runtime.get_agent_metrics, names))
        reviews = runtime.get_review_statistics()
        figures = runtime.get_metrics()
    with WorkflowClient(**services.workflow()) as workflow:
        approved = sum(1 for _ in workflow.iter_approvals("used", limit=500))
        flows = sum(1 for _ in workflow.iter_workflows("completed", limit=500))
        steps = sum(
            one.data.get("success") is True for one in workflow.iter_events("step_end", limit=1000)
        )
        told = sum(1 for _ in workflow.iter_events("custom", limit=1000))
    return Accounts(
        granted=status.leases_granted,
        returned=status.leases_granted - status.leases - ended,
        decisions=stability["decisions"],
        requests=metrics.requests_total or 0,
        traces=sum(
            trace is not None and (trace.trace_id, trace.decision) == (trace_id, decision)
            for trace, ((_, decision), trace_id) in zip(found, last.items(), strict=True)
        ),
        asked=len(last),
        used=services.used(),
        registered=len(names),
        worked=worked,
        signed=reviews.by_status.get("signed", 0),
        kept=figures.secrets_count or 0,
        known=figures.vector_db_items or 0,
        runtime_requests=figures.extra.get("requests_total", 0),
        reports=reports,
        approved=approved,
        flows=flows,
        steps=steps,
        told=told,
    )


def percentile(took: Sequence[float], share: float) -> str:
    if not took:
        return "-"
    milliseconds = took[min(len(took) - 1, int(len(took) * share))] * 1000
    if milliseconds < 1000:
        return f"{milliseconds:.1f} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.2f} s"


def report(
    console: Console,
    services: Services,
    agents: Sequence[Agent],
    accounts: Accounts,
    scan: Scan | None,
    audit: tuple[bool, int],
    title: str,
    elapsed: float,
) -> bool:
    """Print the table; return whether everything is as it must be."""
    sent, sent_to_runtime = next(services.requests), next(services.runtime_requests)
    problems = Counter(agent.problem for agent in agents if agent.problem is not None)
    if scan is not None and scan.problem is not None:
        problems[scan.problem] += 1
    decided = Counter(d for agent in agents for d in agent.traces.values())
    each = [
        sorted(seconds for agent in agents for seconds in agent.vault.took),
        sorted(seconds for agent in agents for seconds in agent.governance.took),
        sorted(seconds for agent in agents for seconds in agent.gateway.took),
        sorted(seconds for agent in agents for seconds in agent.runtime.took),
        sorted(seconds for agent in agents for seconds in agent.workflow.took),
    ]

    table = Table(title=title, show_header=False)
    table.add_column(no_wrap=True)
    for _ in each:
        table.add_column(justify="right")
    table.add_row("", "vault", "governance", "gateway", "runtime", "workflow", style="bold")
    table.add_row("calls", *(f"{len(took):,}" for took in each))
    table.add_row("calls/s", *(f"{len(took) / elapsed:,.0f}" for took in each))
    table.add_row("p50", *(percentile(took, 0.5) for took in each))
    table.add_row("p99", *(percentile(took, 0.99) for took in each))
    table.add_section()

    counts = {
        "leases granted": (sum(agent.granted for agent in agents), accounts.granted),
        "leases given back": (sum(agent.released for agent in agents), accounts.returned),
        "allowed": (decided["ALLOW"], accounts.decisions["ALLOW"]),
        "throttled": (decided["THROTTLE"], accounts.decisions["THROTTLE"]),
        "blocked, as is due": (decided["BLOCK"], accounts.decisions["BLOCK"]),
        "events of streams": (
            sum(agent.events for agent in agents),
            sum(agent.events_due for agent in agents),
        ),
        "asked of governance": (sent, accounts.requests),
        "traces read back": (accounts.asked, accounts.traces),
        "answers of models": (len(each[2]), accounts.used.calls),
        "tokens to models": (
            sum(agent.tokens_in for agent in agents),
            accounts.used.prompt_tokens,
        ),
        "tokens from models": (
            sum(agent.tokens_out for agent in agents),
            accounts.used.completion_tokens,
        ),
        "agents registered": (sum(agent.registered for agent in agents), accounts.registered),
        "tasks done": (sum(agent.worked for agent in agents), accounts.worked),
        "signed tools": (sum(agent.signed for agent in agents), accounts.signed),
        "secrets of agents": (sum(agent.kept for agent in agents), accounts.kept),
        "sentences kept": (sum(agent.known for agent in agents), accounts.known),
        "asked of the runtime": (sent_to_runtime, accounts.runtime_requests),
        "approvals used": (sum(agent.approved for agent in agents), accounts.approved),
        "workflows run": (sum(agent.flows for agent in agents), accounts.flows),
        "tasks of workflows": (TASKS * sum(agent.flows for agent in agents), accounts.steps),
        "events reported": (accounts.reports.reported, accounts.told),
    }
    table.add_row("counted by", "agents", "services", "", style="bold")
    add_counts(table, counts)
    valid, audited = audit
    table.add_row(
        "audit chain",
        f"{audited:,}",
        "verified" if valid else "BROKEN",
        style="" if valid else "bold red",
    )
    if scan is not None and scan.problem is None:
        table.add_section()
        table.add_row("secret scan", "record", "elsewhere", "", style="bold")
        add_counts(table, scan.counts())
        for name, value in scan.facts():
            table.add_row(name, value)
        counts |= scan.counts()
    table.add_section()
    table.add_row("errors", f"{problems.total()}", style="bold red" if problems else "")
    console.print(table)
    for text, count in problems.most_common(5):
        console.print(f"{count} x {text}", style="red", markup=False)
    return (
        not problems
        and all(here == there for here, there in counts.values())
        and valid
        and all(each)
    )


def add_counts(table: Table, counts: dict[str, tuple[int, int]]) -> None:
    """Add a row for each pair that must be the same twice."""
    for name, (here, there) in counts.items():
        same = here == there
        table.add_row(
            name,
            f"{here:,}",
            f"{there:,}",
            "same" if same else "DIFFERENT",
            style="" if same else "bold red",
        )
