"""Fleets whose work is done elsewhere: what travels, what is kept there, what a death costs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from ostiary import telemetry
from ostiary.client import AsyncOstiary, OstiaryConfig
from ostiary.fleet import (
    ExecutorError,
    Fleet,
    FleetReport,
    NotPortableError,
    RemoteError,
    WorkerLostError,
)
from ostiary.fleet.crews import crew_for
from ostiary.fleet.item import Item
from ostiary.fleet.worker import Worker
from tests.fleet import works
from tests.fleet.kills import run_with_kills

closes_all = pytest.mark.usefixtures("no_leaked_descriptors")


@pytest.fixture(scope="module")
def pool() -> Any:
    """Two processes that stay, as a caller's own executor."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        yield executor


@closes_all
def test_a_worker_that_is_killed_loses_no_input(tmp_path: Path) -> None:
    found = run_with_kills("processes", 400, 2, tmp_path)
    assert found.well, str(found)
    assert len(found.killed) == 2
    assert found.attempts > 400  # or nobody was in the middle of anything


@closes_all
def test_whoever_was_aboard_is_tried_again_under_its_key(tmp_path: Path) -> None:
    work = works.FallOnce(13, tmp_path / "fell")
    report = Fleet(work, executor="processes", concurrency=8).run(range(40))
    assert report.errors == {}
    assert [one.value[0] for one in report.results] == list(range(40))
    fallen = report.results[13]
    assert fallen.value[1] == fallen.key == (tmp_path / "fell").read_text()
    assert fallen.value[2] == fallen.attempts >= 2
    assert report.lost >= 1


@closes_all
def test_an_input_that_kills_each_worker_fails_alone() -> None:
    report = Fleet(works.fall, executor="processes", concurrency=8, retries=1).run(range(30))
    (failed,) = report.failures
    assert failed.input == 5
    assert isinstance(failed.error, WorkerLostError)
    assert "no other input beside it" in str(failed.error)
    assert failed.attempts == 2
    assert [one.value for one in report.results if one.ok] == [n for n in range(30) if n != 5]


def test_results_come_by_async_for_too(pool: Executor) -> None:
    async def main() -> tuple[list[int], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.ensure_future(tick())
        stream = Fleet(works.double, executor=pool).stream(range(50))
        found = [one.value async for one in stream]
        ticking.cancel()
        return sorted(found), ticks

    found, ticks = asyncio.run(main())
    assert found == [2 * n for n in range(50)]
    assert ticks > 1  # the loop was not held up


def test_errors_come_back_with_where_they_were_raised(pool: Executor) -> None:
    report = Fleet(works.fail, executor=pool).run(range(4))
    error = report.results[3].error
    assert isinstance(error, ValueError)
    assert str(error) == "3 is a multiple of three"
    (note,) = error.__notes__
    assert note.startswith("raised in process ")
    assert str(os.getpid()) not in note.partition(" of ")[0]
    assert "works.py" in note


def test_what_cannot_travel_is_its_inputs_failure(pool: Executor) -> None:
    lock = threading.Lock()
    report = Fleet(works.where, executor=pool).run([1, lock, 2])
    assert [one.ok for one in report.results] == [True, False, True]
    assert isinstance(report.results[1].error, NotPortableError)
    assert "input 1 cannot be sent" in str(report.results[1].error)

    back = Fleet(works.return_lock, executor=pool).run([1])
    assert isinstance(back.results[0].error, NotPortableError)

    unreadable = Fleet(works.raise_unreadable, executor=pool).run([1])
    assert isinstance(unreadable.results[0].error, RemoteError)
    assert "Unreadable: it" in str(unreadable.results[0].error)

    unspeakable = Fleet(works.raise_unspeakable, executor=pool).run([1])
    assert isinstance(unspeakable.results[0].error, RemoteError)
    assert str(unspeakable.results[0].error) == "Unspeakable"


@pytest.mark.parametrize(
    "work",
    [works.interrupt, works.interrupt_async, works.end, works.end_async],
    ids=["KeyboardInterrupt", "coroutine's", "another's", "another coroutine's"],
)
def test_what_would_end_a_process_ends_its_input(pool: Executor, work: Any) -> None:
    report = Fleet(work, executor=pool).run([1, 2])
    assert report.errors == {"WorkEndedError": 2}
    assert report.lost == 0


def test_a_fleet_has_its_threads_whatever_the_one_before_it_had() -> None:
    """In a process that stays; more of the one before it waited than it had threads."""
    barrier = threading.Barrier(4)
    narrow = Fleet(works.double, concurrency=1)
    wide = Fleet(lambda given: barrier.wait(60), concurrency=4)
    items = [Item(number, str(number), "", number) for number in range(20)]
    worker = Worker()
    try:
        assert len(worker.submit(narrow._work, items).result(60)) == 20
        met = worker.submit(wide._work, items[:4]).result(60)
    finally:
        worker.close()
    assert sorted(one.value for one in met) == [0, 1, 2, 3]


def test_work_that_cannot_travel_is_said_before_it_begins(pool: Executor) -> None:
    with pytest.raises(NotPortableError, match="the work cannot be sent"):
        Fleet(lambda given: given, executor=pool).run([1])


def test_work_that_is_not_there(pool: Executor, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "only_here.py").write_text("def work(given):\n    return given\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    with pytest.raises(ExecutorError, match=r"only_here.*has to be there as well"):
        Fleet(only_here.work, executor=pool).run([1, 2])


@pytest.mark.parametrize("work", [works.status, works.status_sync], ids=["coroutine", "plain"])
def test_each_process_keeps_one_client(pool: Executor, plane: Any, bare: Path, work: Any) -> None:
    config = OstiaryConfig(runtime={"base_url": plane.runtime_unix_url})  # type: ignore[arg-type]
    seen: set[tuple[int, int]] = set()
    for _ in range(2):  # a second fleet finds it there
        report = Fleet(work, client=config, executor=pool, concurrency=4).run(range(24))
        assert report.errors == {}
        seen |= {(one.value[2], one.value[1]) for one in report.results}
    processes = [process for process, _ in seen]
    assert len(processes) == len(set(processes)) <= 2


def test_agents_elsewhere(pool: Executor, bare: Path) -> None:
    (bare / "a.py").write_text("# TODO\n")
    report = Fleet(works.Todo, executor=pool).run([str(bare), bare])
    assert report.errors == {}
    assert report.findings == 1


def test_surroundings_of_fleets_that_are_over_are_not_kept_for_ever(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that sees many fleets, as a cluster's does, keeps those of the last few."""
    monkeypatch.setattr(tempfile, "tempdir", str(bare))
    with ThreadPoolExecutor(1) as threads:
        for _ in range(12):
            assert Fleet(works.Count, executor=threads).run(["a"]).ok
    # The one that is just being removed included.
    assert 1 <= len(list(bare.glob("ostiary-work-*"))) <= 9


def test_the_trace_goes_along(pool: Executor) -> None:
    with telemetry.trace() as trace:
        report = Fleet(traceparent, executor=pool).run([1])
    assert report.results[0].value == trace.traceparent
    assert Fleet(traceparent, executor=pool).run([1]).results[0].value is None


def traceparent(given: int) -> str | None:
    asked = telemetry.trace_headers
    return None if asked is None else asked().get("traceparent")


def test_threads_are_an_executor_from_which_nothing_travels() -> None:
    lock = threading.Lock()
    with ThreadPoolExecutor(3) as threads:
        report = Fleet(lambda given: (given, lock), executor=threads, concurrency=6).run(range(20))
    assert [one.value for one in report.results] == [(n, lock) for n in range(20)]


@pytest.mark.parametrize(
    "given",
    [
        {"concurrency": 2},
        {"concurrency": 4, "batch": 3},
        {"concurrency": 4, "batch": 10},
        {"concurrency": 6, "workers": 2},
        {"concurrency": 40},
    ],
    ids=str,
)
def test_no_more_at_once_than_was_said_whatever_the_executor_has(given: dict[str, int]) -> None:
    counting, at_once, most = threading.Lock(), 0, 0

    def work(given: int) -> None:
        nonlocal at_once, most
        with counting:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.005)
        with counting:
            at_once -= 1

    with ThreadPoolExecutor(16) as threads:
        report = Fleet(work, executor=threads, **given).run(range(100))  # type: ignore[arg-type]
    assert report.done == 100
    assert 1 <= most <= given["concurrency"]


def test_threads_make_a_client_of_what_was_given(plane: Any, bare: Path) -> None:
    """The one that was given is of the caller's loop, and is not theirs to use."""

    async def main() -> FleetReport:
        section: Any = {"base_url": plane.runtime_unix_url}
        async with AsyncOstiary(runtime=section) as client:
            await client.runtime.get_status()
            with ThreadPoolExecutor(1) as threads:
                fleet = Fleet(works.status, client=client, executor=threads)
                return await fleet.run_async([1, 2])

    report = asyncio.run(main())
    assert report.errors == {}


def test_forked_processes_do_not_use_their_parents_worker() -> None:
    """The parent has a worker with a thread, by the executor of the test before."""
    with ThreadPoolExecutor(1) as threads:
        assert Fleet(works.double, executor=threads).run([1]).ok
    script = """
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from ostiary.fleet import Fleet
from tests.fleet import works
with ThreadPoolExecutor(1) as threads:
    assert Fleet(works.double, executor=threads).run([1]).ok
with ProcessPoolExecutor(2, mp_context=get_context("fork")) as forked:
    print([one.value for one in Fleet(works.double, executor=forked).run(range(5)).results])
"""
    assert run_script(script) == "[0, 2, 4, 6, 8]"


def test_an_executor_that_is_broken_for_good() -> None:
    executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    with pytest.raises(ExecutorError, match="a function that makes the executor"):
        Fleet(works.fall, executor=executor).run([5, 6])
    executor.shutdown()
    with pytest.raises(ExecutorError, match="do not answer"):
        Fleet(works.double, executor=executor).run([1])


@closes_all
def test_a_function_makes_executors_anew() -> None:
    made = []

    def make() -> Executor:
        made.append(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        return made[-1]

    report = Fleet(works.fall, executor=make, retries=0).run([4, 5, 6])
    assert report.errors == {"WorkerLostError": 1}
    assert len(made) >= 2


class Refusing(Executor):
    """Takes each call and does none but the first, a greeting."""

    def __init__(self) -> None:
        self.greeted = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        if self.greeted:
            answer.set_exception(RuntimeError("the quota of team red is used up"))
        else:
            answer.set_result(fn(*args, **kwargs))
        self.greeted = True
        return answer


def test_what_an_executor_says_is_told() -> None:
    report = Fleet(works.double, executor=Refusing()).run([1])
    assert isinstance(report.results[0].error, WorkerLostError)
    assert "the quota of team red is used up" in str(report.results[0].error)


def test_a_function_that_makes_no_executor() -> None:
    def fail() -> Executor:
        raise OSError("no such cluster")

    with pytest.raises(ExecutorError, match="OSError: no such cluster"):
        Fleet(works.double, executor=fail).run([1])
    with pytest.raises(ExecutorError, match="returned a int"):
        Fleet(works.double, executor=lambda: 5).run([1])  # type: ignore[arg-type, return-value]


def test_whoever_is_cancelled_ends_the_executor_that_was_being_made() -> None:
    making, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    class Noted(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            ended.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    def make() -> Executor:
        making.set()
        go_on.wait(60)
        return Noted(1)

    async def main() -> None:
        task = asyncio.create_task(Fleet(works.double, executor=make).run_async([1]))
        assert await asyncio.to_thread(making.wait, 60)
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)  # whoever waits for nothing is done by now
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended.is_set()


def test_whoever_is_cancelled_does_not_wait_for_workers_that_never_come() -> None:
    asked = threading.Event()

    class Nobody(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            asked.set()
            return Future()

    async def main() -> None:
        task = asyncio.create_task(Fleet(works.double, executor=Nobody()).run_async([1]))
        assert await asyncio.to_thread(asked.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())  # which waits for its threads


@closes_all
def test_a_pool_that_is_ended_early_breaks_without_noise() -> None:
    """Also where more was sent than its processes have taken; a thread's error is one here."""
    fleet = Fleet(works.hold, executor="processes")
    crew = crew_for("processes", fleet._work, 1, 1)
    crew.open(None)
    for number in range(12):
        item = Item(number, str(number), "", number)
        assert crew.prepare(item) is None
        crew.submit([item])
    crew.close(early=True)


@closes_all
def test_leaving_early_ends_the_processes() -> None:
    with Fleet(works.where, executor="processes", concurrency=2).stream(iter(int, 1)) as stream:
        process = next(stream).value[1]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from ostiary.fleet import Fleet, ExecutorError\n"
        "try:\n"
        "    Fleet(len, executor='processes').run([1])\n"
        "except ExecutorError as error:\n"
        "    print('if __name__' in str(error))\n"
    )
    assert run_script(script).splitlines()[-1] == "True"


def test_a_process_that_is_starting_hears_no_interrupt(tmp_path: Path) -> None:
    """A Ctrl-C goes to all processes of a terminal: those that load modules would say so."""
    script = tmp_path / "starts.py"
    script.write_text(
        "import signal\n"
        "from ostiary.fleet import Fleet\n"
        "def held_back(given):\n"
        "    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "if __name__ == '__mp_main__':\n"
        "    print('starting', held_back(0), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    report = Fleet(held_back, executor='processes', workers=1).run([1])\n"
        "    print('at work', report.results[0].value, 'here', held_back(0))\n"
    )
    assert run_script(script).splitlines() == ["starting True", "at work False here False"]


def run_script(script: str | Path) -> str:
    what = [str(script)] if isinstance(script, Path) else ["-c", script]
    done = subprocess.run(
        [sys.executable, *what], capture_output=True, text=True, timeout=100, check=True
    )
    return done.stdout.strip()
