"""Report events while the server is stopped and started again, and count what arrived.

    python -m tests.workflow.telemetry_outages [EVENTS]

The program that reports is a process of its own, so that its memory can be told; the server is
the embedded one, stopped twice and started again on the same home. Each stop comes while batches
are under way.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from ostiary.devserver.inprocess import RunningVault, running
from ostiary.workflow import TelemetryCounters, TelemetryPipeline, WorkflowClient

EVENTS = 100_000
# Parts of the whole: where the server is stopped, until where it stays away.
OUTAGES = ((0.20, 0.40), (0.60, 0.80))
MAX_QUEUE = 5_000


class Report(NamedTuple):
    """What the reporting side says at its end. Sizes are bytes."""

    counters: TelemetryCounters
    grown: int
    """By how much the peak of its memory grew while it reported."""
    most_queued: int
    most_queued_bytes: int
    seconds: float


class Outcome(NamedTuple):
    """What was found on the server."""

    report: Report
    stored: int
    distinct: int
    lost: int
    in_order: bool


def peak_memory() -> int:
    """Return the most memory this process has had, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes, where there is no /proc
    # Not `getrusage`, which remembers the process that this one was forked from.
    (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def report(url: str, spool: str, total: int, told: Connection) -> None:
    """Report `total` events; tell how far it is, and wait where the server is to be away."""
    marks = {int(total * part): True for pair in OUTAGES for part in pair}
    # Behind a stop: nothing more is reported before the server is gone.
    pauses = {int(total * (first + 0.05)) for first, _ in OUTAGES}
    most = most_bytes = 0
    began = time.perf_counter()
    peak = peak_memory()
    with WorkflowClient(url, timeout=10) as client:
        pipeline = TelemetryPipeline(
            client, spool=spool, max_queue=MAX_QUEUE, flush_interval=0.2, block_timeout=120
        )
        for number in range(total):
            if number in marks:
                told.send(number)
            if number in pauses:
                told.recv()
            pipeline.event(
                "step_end",
                {"number": number, "success": True},
                workflow_id="outages",
                task_id=f"task-{number % 7}",
            )
            if number % 1000 == 0:
                now = pipeline.counters
                most = max(most, now.queued)
                most_bytes = max(most_bytes, now.queued_bytes)
        pipeline.flush(120)
        counters = pipeline.close(60)
    grown = peak_memory() - peak
    told.send(Report(counters, grown, most, most_bytes, time.perf_counter() - began))


class Server:
    """The embedded server on one home and one socket, which can be stopped and started."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.vault: RunningVault
        self._stack = ExitStack()

    def start(self) -> str:
        self.vault = self._stack.enter_context(running(self.home, tcp=False, demo=True))
        return self.vault.workflow_unix_url

    def stop(self) -> None:
        self._stack.close()


def outages(total: int, directory: Path, *, own_process: bool) -> Outcome:
    """Report `total` events through the outages and count what the server has."""
    server = Server(directory / "home")
    ours, theirs = multiprocessing.Pipe()
    url = server.start()
    arguments = (url, str(directory / "spool.db"), total, theirs)
    reporter: Any
    if own_process:
        reporter = multiprocessing.get_context("spawn").Process(target=report, args=arguments)
    else:
        reporter = threading.Thread(target=report, args=arguments)
    reporter.start()
    try:
        for _ in OUTAGES:
            ours.recv()
            server.stop()
            ours.send("stopped")
            ours.recv()
            assert server.start() == url
        found: Report = ours.recv()
        reporter.join()
        with WorkflowClient(url, timeout=60) as client:
            numbers: Counter[int] = Counter()
            first_seen: list[int] = []
            for event in client.iter_events(workflow_id="outages", limit=1000):
                number = event.data["number"]
                numbers[number] += 1
                first_seen.append(number)
    finally:
        server.stop()
        ours.close()
        theirs.close()
    return Outcome(
        found,
        stored=numbers.total(),
        distinct=len(numbers),
        lost=len(set(range(total)) - numbers.keys()),
        in_order=first_seen == sorted(first_seen),
    )


def main() -> int:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    with tempfile.TemporaryDirectory(prefix="outages-") as directory:
        outcome = outages(total, Path(directory), own_process=True)
    found, counters = outcome.report, outcome.report.counters
    print(f"reported {counters.reported:,} events in {found.seconds:.1f} s, two outages")
    print(f"sent {counters.sent:,} + spooled {counters.spooled:,} = {counters.reported:,}")
    print(f"replayed from the file {counters.replayed:,}, left in it {counters.waiting:,}")
    print(f"dropped {counters.dropped:,}, refused {counters.rejected:,}")
    print(f"told twice and counted once {counters.duplicates:,}")
    print(f"on the server {outcome.stored:,}: {outcome.distinct:,} different ones")
    print(f"lost {outcome.lost:,}, duplicated {outcome.stored - outcome.distinct:,}")
    print(f"in the order of their times: {outcome.in_order}")
    print(
        f"memory: at most {found.most_queued:,} reports ({found.most_queued_bytes / 1024:,.0f} "
        f"KiB) waited; the process grew by {found.grown / 2**20:.1f} MiB"
    )
    fine = (
        counters.sent + counters.spooled == counters.reported == total
        and counters.replayed == counters.spooled
        and outcome.lost == 0
        and outcome.stored == outcome.distinct == total
    )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
