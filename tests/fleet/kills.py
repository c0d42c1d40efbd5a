"""Kill workers while a fleet runs, and count what was lost or came twice.

    python -m tests.fleet.kills [--on dask,ray,processes] [--inputs 2000] [--kills 1]

On a Dask cluster of two worker processes, on Ray on this machine, and on processes of the
fleet's own. Each attempt at an input leaves a line with its idempotency key and its process in
a file; when a part of the inputs have their result, a process that has left lines is killed
with SIGKILL. Every input has to have one result, and one key however often it was tried.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostiary.fleet import Fleet, FleetReport, current


@dataclass
class Task:
    """The work; a line in the journal for each attempt."""

    journal: str

    def __call__(self, given: int) -> tuple[int, int]:
        at = current()
        line = f"{at.index} {at.key} {os.getpid()}\n".encode()
        # One write to a file opened for appending: lines of two processes do not mix.
        number = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(number, line)
        finally:
            os.close(number)
        time.sleep(0.002)
        return given * given, os.getpid()


@dataclass
class Count:
    """What one run came to."""

    inputs: int
    results: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    killed: list[int] = field(default_factory=list)
    attempts: int = 0
    keys: int = 0
    seconds: float = 0.0
    report: FleetReport | None = None

    @property
    def missing(self) -> int:
        return self.inputs - len(self.results)

    @property
    def doubled(self) -> int:
        return sum(count - 1 for count in self.results.values())

    @property
    def well(self) -> bool:
        return not (self.missing or self.doubled or self.wrong) and self.keys == self.inputs

    def __str__(self) -> str:
        assert self.report is not None
        return (
            f"{len(self.killed)} killed, {self.inputs:,} inputs, {self.results.total():,} results, "
            f"{self.missing} missing, {self.doubled} twice, {self.wrong} wrong; "
            f"{self.attempts:,} attempts under {self.keys:,} keys, {self.report.retried} inputs "
            f"run again, {self.seconds:.1f} s"
        )


def run_with_kills(
    executor: str | Executor | Callable[[], Executor], inputs: int, kills: int, directory: Path
) -> Count:
    """Run a fleet and kill a worker that has worked, `kills` times, evenly spread."""
    journal = directory / "journal"
    found = Count(inputs)
    due = [inputs * (number + 1) // (kills + 2) for number in range(kills)]
    began = time.monotonic()
    fleet = Fleet(Task(str(journal)), executor=executor, concurrency=32)
    with fleet.stream(iter(range(inputs))) as stream:
        for result in stream:
            found.results[result.index] += 1
            found.wrong += result.error is not None or result.value[0] != result.input**2
            if due and len(found.results) >= due[0]:
                due.pop(0)
                # Whoever wrote last, so that it is in the middle of its work.
                process = int(journal.read_text("ascii").split()[-1])
                os.kill(process, signal.SIGKILL)
                found.killed.append(process)
    lines = [line.split() for line in journal.read_text("ascii").splitlines()]
    found.attempts, found.keys = len(lines), len({(index, key) for index, key, _ in lines})
    found.seconds, found.report = time.monotonic() - began, stream.report
    return found


@contextmanager
def dask_executor() -> Iterator[Executor]:
    """Yield the executor of a client of a cluster of two processes with one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client.get_executor()


class NotStartedError(RuntimeError):
    """Ray's daemons did not start; they give one another 15 seconds, which may be too few."""


def start_ray() -> AbstractContextManager[Executor]:
    """Start Ray with two CPUs; the block has its tasks as an executor, and ends it."""
    import ray

    for _ in range(3):
        try:
            ray.init(
                num_cpus=2,
                object_store_memory=100 * 1024 * 1024,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except Exception as error:  # noqa: BLE001 - it raises that
            ray.shutdown()
            reason = str(error)
        else:
            return _started_ray()
    raise NotStartedError(f"Ray does not start on this machine: {reason}")


@contextmanager
def _started_ray() -> Iterator[Executor]:
    import ray

    from ostiary.fleet.ray import RayExecutor

    try:
        yield RayExecutor()
    finally:
        ray.shutdown()


@contextmanager
def own_processes() -> Iterator[str]:
    """Yield the name of the fleet's own processes."""
    yield "processes"


EXECUTORS: dict[str, Callable[[], Any]] = {
    "dask": dask_executor,
    "ray": start_ray,
    "processes": own_processes,
}


def main() -> int:
    """Print a line for each executor; 1 when an input was lost, doubled or changed its key."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--on", default=",".join(EXECUTORS))
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=1)
    options = parser.parse_args()
    well = True
    for name in options.on.split(","):
        with (
            tempfile.TemporaryDirectory(prefix="fleet-kills-") as directory,
            EXECUTORS[name]() as executor,
        ):
            found = run_with_kills(executor, options.inputs, options.kills, Path(directory))
        print(f"{name:9}  {found}", flush=True)
        well = well and found.well and len(found.killed) == options.kills
    return not well


if __name__ == "__main__":
    sys.exit(main())
