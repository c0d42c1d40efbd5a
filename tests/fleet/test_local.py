"""A fleet in this process: results, failures, attempts, windows, clients, agents."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ostiary import telemetry
from ostiary.client import AsyncOstiary, Ostiary, OstiaryConfig
from ostiary.errors import ClientStateError, InvalidArgumentError, RateLimitError
from ostiary.fleet import (
    AgentFailedError,
    Fleet,
    FleetReport,
    WorkEndedError,
    WorkTimeoutError,
    current,
)
from ostiary.gateway import Finding, Location
from tests.fleet import works
from tests.fleet.conftest import Ask

pytestmark = pytest.mark.usefixtures("no_leaked_descriptors")


@pytest.mark.parametrize("work", [works.double, works.double_async], ids=["plain", "coroutine"])
def test_every_input_has_its_result(ask: Ask, work: Any) -> None:
    report = ask(Fleet(work, concurrency=8), range(200))
    assert [(one.index, one.id, one.input, one.value) for one in report.results] == [
        (n, str(n), n, 2 * n) for n in range(200)
    ]
    assert (report.total, report.done, report.failed, report.retried) == (200, 200, 0, 0)
    assert all(one.ok and one.error is None and one.attempts == 1 for one in report.results)
    assert len({one.key for one in report.results}) == 200
    assert report.ok
    assert 0 < report.p50 <= report.p99
    assert report.seconds > 0


def test_nothing_to_do(ask: Ask) -> None:
    report = ask(Fleet(works.double), [])
    assert (report.done, report.results, report.p99) == (0, [], 0.0)


def test_a_failure_is_its_inputs_alone(ask: Ask) -> None:
    report = ask(Fleet(works.fail), range(60))
    assert report.errors == {"ValueError": 20}
    assert (report.failed, report.done, report.ok) == (20, 60, False)
    failed = [one for one in report.results if not one.ok]
    assert [one.input for one in failed] == list(range(0, 60, 3))
    assert str(failed[1].error) == "3 is a multiple of three"
    assert {one.index for one in report.failures} <= {one.index for one in failed}
    assert len(report.failures) == 20


def test_what_passes_is_tried_again_under_the_same_key(ask: Ask) -> None:
    work = works.Flaky(2)
    report = ask(Fleet(work, retries=2), range(10))
    assert [one.value for one in report.results] == [3] * 10
    assert [one.attempts for one in report.results] == [3] * 10
    assert report.retried == 10
    assert all(len(keys) == 1 for keys in work.keys.values())
    assert {one.input: {one.key} for one in report.results} == work.keys


def test_retries_end(ask: Ask) -> None:
    report = ask(Fleet(works.Flaky(5), retries=1), [1])
    assert report.errors == {"ConnectionLostError": 1}
    assert report.results[0].attempts == 2


def test_a_peer_says_when_to_come_back() -> None:
    seen: list[float] = []

    def work(given: int) -> None:
        seen.append(time.monotonic())
        if current().attempt == 1:
            raise RateLimitError("later", retry_after=0.3)

    assert Fleet(work).run([1]).ok
    assert seen[1] - seen[0] >= 0.3


def test_what_lasts_is_not_tried_again() -> None:
    calls: list[int] = []

    def work(given: int) -> None:
        calls.append(given)
        raise InvalidArgumentError("never")

    assert Fleet(work, retries=5).run([1]).errors == {"InvalidArgumentError": 1}
    assert calls == [1]


def test_keys_follow_from_run_and_id() -> None:
    def keys(**given: Any) -> list[str]:
        fleet = Fleet(works.where, **given)
        return [one.key for one in fleet.run(["a", "b"]).results]

    assert keys(run_id="r") == keys(run_id="r")
    assert keys(run_id="r") != keys(run_id="s")
    assert keys() != keys()
    assert keys(run_id="r", identify=str.upper) != keys(run_id="r")
    assert keys(run_id="r", identify=str.upper)[0] != keys(run_id="r", identify=str.upper)[1]


def test_the_work_knows_its_input() -> None:
    async def work(given: str) -> tuple[int, str, str, int, str]:
        await asyncio.sleep(0)
        at = current()
        return at.index, at.id, at.key, at.attempt, at.key_for("mail")

    (_, second) = Fleet(work, identify=lambda given: f"n-{given}").run("ab").results
    assert second.value == (1, "n-b", second.key, 1, f"{second.key}-mail")
    with pytest.raises(ClientStateError, match="for work that a fleet runs"):
        current()


@pytest.mark.parametrize("coroutine", [True, False], ids=["coroutine", "plain"])
def test_no_more_at_once_than_was_said(ask: Ask, coroutine: bool) -> None:
    now = most = 0
    lock = threading.Lock()
    both = threading.Barrier(4)

    def begin() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)

    def end() -> None:
        nonlocal now
        with lock:
            now -= 1

    def plain(given: int) -> None:
        begin()
        if given < 4:
            both.wait(60)  # so there are four
        end()

    async def loops(given: int) -> None:
        begin()
        await asyncio.sleep(0.001)
        end()

    assert ask(Fleet(loops if coroutine else plain, concurrency=4), range(40)).ok
    assert most == 4


def test_inputs_without_end_are_taken_as_there_is_room() -> None:
    taken = itertools.count()

    def inputs() -> Iterator[int]:
        for _ in iter(int, 1):
            yield next(taken)

    with Fleet(works.double, concurrency=5).stream(inputs()) as stream:
        found = [one.value for one in itertools.islice(stream, 20)]
    assert len(found) == 20
    assert next(taken) <= 20 + 5 + 1
    assert stream.report.done >= 20


def test_inputs_that_come_by_async_for() -> None:
    gate = asyncio.Event()

    async def inputs() -> AsyncIterator[int]:
        yield 1
        await gate.wait()  # the first result is given before there is a second input
        yield 2

    async def main() -> list[int]:
        found = []
        async for one in Fleet(works.double_async).stream(inputs()):
            found.append(one.value)
            gate.set()
        return found

    assert asyncio.run(main()) == [2, 4]
    with pytest.raises(InvalidArgumentError, match="async for"):
        Fleet(works.double).run(inputs())  # type: ignore[arg-type]


def test_work_runs_on_the_callers_loop() -> None:
    async def main() -> bool:
        loop = asyncio.get_running_loop()

        async def work(given: int) -> bool:
            return asyncio.get_running_loop() is loop

        return all(one.value for one in (await Fleet(work).run_async([1])).results)

    assert asyncio.run(main())


def test_a_notebook_may_ask_for_results_without_awaiting_them() -> None:
    """A loop runs on its thread already; it stands still meanwhile."""

    async def main() -> FleetReport:
        return Fleet(works.double_async).run([1, 2])

    assert [one.value for one in asyncio.run(main()).results] == [2, 4]


def test_what_the_inputs_raise_is_raised(ask: Ask) -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise KeyError("the source broke")

    with pytest.raises(KeyError, match="the source broke"):
        ask(Fleet(works.double), inputs())


def test_leaving_early_ends_what_runs() -> None:
    ended = threading.Event()

    async def work(given: int) -> int:
        if given == 0:
            return given
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return given

    with Fleet(work, concurrency=2).stream([1, 0]) as stream:
        assert next(stream).input == 0
    assert ended.is_set()

    async def main() -> None:
        ended.clear()
        async with Fleet(work, concurrency=2).stream([1, 0]) as stream:
            assert (await anext(stream)).input == 0
        assert ended.is_set()

    asyncio.run(main())


def test_a_stream_is_asked_in_one_way() -> None:
    stream = Fleet(works.double).stream([1, 2])
    assert next(stream).value in (2, 4)
    with pytest.raises(ClientStateError):
        asyncio.run(anext(stream))  # type: ignore[arg-type]
    stream.close()
    assert list(stream) == []
    unused = Fleet(works.double).stream([1])
    unused.close()
    with pytest.raises(ClientStateError):
        next(unused)


def test_an_attempt_has_a_limit() -> None:
    async def slow(given: int) -> None:
        await asyncio.sleep(3600)

    report = Fleet(slow, timeout=0.05, retries=1).run([1])
    assert isinstance(report.results[0].error, WorkTimeoutError)
    assert report.results[0].attempts == 2  # it was ended, and may be tried again

    gate = threading.Event()
    held = Fleet(lambda given: gate.wait(60), timeout=0.05, retries=1).run([1])
    gate.set()
    assert isinstance(held.results[0].error, WorkTimeoutError)
    assert held.results[0].attempts == 1  # a thread goes on


def test_a_timeout_of_the_works_own_is_no_limit_of_ours() -> None:
    def work(given: int) -> None:
        raise TimeoutError("mine")

    report = Fleet(work, timeout=60, retries=0).run([1])
    assert report.errors == {"TimeoutError": 1}


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (works.stop, RuntimeError),
        (works.leave, WorkEndedError),
        (works.interrupt, WorkEndedError),
        (works.end, WorkEndedError),
        (works.end_async, WorkEndedError),
    ],
    ids=["StopIteration", "SystemExit", "KeyboardInterrupt", "another's", "coroutine"],
)
def test_what_would_end_more_than_its_input(ask: Ask, work: Any, kind: type[Exception]) -> None:
    report = ask(Fleet(work), [1, 2])
    assert [type(one.error) for one in report.results] == [kind, kind]


def test_a_coroutine_that_interrupts_ends_its_input_alone() -> None:
    """On a loop of the fleet's own, where no Ctrl-C ever comes."""
    report = Fleet(works.interrupt_async).run([1, 2])
    assert report.errors == {"WorkEndedError": 2}


def test_work_that_hides_a_coroutine() -> None:
    @functools.wraps(works.double_async)
    def wrapped(given: int) -> Any:
        return works.double_async(given)

    report = Fleet(wrapped).run([1])
    assert isinstance(report.results[0].error, WorkEndedError)
    assert "coroutine" in str(report.results[0].error)


def test_what_no_thread_began_is_told_apart_and_tried_again() -> None:
    gate = threading.Event()
    # Two threads for one at once: the first two keep theirs.
    fleet = Fleet(lambda given: gate.wait(60), timeout=0.05, retries=1, concurrency=1)
    try:
        first, second, third = fleet.run(range(3)).results
    finally:
        gate.set()
    for one, began, attempts in ((first, True, 1), (second, True, 1), (third, False, 2)):
        assert isinstance(one.error, WorkTimeoutError)
        assert (one.error.began, one.attempts) == (began, attempts)
    assert "was not begun" in str(third.error)


def test_there_are_as_many_retries_as_were_asked_for() -> None:
    async def work(given: int) -> int:
        if current().attempt <= 70:
            raise RateLimitError("later", retry_after=0.0)
        return current().attempt

    assert Fleet(work, retries=80).run([1]).results[0].value == 71


def test_work_that_cancels_itself(ask: Ask) -> None:
    async def work(given: int) -> None:
        raise asyncio.CancelledError

    report = ask(Fleet(work), [1])
    assert isinstance(report.results[0].error, WorkEndedError)


def test_progress_is_told_after_each_result() -> None:
    told: list[tuple[int, int]] = []

    def progress(report: FleetReport) -> None:
        told.append((report.done, report.failed))

    Fleet(works.fail, concurrency=1, progress=progress).run(range(4))
    assert told == [(1, 1), (2, 1), (3, 1), (4, 2)]


def test_progress_is_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    Fleet(works.fail, progress=True).run(range(6))
    drawn = capfd.readouterr().err
    assert "6/6" in drawn
    assert "2 failed" in drawn


def test_context_goes_along() -> None:
    said = contextvars.ContextVar("said", default="nothing")

    async def work(given: int) -> str:
        return said.get()

    said.set("something")
    assert Fleet(work).run([1]).results[0].value == "something"
    assert Fleet(lambda given: said.get()).run([1]).results[0].value == "something"


def test_the_trace_goes_along(ask: Ask) -> None:
    def work(given: int) -> str:
        assert telemetry.trace_headers is not None
        return telemetry.trace_headers()["traceparent"]

    with telemetry.trace() as trace:
        report = ask(Fleet(work), [1])
    assert report.results[0].value == trace.traceparent


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"retries": -1}, "retries"),
        ({"workers": True}, "workers"),
        ({"batch": 0}, "batch"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"executor": "threads"}, "no executor"),
        ({"executor": "dask://"}, "no executor"),
        ({"executor": "ray://"}, "no executor"),
        ({"executor": 5}, "executor"),
        ({"client": {"runtime": {}}}, "OstiaryConfig"),
    ],
)
def test_wrong_arguments(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        Fleet(works.double, **given)


def test_what_is_no_inputs() -> None:
    with pytest.raises(InvalidArgumentError, match="not a int"):
        Fleet(works.double).run(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("work", [5, "double", works.Words, works.SageSanctumAgent])
def test_what_is_no_work(work: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        Fleet(work)


# --- clients


@pytest.fixture
def config(plane: Any, bare: Path) -> OstiaryConfig:
    return OstiaryConfig(runtime={"base_url": plane.runtime_unix_url})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("work", "kind"),
    [(works.status, "AsyncOstiary"), (works.status_sync, "Ostiary")],
    ids=["coroutine", "plain"],
)
def test_the_work_shares_one_client(ask: Ask, config: OstiaryConfig, work: Any, kind: str) -> None:
    report = ask(Fleet(work, client=config, concurrency=4), range(30))
    assert report.errors == {}
    assert len({one.value for one in report.results}) == 1
    assert report.results[0].value[0] == kind


def test_an_open_client_is_used_and_stays_open(config: OstiaryConfig) -> None:
    with Ostiary.from_config(config) as client:
        report = Fleet(works.status_sync, client=client).run([1, 2])
        assert {one.value[1] for one in report.results} == {id(client)}
        # A coroutine cannot use it, and has one of the same configuration.
        report = Fleet(works.status, client=client).run([1])
        assert report.results[0].value[0] == "AsyncOstiary"
        assert client.runtime.get_status() is not None

    async def main() -> None:
        async with AsyncOstiary.from_config(config) as client:
            report = await Fleet(works.status, client=client).run_async([1, 2])
            assert {one.value[1] for one in report.results} == {id(client)}
            assert await client.runtime.get_status() is not None

    asyncio.run(main())


def test_a_client_is_made_for_those_who_ask(bare: Path) -> None:
    def named(given: int, *, client: Any) -> str:
        return type(client).__name__

    def other(given: int, scale: int = 3) -> int:
        return given * scale

    assert Fleet(named).run([1]).results[0].value == "Ostiary"
    assert Fleet(other).run([2]).results[0].value == 6
    assert Fleet(len).run(["ab"]).results[0].value == 2


# --- agents


@pytest.fixture
def repositories(bare: Path) -> list[Path]:
    found = []
    for number in range(3):
        path = bare / f"repo{number}"
        path.mkdir()
        (path / "a.py").write_text("x = 1  # TODO: two\n" * (1 if number < 2 else 6))
        found.append(path)
    return found


def test_an_agents_findings_are_one_document(ask: Ask, repositories: list[Path]) -> None:
    first, second, third = repositories
    report = ask(Fleet(works.Todo), [first, str(second), {"path": str(first)}, str(third), "/no"])
    values = [one.value for one in report.results]
    assert [None if v is None else len(v.output.findings) for v in values] == [1, 1, 1, 6, None]
    failed = report.results[3].error
    assert isinstance(failed, AgentFailedError)
    assert (failed.exit_code, str(failed)) == (7, "too much")
    assert report.errors == {"AgentFailedError": 1, "InputValidationError": 1}
    # The first repository was looked at twice, and what was found there counts once.
    assert report.findings == 1 + 1 + 6
    runs = report.sarif()["runs"]
    assert [len(run["results"]) for run in runs] == [1, 1, 6]
    assert len({run["automationDetails"]["id"] for run in runs}) == 3
    path = repositories[0].parent / "deep" / "merged.sarif"
    report.write_sarif(path)
    assert path.is_file()


def test_agents_of_other_inputs(bare: Path) -> None:
    inputs = [{"text": "ab", "times": 2, "id": "x"}, works.Words("abc"), "a", {"wrong": 1}, 5]
    report = Fleet(works.Count).run(inputs)
    letters = [one.value and one.value.metadata["letters"] for one in report.results]
    assert letters == [4, 3, 1, None, None]
    assert report.errors == {"InvalidArgumentError": 2}
    assert "Words" in str(report.results[3].error)


def test_agents_ask_models(ask: Ask, plane: Any, bare: Path, monkeypatch: Any) -> None:
    for name, value in plane.gateway.environment.items():
        monkeypatch.setenv(name, value)
    report = ask(Fleet(works.Ask, concurrency=3), ["one", "two", "three", "four"])
    assert report.errors == {}
    assert all(
        "t" in one.value.metadata["said"] or one.value.metadata["said"] for one in report.results
    )
    (usage,) = report.usage
    assert usage.total_tokens > 0
    assert report.summary()["usage"][0]["model"] == usage.model  # type: ignore[index]


def test_findings_without_an_agent() -> None:
    def work(given: int) -> list[Finding]:
        return [Finding("rule", "T", "D", "high", Location("a.py", given % 2 + 1))]

    report = Fleet(work).run(range(10))
    assert report.findings == 2
    assert Fleet(works.double).run([1]).sarif()["runs"][0]["results"] == []
