"""What is shown: bars while it runs, or a line each second; then the tables."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from ostiary.devserver.admin import Verdict

from .accounts import Counts, calls_of
from .agents import DOMAINS, JOINING, ROUND, Agent, Domain
from .crowd import Ran, Show

if TYPE_CHECKING:
    from .scan import Scan


# What it was about, and where that is to be read.
NEXT: Final = {
    "begin with one client": "docs/quickstart.md",
    "what an agent here does": "examples/demo/rounds/_async.py",
    "the agent that looked for secrets": "examples/secret_scan, docs/agents.md",
    "many inputs, many machines": "docs/fleet.md",
    "keys by reference": "docs/credentials.md",
    "services to play with": "ostiary dev --demo, docs/dev.md",
    "what it costs, beside others": "make bench, docs/performance.md",
}


@contextlib.contextmanager
def progress(console: Console, agents: Sequence[Agent], rounds: int) -> Generator[Show]:
    """Yield a function that shows how far the agents are, when it is told the seconds so far."""

    def failed() -> int:
        return sum(agent.problem is not None for agent in agents)

    if not console.is_terminal:
        printed = 0

        def line(elapsed: float) -> None:
            nonlocal printed
            if elapsed >= printed + 1:
                printed = int(elapsed)
                console.print(f"  {printed} s: {calls_of(agents):,} calls, {failed()} errors")

        yield line
        return
    with Progress(
        TextColumn("  {task.description:<10}"),
        BarColumn(),
        TextColumn("{task.completed:>6,.0f} of {task.total:>6,.0f} calls"),
        TextColumn("{task.fields[rate]:>6,.0f}/s"),
        TextColumn("{task.fields[failed]} errors"),
        console=console,
        auto_refresh=False,
        transient=True,
    ) as bars:
        tasks: dict[Domain, TaskID] = {
            domain: bars.add_task(
                domain,
                total=len(agents) * (JOINING[domain] + rounds * ROUND[domain]),
                rate=0.0,
                failed=0,
            )
            for domain in DOMAINS
        }

        def draw(elapsed: float) -> None:
            for domain, task in tasks.items():
                ledgers = [agent.ledgers[domain] for agent in agents]
                calls = sum(len(ledger.took) for ledger in ledgers)
                bars.update(
                    task,
                    completed=calls,
                    rate=calls / max(elapsed, 0.1),
                    failed=sum(ledger.failed for ledger in ledgers),
                )
            bars.refresh()

        yield draw


@contextlib.contextmanager
def parts(console: Console, total: int) -> Generator[Callable[[int], None]]:
    """Yield a function that shows how many of the parts are done."""
    if not console.is_terminal:
        yield lambda done: console.print(f"  {done} of {total} parts")
        return
    with Progress(
        TextColumn("  {task.description:<10}"),
        BarColumn(),
        TextColumn("{task.completed} of {task.total} parts"),
        console=console,
        transient=True,
    ) as bars:
        task = bars.add_task("secrets", total=total)
        yield lambda done: bars.update(task, completed=done)


def duration(seconds: float) -> str:
    """Return a time with two or three digits."""
    ms = seconds * 1000
    if ms >= 1000:
        return f"{seconds:.2f} s"
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.1f} ms" if ms < 100 else f"{ms:.0f} ms"


def percentile(ordered: Sequence[float], share: float) -> str:
    if not ordered:
        return "-"
    return duration(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


def domains_table(agents: Sequence[Agent], alone: Agent, ran: Ran) -> Table:
    """Return the table with a row for each domain."""
    table = Table(
        title=f"{len(agents)} agents at once",
        caption="The five services are one process: many wait for one another, one alone does not."
        "\nClient CPU is of this process, which runs none of them: by domain of the one alone.",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    for name in (
        *("calls", "errors", "calls/s", "tokens/s", "p50", "p99"),
        *("alone, p50", "client CPU\nper call"),
    ):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for domain in DOMAINS:
        ledgers = [agent.ledgers[domain] for agent in agents]
        took = sorted(seconds for ledger in ledgers for seconds in ledger.took)
        failed = sum(ledger.failed for ledger in ledgers)
        tokens = sum(agent.tokens_in + agent.tokens_out for agent in agents)
        by_itself = alone.ledgers[domain]
        table.add_row(
            domain,
            f"{len(took):,}",
            f"{failed:,}",
            f"{len(took) / ran.seconds:,.0f}",
            f"{tokens / ran.seconds:,.0f}" if domain == "gateway" else "",
            percentile(took, 0.5),
            percentile(took, 0.99),
            percentile(sorted(by_itself.took), 0.5),
            duration(by_itself.cpu / max(len(by_itself.took), 1)),
            style="bold red" if failed else "",
        )
    calls = calls_of(agents)
    table.add_section()
    table.add_row(
        "all",
        f"{calls:,}",
        f"{sum(agent.problem is not None for agent in agents)}",
        f"{calls / ran.seconds:,.0f}",
        *[""] * 4,
        duration(ran.cpu / max(calls, 1)),
    )
    return table


def counts_table(title: str, here: str, there: str, counts: Counts) -> Table:
    """Return a table with a row for each pair that must be the same twice."""
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column(here, justify="right")
    table.add_column(there, justify="right")
    table.add_column("")
    for name, (ours, theirs) in counts.items():
        same = ours == theirs
        table.add_row(
            name,
            f"{ours:,}",
            f"{theirs:,}",
            "same" if same else "DIFFERENT",
            style="" if same else "bold red",
        )
    return table


def print_figures(
    console: Console,
    everybody: Sequence[Agent],
    ran: Ran,
    counts: Counts,
    scan: Scan | None,
    audit: Verdict,
) -> bool:
    """Print the tables; return whether everything is as it must be. One agent was alone."""
    *agents, alone = everybody
    problems = Counter(agent.problem for agent in everybody if agent.problem is not None)
    console.print(domains_table(agents, alone, ran))
    console.print(counts_table("counted by", "agents", "services", counts))
    chain = "verified" if audit.valid else "BROKEN"
    console.print(f"audit log of the vault: {audit.entries:,} entries, {chain}")
    if scan is not None:
        if scan.problem is not None:
            problems[scan.problem] += 1
        counts = counts | scan.counts
        console.print(counts_table("secret scan", "the agent", "elsewhere", scan.counts))
        levels = ", ".join(
            f"{count} of level {level}" for level, count in sorted(scan.levels.items())
        )
        told = f"{scan.files} files, {scan.triaged} findings judged by a model: {levels}"
        report = os.path.relpath(scan.report)
        console.print(f"{told}; in SARIF: {report}", markup=False, soft_wrap=True)
        for one in scan.worst:
            console.print(f"  {one}", markup=False, soft_wrap=True)
    different = sum(here != there for here, there in counts.values())
    good = not problems and not different and audit.valid
    console.print(
        f"errors: {problems.total()}; counts that differ: {different} of {len(counts)}",
        style="bold green" if good else "bold red",
    )
    for text, count in problems.most_common(5):
        console.print(f"{count} x {text}", style="red", markup=False, soft_wrap=True)
    return good


def print_end(console: Console, parts: dict[str, float], budget: float) -> None:
    """Print where to look next, and what took how long."""
    console.print()
    for what, where in NEXT.items():
        console.print(f"{what:<34} {where}", markup=False)
    taken = sum(parts.values())
    each = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    console.print(
        f"\n{taken:.1f} s of {budget:.0f}: {each}",
        style="" if taken <= budget else "yellow",
        markup=False,
    )
