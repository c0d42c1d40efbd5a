"""One of many does the work: threads, tasks, two loops, cancellation, failure, fork."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from ostiary._io.flight import SingleFlight
from ostiary.errors import ConnectError, DeadlineError
from tests.conftest import Run

FAR = 30.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, without end but for the test's own limit."""
    while not condition():
        time.sleep(0.001)


def soon(seconds: float = FAR) -> float:
    return time.monotonic() + seconds


def waiters(flights: SingleFlight[Any]) -> int:
    flight = flights._flight
    return 0 if flight is None else len(flight.waiters)


class Work:
    """Counts how often it is done; each time waits to be let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def __call__(self) -> int:
        self.begun += 1
        assert self.go.wait(FAR)
        return self.begun

    async def slowly(self) -> int:
        self.begun += 1
        while not self.go.is_set():
            await asyncio.sleep(0.001)
        return self.begun


def in_thread(function: Callable[[], Any], results: list[Any]) -> threading.Thread:
    def main() -> None:
        try:
            results.append(function())
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            results.append(error)

    thread = threading.Thread(target=main)
    thread.start()
    return thread


def test_many_threads_do_it_once() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work, results = Work(), []
    threads = [in_thread(lambda: flights.run(work, soon()), results) for _ in range(8)]
    until(lambda: waiters(flights) == 7)
    assert flights.busy
    work.go.set()
    for one in threads:
        one.join()
    assert results == [1] * 8
    assert not flights.busy
    assert flights.run(work, soon()) == 2


def test_many_tasks_do_it_once(run: Run) -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()

    async def main() -> list[int]:
        tasks = [asyncio.create_task(flights.run_async(work.slowly, soon())) for _ in range(50)]
        while waiters(flights) < 49:
            await asyncio.sleep(0)
        work.go.set()
        return await asyncio.gather(*tasks)

    assert run(main()) == [1] * 50


def test_threads_and_the_tasks_of_two_loops_do_it_once(run: Run) -> None:
    flights: SingleFlight[int] = SingleFlight()
    work, results = Work(), []

    def loop_of_its_own() -> int:
        return asyncio.run(flights.run_async(work.slowly, soon()))

    async def main() -> int:
        threads = [in_thread(loop_of_its_own, results)]
        while not flights.busy:
            await asyncio.sleep(0)
        threads.append(in_thread(lambda: flights.run(work, soon()), results))
        task = asyncio.create_task(flights.run_async(work.slowly, soon()))
        while waiters(flights) < 2:
            await asyncio.sleep(0.001)
        work.go.set()
        found = await task
        for one in threads:
            one.join()
        return found

    assert run(main()) == 1
    assert results == [1, 1]


def test_a_failure_is_everybodys_and_a_copy_for_each() -> None:
    flights: SingleFlight[int] = SingleFlight()
    go, begun, results = threading.Event(), [], []

    def work() -> int:
        begun.append(1)
        assert go.wait(FAR)
        raise ConnectError("nobody is there")

    threads = [in_thread(lambda: flights.run(work, soon()), results) for _ in range(4)]
    until(lambda: waiters(flights) == 3)
    go.set()
    for one in threads:
        one.join()
    assert begun == [1]
    assert [type(each) for each in results] == [ConnectError] * 4
    assert len({id(each) for each in results}) == 4
    assert not flights.busy


def test_a_defect_is_the_leaders_alone() -> None:
    flights: SingleFlight[int] = SingleFlight()
    go, results = threading.Event(), []

    def work() -> int:
        if not go.is_set():
            assert go.wait(FAR)
            raise ZeroDivisionError
        return 7

    first = in_thread(lambda: flights.run(work, soon()), results)
    until(lambda: flights.busy)
    second = in_thread(lambda: flights.run(work, soon()), results)
    until(lambda: waiters(flights) == 1)
    go.set()
    first.join()
    second.join()
    assert sorted(map(repr, results)) == ["7", "ZeroDivisionError()"]


def test_a_cancelled_leader_hands_over(run: Run) -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()

    async def main() -> int:
        leader = asyncio.create_task(flights.run_async(work.slowly, soon()))
        while not work.begun:
            await asyncio.sleep(0)
        other = asyncio.create_task(flights.run_async(work.slowly, soon()))
        while not waiters(flights):
            await asyncio.sleep(0)
        leader.cancel()
        work.go.set()
        found = await other
        assert leader.cancelled()
        return found

    assert run(main()) == 2
    assert not flights.busy


def test_a_cancelled_waiter_leaves_nothing(run: Run) -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()

    async def main() -> int:
        leader = asyncio.create_task(flights.run_async(work.slowly, soon()))
        while not work.begun:
            await asyncio.sleep(0)
        other = asyncio.create_task(flights.run_async(work.slowly, soon()))
        while not waiters(flights):
            await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        assert waiters(flights) == 0
        work.go.set()
        return await leader

    assert run(main()) == 1


def test_a_call_on_the_leaders_own_thread_does_not_wait_for_it(run: Run) -> None:
    """Waiting would stop the very loop that has to go on."""
    flights: SingleFlight[int] = SingleFlight()
    work = Work()

    async def main() -> tuple[int, int]:
        leader = asyncio.create_task(flights.run_async(work.slowly, soon()))
        while not work.begun:
            await asyncio.sleep(0)
        own = flights.run(lambda: 5, soon())
        work.go.set()
        return own, await leader

    assert run(main()) == (5, 1)


def test_whoever_waits_has_a_deadline_of_his_own(run: Run) -> None:
    flights: SingleFlight[int] = SingleFlight()
    work, results = Work(), []
    leader = in_thread(lambda: flights.run(work, soon()), results)
    until(lambda: flights.busy)
    with pytest.raises(DeadlineError):
        flights.run(work, soon(0.01))
    with pytest.raises(DeadlineError):
        run(flights.run_async(work.slowly, soon(0.01)))
    work.go.set()
    leader.join()
    assert results == [1]


def test_a_timer_that_rings_early_takes_nobodys_place() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work, results = Work(), []
    leader = in_thread(lambda: flights.run(work, soon()), results)
    until(lambda: flights.busy)
    flight = flights._flight
    assert flight is not None
    with pytest.raises(DeadlineError):
        flights._overdue(flight, soon(1))
    assert flights._flight is flight
    work.go.set()
    leader.join()
    assert results == [1]


def test_a_leader_whose_loop_has_died_is_replaced(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostiary._io.flight._GRACE", 0.0)
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    # Led by a task that nobody drives any more.
    stuck = flights.run_async(work.slowly, soon(0.02))
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(stuck)
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        assert flights.busy
        done: list[Any] = []
        in_thread(lambda: flights.run(lambda: 9, soon()), done).join()
        assert done == [9]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
    finally:
        loop.close()
    assert run(flights.run_async(_three, soon())) == 3


async def _three() -> int:
    return 3


def test_a_child_waits_for_no_thread_of_its_parent() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work, results = Work(), []
    leader = in_thread(lambda: flights.run(work, soon()), results)
    until(lambda: flights.busy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is what is tested
        child = os.fork()
    if not child:
        try:
            os._exit(0 if flights.run(lambda: 4, soon(5)) == 4 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    work.go.set()
    leader.join()
    assert results == [1]


def test_nothing_asynchronous_is_loaded_for_threads() -> None:
    import subprocess
    import sys

    program = (
        "import sys, time\nfrom ostiary._io.flight import SingleFlight\n"
        "print(SingleFlight().run(lambda: 1, time.monotonic() + 5), 'asyncio' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "False"]
