"""200 agents, five services, a secret scan, then one table: `make demo`.

The services run in a process of their own, on private Unix sockets below a temporary home
that is removed at the end, Ctrl-C included. Every agent logs in to the vault with a key of
its own; it asks governance before it acts, talks to a model through the gateway, leases and
uses credentials, streams what it is allowed to do, has the runtime sign its tool, do its
tasks, keep its secrets and remember, and has workflows run. Most agents share one event loop and
one async client of each service, the others blocking ones on threads. Then the agent of
examples/secret_scan reads this repository, has the model judge what it finds, and puts it
into the vault.

Exits 0 only when no call failed, every answer was the one to its question, every lease
granted was given back, governance decided as it must, and what the agents counted is what
the services counted; and when the traces can be read back and the audit log verifies.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from rich.console import Console

from ostiary import OstiaryError
from ostiary.devserver.admin import AdminClient

from .accounts import ask_services, progress, report
from .agents import prepare, run_agents
from .scan import ROOT, Scan, scan_repository
from .services import DemoError, services_at


def loop_factory() -> tuple[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return uvloop's if it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return "asyncio", asyncio.new_event_loop
    return "uvloop", uvloop.new_event_loop


def demo(count: int, threads: int, seconds: float, repository: Path | None) -> int:
    """Run it all below a temporary directory; return the exit code."""
    console = Console(highlight=False)
    loop_name, factory = loop_factory()
    top = Path(tempfile.mkdtemp(prefix="ostiary-demo-"))
    try:
        console.print("starting the five services in a process of their own")
        with services_at(top / "home") as services, AdminClient(services.socket) as admin:
            console.print(f"making {count} key pairs and registering their agents")
            agents = prepare(admin, top / "keys", count)
            console.print(
                f"{count - threads} agents on an event loop ({loop_name}) and {threads} on threads "
                "are at work"
            )
            with progress(console, seconds) as show, asyncio.Runner(loop_factory=factory) as one:
                elapsed, reports = one.run(run_agents(services, agents, threads, seconds, show))
            accounts = ask_services(admin, services, agents, reports)
            scan: Scan | None = None
            if repository is not None:
                console.print(f"one more agent looks for secrets in {repository}")
                scan = scan_repository(repository, services, admin, accounts.used, top / "scan")
            verdict = admin.audit_verify()
            title = f"{count} agents, each with its own key, for {elapsed:.1f} s"
            audit = (verdict.valid, verdict.entries)
            good = report(console, services, agents, accounts, scan, audit, title, elapsed)
            return 0 if good else 1
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
    """Take SIGTERM as Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def main() -> int:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description="Many agents against the embedded services of all five domains.",
    )
    parser.add_argument("--agents", type=int, default=200, help="how many, up to 1000 (200)")
    parser.add_argument("--threads", type=int, help="how many of them on threads (a tenth)")
    parser.add_argument("--seconds", type=float, default=4.0, help="for how long (4)")
    parser.add_argument(
        "--repo", type=Path, default=ROOT, help="what to look for secrets in (this repository)"
    )
    parser.add_argument("--no-scan", action="store_true", help="look for none")
    arguments = parser.parse_args()
    agents: int = arguments.agents
    threads: int = agents // 10 if arguments.threads is None else arguments.threads
    if not 1 <= agents <= 1000 or not 0 <= threads <= agents or not arguments.seconds > 0:
        parser.error("--agents is 1 to 1000, --threads not more, and --seconds more than 0")
    allow_descriptors(2 * agents + 400)
    # Both ways of being told to stop run the same clean-up; a shell's background job would
    # ignore the one that the other turns into.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        repository: Path | None = None if arguments.no_scan else arguments.repo.resolve()
        return demo(agents, threads, arguments.seconds, repository)
    except KeyboardInterrupt:
        print("stopped; nothing is left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
