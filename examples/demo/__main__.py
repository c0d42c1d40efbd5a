"""500 agents, five services, a secret scan, then the figures: `make demo`.

The services run in a process of their own, on private Unix sockets below a temporary home
that is removed at the end, Ctrl-C included. Every agent logs in to the vault with a key of
its own; it has the runtime sign its tool and a person approve what it is up to. Then it asks
governance before it acts, talks to a model through the gateway, leases and uses credentials,
streams what it is allowed to do, keeps a secret, remembers a sentence and has a workflow run.
Most agents share one event loop and one `AsyncOstiary`, the others one `Ostiary` on threads.
Then one agent does the same alone, which shows what a call costs. At last the agent of
examples/secret_scan reads this repository, has the model judge what it finds, puts it into
the vault and writes SARIF.

Exits 0 only when no call failed, every answer was the one to its question, every lease
granted was given back, governance decided as it must, and what the agents counted is what
the services counted; and when the traces can be read back and the audit log verifies.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from ostiary import OstiaryError
from ostiary.devserver.admin import AdminClient

from . import screen
from .accounts import ask_services, calls_due
from .agents import prepare
from .crowd import run_agents
from .services import DemoError, services_at

if TYPE_CHECKING:
    from .scan import Scan

ROOT = Path(__file__).resolve().parents[2]
ALONE_ROUNDS = 20
# Where there is no terminal to ask for its width.
LOG_COLUMNS = 100
BUDGET = 60.0


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    agents: int
    threads: int
    rounds: int
    repository: Path | None
    files: int
    report: Path


class Stopwatch:
    """What each part took, one after the other."""

    def __init__(self) -> None:
        self._begun: list[tuple[str, float]] = []

    def begin(self, name: str) -> None:
        """Begin a part, which ends the one before."""
        self._begun.append((name, time.monotonic()))

    def parts(self) -> dict[str, float]:
        """Return the seconds of each; the last one ends now."""
        ends = [*(at for _, at in self._begun[1:]), time.monotonic()]
        return {name: end - at for (name, at), end in zip(self._begun, ends, strict=True)}


def loop_factory() -> tuple[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return uvloop's if it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return "asyncio", asyncio.new_event_loop
    return "uvloop", uvloop.new_event_loop


def demo(plan: Plan) -> int:
    """Run it all below a temporary directory; return the exit code."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_COLUMNS)
    watch = Stopwatch()
    top = Path(tempfile.mkdtemp(prefix="ostiary-demo-"))
    try:
        with contextlib.ExitStack() as stack:
            good = run(plan, console, watch, top, stack)
            watch.begin("the end")
    except (DemoError, OstiaryError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    finally:
        shutil.rmtree(top, ignore_errors=True)
    screen.print_end(console, watch.parts(), BUDGET)
    return 0 if good else 1


def run(
    plan: Plan, console: Console, watch: Stopwatch, top: Path, stack: contextlib.ExitStack
) -> bool:
    """Run it all; return whether everything is as it must be. `stack` ends the services."""
    watch.begin("start")
    console.print("starting the five services in a process of their own")
    services = stack.enter_context(services_at(top / "home"))
    admin = stack.enter_context(AdminClient(services.socket))

    watch.begin("keys")
    console.print(f"making {plan.agents} key pairs and registering their agents")
    services.admit(admin)
    everybody = prepare(admin, top / "keys", plan.agents + 1)
    *agents, alone = everybody

    watch.begin("agents")
    loop_name, factory = loop_factory()
    console.print(
        f"{plan.agents - plan.threads} agents on an event loop ({loop_name}) and {plan.threads} "
        "on threads are at work, then one alone"
    )
    with (
        screen.progress(console, agents, plan.rounds) as show,
        asyncio.Runner(loop_factory=factory) as runner,
    ):
        ran, reports = runner.run(
            run_agents(services, agents, plan.threads, plan.rounds, alone, ALONE_ROUNDS, show)
        )

    watch.begin("questions")
    due = calls_due(len(agents), plan.rounds) + calls_due(1, ALONE_ROUNDS)
    accounts = ask_services(admin, services, everybody, reports, due)
    scan: Scan | None = None
    if plan.repository is not None:
        from .scan import PARTS, scan_repository  # what it needs is in the group `examples`

        watch.begin("scan")
        console.print(f"one more agent looks for secrets in {plan.repository}, in two processes")
        plan.report.parent.mkdir(parents=True, exist_ok=True)
        with screen.parts(console, PARTS) as show_parts:
            scan = scan_repository(
                plan.repository,
                services,
                admin,
                accounts.used,
                plan.report,
                plan.files,
                show_parts,
            )
    verdict = admin.audit_verify()
    return screen.print_figures(console, everybody, ran, accounts.counts, scan, verdict)


def allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files; macOS begins with 256, and the child inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def interrupt(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM as Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def main() -> int:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description="Many agents against the embedded services of all five domains.",
    )
    parser.add_argument("--agents", type=int, default=500, help="how many, up to 1000 (500)")
    parser.add_argument("--threads", type=int, help="how many of them on threads (a tenth)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each does it all (1)")
    parser.add_argument(
        "--repo", type=Path, default=ROOT, help="what to look for secrets in (this repository)"
    )
    parser.add_argument(
        "--files", type=int, default=2000, help="in how many of its files at most (2000)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=ROOT / "build" / "demo" / "results.sarif",
        help="where what was found is written (build/demo/results.sarif)",
    )
    parser.add_argument("--no-scan", action="store_true", help="look for none")
    given = parser.parse_args()
    agents: int = given.agents
    threads: int = agents // 10 if given.threads is None else given.threads
    if not 1 <= agents <= 1000 or not 0 <= threads <= agents:
        parser.error("--agents is 1 to 1000, and --threads not more")
    if given.rounds < 1 or given.files < 1:
        parser.error("--rounds and --files are at least 1")
    allow_descriptors(2 * agents + 400)
    # Both ways of being told to stop run the same clean-up; a shell's background job would
    # ignore the one that the other turns into.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, interrupt)
    repository: Path | None = None if given.no_scan else given.repo.resolve()
    try:
        return demo(
            Plan(agents, threads, given.rounds, repository, given.files, given.report.resolve())
        )
    except KeyboardInterrupt:
        print("stopped; nothing is left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
