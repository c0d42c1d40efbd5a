"""What becomes of reports when a process ends, or is copied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .collector import Collector

HEAD = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks beside threads are what this is about
from ostiary.workflow import TelemetryPipeline, WorkflowClient
def made(**options):
    return TelemetryPipeline(WorkflowClient(sys.argv[1]), flush_interval=60, **options)
def tell(pipeline, numbers):
    for number in numbers:
        pipeline.event("custom", {"number": number, "process": os.getpid()})
"""


def run(collector: Collector, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program, collector.url, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr, done.stderr
    return done.stdout


def test_a_process_that_ends_sends_what_there_is(collector: Collector) -> None:
    run(collector, "tell(made(), range(25))")
    assert collector.numbers() == list(range(25))


def test_one_that_ends_by_an_error_too(collector: Collector) -> None:
    run(
        collector,
        "pipeline = made()\ntell(pipeline, range(5))\n"
        "import atexit\natexit.register(lambda: tell(pipeline, [5]))\nsys.exit(0)",
    )
    assert collector.numbers() == list(range(6)), "what others report at the end, as well"


def test_one_that_ends_without_a_server_keeps_them(collector: Collector, tmp_path: Path) -> None:
    spool = str(tmp_path / "s.db")
    program = (
        "pipeline = TelemetryPipeline(WorkflowClient('unix:///nowhere/s', max_retries=0),"
        " spool=sys.argv[2])\ntell(pipeline, range(9))"
    )
    run(collector, program, spool)
    assert collector.numbers() == []
    run(collector, "print(made(spool=sys.argv[2]).flush(30))", spool)
    assert collector.numbers() == list(range(9))


def test_a_killed_one_loses_nothing_that_was_on_file(collector: Collector, tmp_path: Path) -> None:
    spool = str(tmp_path / "s.db")
    program = """
import signal
pipeline = TelemetryPipeline(WorkflowClient("unix:///nowhere/s", max_retries=0), spool=sys.argv[2])
tell(pipeline, range(50))
pipeline.flush(0.2)
while pipeline.counters.spooled < 50:
    pass
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run(
        [sys.executable, "-c", HEAD + program, collector.url, spool],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (killed.returncode, killed.stdout) == (-9, "ready\n"), killed.stderr
    run(collector, "print(made(spool=sys.argv[2]).flush(30))", spool)
    assert collector.numbers() == list(range(50))


@pytest.mark.parametrize("spooled", [False, True], ids=["memory", "file"])
def test_a_child_begins_with_an_empty_one(
    collector: Collector, tmp_path: Path, spooled: bool
) -> None:
    spool = f"spool={str(tmp_path / 's.db')!r}" if spooled else ""
    out = run(
        collector,
        f"""
pipeline = made({spool})
tell(pipeline, range(10))
pipeline.flush(30)
tell(pipeline, range(10, 20))
child = os.fork()
if child == 0:
    assert pipeline.counters.reported == 0, pipeline.counters
    tell(pipeline, range(100, 110))
    counters = pipeline.close(30)
    assert (counters.reported, counters.sent + counters.replayed) == (10, 10), counters
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert pipeline.counters.reported == 20
tell(pipeline, range(20, 30))
print(pipeline.close(30).sent)
""",
    )
    assert out == "30\n"
    assert sorted(collector.numbers()) == [*range(30), *range(100, 110)]
    assert collector.repeated == 0


def test_a_child_of_a_child_while_others_report(collector: Collector) -> None:
    run(
        collector,
        """
import threading
pipeline = made(max_batch=10)
stop = threading.Event()
def busy():
    number = 1000
    while not stop.is_set():
        tell(pipeline, [number])
        number += 1
thread = threading.Thread(target=busy)
thread.start()
for turn in range(5):
    child = os.fork()
    if child == 0:
        tell(pipeline, [turn])
        grandchild = os.fork()
        if grandchild == 0:
            tell(pipeline, [100 + turn])
            pipeline.close(30)
            os._exit(0)
        status = os.waitpid(grandchild, 0)[1]
        pipeline.close(30)
        os._exit(status != 0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
print(pipeline.counters.reported)
""",
    )
    numbers = collector.numbers()
    assert {number for number in numbers if number < 1000} == {*range(5), *range(100, 105)}
    busy = [number for number in numbers if number >= 1000]
    assert busy == list(range(1000, 1000 + len(busy)))
    assert collector.repeated == 0


def test_workers_of_multiprocessing_send_what_they_have(collector: Collector) -> None:
    run(
        collector,
        """
import multiprocessing
pipeline = made()
def work(at):
    tell(pipeline, [at])
context = multiprocessing.get_context("fork")
workers = [context.Process(target=work, args=(at,)) for at in range(3)]
for one in workers: one.start()
for one in workers: one.join()
assert all(one.exitcode == 0 for one in workers)
""",
    )
    assert sorted(collector.numbers()) == [0, 1, 2]
