"""The rules of a run: order, tries, limits, what is undone, what an id stands for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.workflow.engine import backoff
from ostiary.devserver.workflow.engine.round import Round
from ostiary.devserver.workflow.tools import ToolCall, tool
from ostiary.workflow.models import (
    RetryConfig,
    WorkflowEvent,
    WorkflowExecutionResult,
    WorkflowPage,
    WorkflowStatus,
    reader,
)
from tests.devserver.workflow_stage import (
    BOT,
    Stage,
    Time,
    chain,
    fails,
    statuses,
    task,
    until,
    workflow,
)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def slow(tmp_path: Path) -> Stage:
    """A stage where time passes by hand."""
    return Stage(tmp_path, Time(by_hand=True))


def retry(attempts: int, backoff_ms: int = 1000, **more: Any) -> dict[str, Any]:
    return {"max_attempts": attempts, "backoff_ms": backoff_ms, **more}


# -- order and results ---------------------------------------------------------


def test_tasks_run_one_after_the_other_each_after_what_it_waits_for(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            after = {"d": ["b", "c"], "b": ["a"], "c": ["a"]}
            result = await stage.execute(workflow("d", "c", "b", "a", after=after))
            assert stage.ran == ["a", "b", "c", "d"]
            assert result["status"] == "success"
            assert set(statuses(result).values()) == {"success"}
            assert stage.calls[3].upstream == {"b": "b done", "c": "c done"}
            assert list(stage.calls[3].upstream) == ["b", "c"]

    run(main())


def test_an_empty_workflow_succeeds(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            result = await stage.execute(workflow())
            assert (result["status"], result["task_results"]) == ("success", {})
            assert stage.engine.status("w")["progress"] == 1.0

    run(main())


def test_a_tool_is_told_what_it_needs(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow(task("a", inputs={"n": [1, {"x": None}]}))
            await stage.execute(spec, context={"batch": "b9"}, correlation_id="trace-9")
            (call,) = stage.calls
            assert call.inputs == {"n": [1, {"x": None}]}
            assert call.context == {"batch": "b9"}
            assert (call.workflow_id, call.attempt, call.task.id) == ("w", 1, "a")
            assert call.sandbox == stage.sandbox
            assert not call.cancelled.is_set()
            assert len(call.idempotency_key) == 64

    run(main())


def test_the_first_failure_ends_it_and_the_rest_is_skipped(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails()])
        async with stage.open():
            result = await stage.execute(workflow("a", task("b", "bad"), "c"))
            assert result["status"] == "partial"
            assert statuses(result) == {"a": "success", "b": "failed", "c": "skipped"}
            assert result["error"] == "task b: disk full after 1 attempt"
            assert stage.ran == ["a", "b"]
            assert await stage.log("w") == [
                "WORKFLOW_STARTED",
                "TASK_STARTED a",
                "TASK_COMPLETED a",
                "TASK_STARTED b",
                "TASK_FAILED b",
                "WORKFLOW_FAILED",
            ]

    run(main())


def test_a_failure_before_anything_was_done_is_no_partial_success(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [ValueError("no such row")])
        async with stage.open():
            result = await stage.execute(workflow(task("a", "bad"), "b"))
            assert result["status"] == "failed"
            assert result["task_results"]["a"]["error"] == "ValueError: no such row"

    run(main())


def test_a_task_without_a_tool_stands_between_others(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow("a", task("join", None, inputs={"k": 1}), "b", after=chain(*"ab"))
            result = await stage.execute(spec)
            assert result["task_results"]["join"]["result"] == {"k": 1}
            assert result["status"] == "success"

    run(main())


def test_what_is_told_fits_the_models(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails(), fails()])
        async with stage.open() as engine:
            spec = workflow("a", task("b", "bad", retry=retry(2)), "c")
            result = await stage.execute(spec, correlation_id="t-1")
            read = reader(WorkflowExecutionResult)(msgspec.json.encode(result))
            assert read.status == "partial"
            assert read.correlation_id == "t-1"
            assert read.task_results["b"].attempts == 2
            status = reader(WorkflowStatus)(msgspec.json.encode(engine.status("w")))
            assert status.is_terminal
            assert status.outcome == "partial"
            assert status.progress == pytest.approx(1 / 3)
            assert [one.status for one in status.tasks] == ["completed", "failed", "skipped"]
            page = reader(WorkflowPage)(msgspec.json.encode(engine.listed()))
            assert page.workflows[0].workflow_id == "w"
            events = [one async for one in engine.events("w")]
            read_events = reader(list[WorkflowEvent])(msgspec.json.encode(events))
            assert [one.sequence for one in read_events] == list(range(1, len(events) + 1))
            assert read_events[-1].is_final

    run(main())


# -- tries ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "waits"),
    [
        (retry(4, 100), [0.1, 0.2, 0.4]),
        (retry(4, 100, backoff_multiplier=3.0), [0.1, 0.3, 0.9]),
        (retry(4, 100, backoff_multiplier=0), [0.1, 0.1, 0.1]),
        (retry(4, 100, backoff_multiplier=0.5), [0.1, 0.05, 0.025]),
        (retry(4, 40_000), [40.0, 60.0, 60.0]),
        (retry(4, 1000, max_backoff_ms=1500), [1.0, 1.5, 1.5]),
    ],
    ids=["doubling", "tripling", "constant", "shrinking", "capped", "capped-by-task"],
)
def test_waits_grow_as_the_task_says(run, stage, config, waits) -> None:
    async def main() -> None:
        stage.tool("bad", [fails()] * 4)
        async with stage.open():
            spec = workflow(task("a", "bad", retry={**config, "jitter": False}))
            result = await stage.execute(spec)
            assert stage.time.slept == pytest.approx(waits)
            assert result["error"].endswith("after 4 attempts")
            assert [call.attempt for call in stage.calls] == [1, 2, 3, 4]
            assert len({call.idempotency_key for call in stage.calls}) == 1

    run(main())


@pytest.mark.parametrize("jitter", [None, True])
def test_jitter_is_on_unless_it_is_off(jitter: bool | None) -> None:
    config = RetryConfig(max_attempts=2, backoff_ms=1000, jitter=jitter)
    assert backoff.delay(config, 1, lambda: 0.0) == 0.5
    assert backoff.delay(config, 1, lambda: 0.999) == pytest.approx(1.499)
    assert backoff.delay(config, 2, lambda: 0.5) == 2.0
    assert backoff.delay(None, 1, lambda: 0.5) == 1.0


def test_a_wait_has_an_end_however_often_was_tried() -> None:
    config = RetryConfig(max_attempts=10**6, backoff_ms=10**9, backoff_multiplier=1e300)
    assert backoff.delay(config, 10**6, lambda: 0.9) == backoff.LONGEST


def test_a_retry_that_helps_leaves_no_error(run, stage) -> None:
    async def main() -> None:
        stage.tool("shaky", [fails(), fails(), "third time"])
        async with stage.open() as engine:
            result = await stage.execute(workflow(task("a", "shaky", retry=retry(3))))
            assert result["task_results"]["a"]["result"] == "third time"
            assert "error" not in result["task_results"]["a"]
            assert "error" not in engine.status("w")["tasks"][0]
            assert await stage.log("w") == [
                "WORKFLOW_STARTED",
                *["TASK_STARTED a", "TASK_RETRY a"] * 2,
                "TASK_STARTED a",
                "TASK_COMPLETED a",
                "WORKFLOW_COMPLETED",
            ]

    run(main())


def test_an_error_that_says_so_is_not_tried_again(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails("no such account", retry=False)])
        async with stage.open():
            await stage.execute(workflow(task("a", "bad", retry=retry(5))))
            assert len(stage.calls) == 1

    run(main())


# -- limits ----------------------------------------------------------------------


def test_a_coroutine_out_of_time_is_cancelled_and_tried_again(run, stage) -> None:
    ended: list[str] = []

    async def hang(call: ToolCall) -> str:
        if call.attempt == 2:
            return "in time"
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
            assert call.cancelled.is_set()
        raise AssertionError

    async def main() -> None:
        stage.tool("hang", hang)
        async with stage.open():
            spec = workflow(task("a", "hang", timeout_ms=50, retry=retry(2)))
            result = await stage.execute(spec)
            assert result["task_results"]["a"]["result"] == "in time"
            assert ended == ["cancelled"]

    run(main())


@pytest.mark.parametrize("sandbox", [None, {"enabled": True}])
def test_the_last_try_out_of_time_is_a_timeout(run, stage, sandbox) -> None:
    async def hang(_: ToolCall) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        stage.tool("hang", hang, simulate=hang)
        async with stage.open() as engine:
            spec = workflow(task("a", "hang", timeout_ms=50, sandbox_config=sandbox))
            result = await stage.execute(spec)
            assert result["error"] == "task a: timed out after 50 ms after 1 attempt"
            assert engine.status("w")["tasks"][0]["status"] == "timeout"
            assert (await stage.log("w"))[-2:] == ["TASK_TIMEOUT a", "WORKFLOW_FAILED"]

    run(main())


def test_a_function_out_of_time_is_told_and_left(run, slow) -> None:
    entered, told = threading.Event(), threading.Event()

    @tool
    def block(call: ToolCall) -> str:
        entered.set()
        if call.cancelled.wait(30):
            told.set()
        return "too late"

    async def main() -> None:
        slow.tools.add(block)
        async with slow.open() as engine:
            running = asyncio.ensure_future(
                slow.execute(workflow(task("a", "block", timeout_ms=50)))
            )
            await until(entered.is_set)
            slow.time.go_by(0.06)
            result = await running
            assert result["task_results"]["a"]["status"] == "failed"
            await until(told.is_set)
            assert engine.status("w")["tasks"][0]["status"] == "timeout"

    run(main())


def test_a_run_that_is_out_of_time_is_broken_off_and_undone(run, slow) -> None:
    entered = asyncio.Event()

    async def hang(_: ToolCall) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def main() -> None:
        slow.tool("hang", hang)
        slow.tool("undo")
        async with slow.open():
            spec = workflow(task("a", compensation_action={"tool": "undo"}), task("b", "hang"), "c")
            running = asyncio.ensure_future(slow.execute(spec, context={"deadline_ms": 5000}))
            await asyncio.wait_for(entered.wait(), 20)
            slow.time.go_by(5.0)
            result = await running
            assert result["status"] == "partial"
            assert "deadline of 5 seconds" in result["error"]
            assert slow.ran == ["a", "b", "-a"]
            assert statuses(result) == {"a": "success", "b": "failed", "c": "skipped"}

    run(main())


def test_a_deadline_that_passes_when_all_is_done_undoes_nothing(run, slow) -> None:
    async def last(_: ToolCall) -> str:
        slow.time.go_by(60.0)
        return "done"

    async def main() -> None:
        slow.tool("last", last)
        slow.tool("undo")
        async with slow.open():
            spec = workflow(task("a", "last", compensation_action={"tool": "undo"}))
            result = await slow.execute(spec, context={"deadline_ms": 50})
            assert result["task_results"]["a"]["status"] == "success"
            assert result["status"] == "success"

    run(main())


# -- what tools may do wrong -----------------------------------------------------


def exits(_: ToolCall) -> None:
    raise SystemExit(3)


def stops(_: ToolCall) -> None:
    raise StopIteration("odd")


async def cancels_itself(_: ToolCall) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda _: object(), "no JSON: object"),
        (lambda _: "x" * (4 * 1024 * 1024), "bytes, and a result has at most"),
        (exits, "tried to end the process"),
        (stops, "StopIteration: odd"),
        (cancels_itself, "cancelled itself"),
        (lambda _: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda _: (_ for _ in ()).throw(KeyError("k" * 9999)), "..."),
    ],
    ids=["object", "huge", "exit", "stop-iteration", "cancel", "raise", "long-words"],
)
@pytest.mark.parametrize("on_thread", [False, True], ids=["coroutine", "thread"])
def test_whatever_a_tool_does_is_the_task_s_failure(
    run, stage, function: Callable[[ToolCall], Any], told: str, on_thread: bool
) -> None:
    async def main() -> None:
        if on_thread:
            stage.tools.add(function, "odd")
        else:
            stage.tool("odd", function)
        async with stage.open():
            result = await stage.execute(workflow(task("a", "odd")))
            error = result["task_results"]["a"]["error"]
            # A coroutine cannot end by StopIteration: Python says so in words of its own.
            assert told in error or "StopIteration" in error
            assert len(error) <= 500
            after = await stage.execute(workflow("b", id="other"))
            assert after["status"] == "success"

    run(main())


def test_an_unknown_tool_is_not_tried_again(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow(task("a", "wrok", retry=retry(3)))
            result = await stage.execute(spec)
            entry = result["task_results"]["a"]
            assert entry["error"] == "there is no tool 'wrok'; there are: work"
            assert (entry["failure_code"], entry["attempts"]) == ("TOOL_ERROR", 1)
            assert ("feasibility_check", 0.0) in stage.metrics

    run(main())


def test_what_could_not_be_undone_is_not_begun(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow(task("a", compensation_action={"tool": "gone"}))
            result = await stage.execute(spec)
            assert "'gone', which is unknown here" in result["task_results"]["a"]["error"]
            assert stage.calls == []

    run(main())


def test_a_task_must_not_say_less_than_its_tool_risks(run, stage) -> None:
    async def main() -> None:
        from ostiary.workflow.enums import RiskTier

        stage.tool("charge", risk=RiskTier.MEDIUM)
        async with stage.open():
            low = await stage.execute(workflow(task("a", "charge"), id="low"))
            assert "is of MEDIUM risk" in low["task_results"]["a"]["error"]
            fair = await stage.execute(workflow(task("a", "charge", risk_tier="MEDIUM"), id="fair"))
            assert fair["status"] == "success"
            undo = task("a", compensation_action={"tool": "charge"})
            result = await stage.execute(workflow(undo, id="undo"))
            assert "is of MEDIUM risk" in result["task_results"]["a"]["error"]
            stage.calls.clear()
            strategy = {"type": "retry_alt_tool", "tool_name": "charge", "max_retries": 1}
            gate = {
                "name": "g",
                "validators": ["nobody"],
                "block_on_failure": True,
                "recovery_strategy": strategy,
            }
            result = await stage.execute(workflow("a", id="other"), context={"gates": {"*": gate}})
            assert "is of MEDIUM risk" in result["task_results"]["a"]["error"]
            assert [call.task.tool_name for call in stage.calls] == ["work"]
            assert len(stage.calls) == 1

    run(main())


# -- sandboxes --------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [{"enabled": True}, {"enabled": True, "type": "mock"}, {"enabled": True, "type": "simulation"},
     {"enabled": True, "type": "container", "simulation_mode": True}],
    ids=["plain", "mock", "simulation", "simulation-mode"],
)  # fmt: skip
def test_what_is_played_never_reaches_the_tool(run, stage, config) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow(task("a", inputs={"n": 1}, sandbox_config=config))
            result = await stage.execute(spec)
            assert stage.calls == []
            assert result["task_results"]["a"]["result"] == {
                "simulated": True,
                "tool": "work",
                "inputs": {"n": 1},
            }

    run(main())


def test_a_tool_may_play_itself_and_is_undone_by_playing(run, stage) -> None:
    async def play(call: ToolCall) -> dict[str, Any]:
        return {"would": call.inputs}

    async def main() -> None:
        stage.tool("charge", simulate=play)
        stage.tool("bad", [fails()])
        async with stage.open():
            played = {"enabled": True}
            spec = workflow(
                task("a", "charge", sandbox_config=played, compensation_action={"tool": "charge"}),
                task("b", "bad"),
            )
            result = await stage.execute(spec)
            assert result["task_results"]["a"]["result"] == {"would": {}}
            assert result["task_results"]["a"]["compensated"] is True
            assert stage.ran == ["b"]

    run(main())


@pytest.mark.parametrize("kind", ["container", "vm", "process"])
def test_a_sandbox_that_is_not_there_is_an_error(run, stage, kind: str) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow(
                task("a", sandbox_config={"enabled": True, "type": kind}, retry=retry(3))
            )
            result = await stage.execute(spec)
            assert f"no sandbox of the type {kind}" in result["task_results"]["a"]["error"]
            assert (stage.calls, stage.time.slept) == ([], [])

    run(main())


# -- what an id stands for ---------------------------------------------------------


def test_a_finished_workflow_gives_its_result_again_and_says_nothing_new(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            first = await stage.execute(workflow("a", "b"))
            log = await stage.log("w")
            again = await stage.execute(workflow("a", "b"))
            assert again == first
            assert stage.ran == ["a", "b"]
            assert await stage.log("w") == log

    run(main())


def test_another_workflow_under_an_id_is_a_conflict_unless_it_replaces(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            await stage.execute(workflow("a", "b"))
            with pytest.raises(HttpRefusal) as caught:
                await stage.execute(workflow("a", "c"))
            assert (caught.value.status, caught.value.code) == (409, "WORKFLOW_CONFLICT")
            result = await stage.execute(workflow("a", "c"), rerun=True)
            assert statuses(result) == {"a": "success", "c": "success"}
            assert stage.ran == ["a", "b", "a", "c"]
            # What is done anew is another effect.
            assert stage.calls[0].idempotency_key != stage.calls[2].idempotency_key
            assert stage.engine.spec("w")["tasks"][1]["id"] == "c"

    run(main())


def test_a_failed_workflow_goes_on_with_fresh_tries(run, stage) -> None:
    async def main() -> None:
        stage.tool("shaky", [fails(), fails(), fails(), "at last"])
        async with stage.open():
            spec = workflow("a", task("b", "shaky", retry=retry(2)), "c")
            first = await stage.execute(spec)
            assert first["error"].endswith("after 2 attempts")
            second = await stage.execute(spec)
            assert second["status"] == "success"
            assert "error" not in second
            assert stage.ran == ["a", "b", "b", "b", "b", "c"]
            assert second["task_results"]["a"] == first["task_results"]["a"]
            assert second["task_results"]["b"]["attempts"] == 2

    run(main())


def test_two_at_a_time_under_one_id_are_refused(run, slow) -> None:
    go = asyncio.Event()

    async def wait(_: ToolCall) -> None:
        await go.wait()

    async def main() -> None:
        slow.tool("wait", wait)
        async with slow.open() as engine:
            spec = workflow(task("a", "wait"))
            submitted = await engine.submit(spec, principal=BOT)
            assert submitted["status"] == "running"
            with pytest.raises(HttpRefusal) as caught:
                await slow.execute(spec)
            assert (caught.value.status, caught.value.code) == (409, "WORKFLOW_RUNNING")
            with pytest.raises(HttpRefusal) as caught:
                await engine.result("w", wait=False)
            assert caught.value.code == "WORKFLOW_RUNNING"
            go.set()
            assert (await engine.result("w"))["status"] == "success"
            assert len(slow.calls) == 1

    run(main())


def test_who_heard_the_last_event_has_the_result(run, stage, monkeypatch) -> None:
    """Asked for when the end is on the disk, and the run is not put away yet."""
    asking: list[asyncio.Future[dict[str, Any]]] = []
    go = Round.go

    async def main() -> None:
        async with stage.open() as engine:

            async def asked_at_the_end(round: Round, *, resumed: bool) -> None:
                await go(round, resumed=resumed)
                asking.append(asyncio.ensure_future(engine.result("w", wait=False)))
                await asyncio.sleep(0)

            monkeypatch.setattr(Round, "go", asked_at_the_end)
            await stage.execute(workflow("a"))
            assert (await asking[0])["status"] == "success"

    run(main())


def test_who_stops_waiting_does_not_stop_the_workflow(run, slow) -> None:
    go = asyncio.Event()

    async def wait(_: ToolCall) -> None:
        await go.wait()

    async def main() -> None:
        slow.tool("wait", wait)
        async with slow.open() as engine:
            waiting = asyncio.ensure_future(slow.execute(workflow(task("a", "wait"), "b")))
            await until(lambda: slow.calls)
            waiting.cancel()
            await asyncio.wait([waiting])
            go.set()
            assert (await engine.result("w"))["status"] == "success"

    run(main())


@pytest.mark.parametrize(
    "id", ["../../etc/passwd", "a b/c?d#e", "..", "%2e%2e", "ü\n\u2028", "x" * 2000, "'; --"]
)
def test_an_id_may_be_any_text(run, stage, tmp_path: Path, id: str) -> None:
    async def main() -> None:
        async with stage.open() as engine:
            before = sorted(path.name for path in tmp_path.parent.iterdir())
            result = await stage.execute(workflow(task(id), "b", id=id))
            assert result["workflow_id"] == id
            assert statuses(result) == {id: "success", "b": "success"}
            assert engine.status(id)["workflow_id"] == id
            assert sorted(path.name for path in tmp_path.parent.iterdir()) == before

    run(main())


def test_what_is_unknown_is_not_found(run, stage) -> None:
    async def main() -> None:
        async with stage.open() as engine:
            for ask in (engine.status, engine.spec):
                with pytest.raises(HttpRefusal) as caught:
                    ask("nobody")
                assert (caught.value.status, caught.value.code) == (404, "WORKFLOW_NOT_FOUND")
            for ask in (engine.result, engine.cancel):
                with pytest.raises(HttpRefusal) as caught:
                    await ask("nobody")
                assert caught.value.status == 404
            with pytest.raises(HttpRefusal):
                await anext(engine.events("nobody"))

    run(main())


@pytest.mark.parametrize(
    ("context", "path"),
    [
        ({"concurrency": 0}, "context.concurrency"),
        ({"concurrency": True}, "context.concurrency"),
        ({"concurrency": 100_000}, "context.concurrency"),
        ({"deadline_ms": 0}, "context.deadline_ms"),
        ({"deadline_ms": "soon"}, "context.deadline_ms"),
        ({"approval_wait_ms": -1}, "context.approval_wait_ms"),
        ({"gates": []}, "context.gates"),
        ({"gates": {"zz": {}}}, "context.gates.zz"),
        ({"gates": {"a": {"name": "g"}}}, "context.gates.a.validators"),
        (
            {
                "gates": {
                    "*": {
                        "name": "g",
                        "validators": [],
                        "block_on_failure": True,
                        "recovery_strategy": {"type": "pray"},
                    }
                }
            },
            "context.gates.*.recovery_strategy",
        ),
        ({"x": object()}, "context"),
    ],
)
def test_a_context_that_cannot_be_meant_is_refused(run, stage, context, path: str) -> None:
    async def main() -> None:
        async with stage.open():
            with pytest.raises(HttpRefusal) as caught:
                await stage.execute(workflow("a"), context=context)
            assert caught.value.status == 422
            assert path in [one["path"] for one in caught.value.details["errors"]]
            assert stage.calls == []

    run(main())


def test_nobody_tries_without_end(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            with pytest.raises(HttpRefusal) as caught:
                await stage.execute(workflow("a", task("b", retry=retry(1001))))
            assert caught.value.details["errors"][0]["path"] == "tasks[1].retry.max_attempts"

    run(main())


def test_too_many_at_once_are_sent_away(run, slow) -> None:
    async def hang(_: ToolCall) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        slow.tool("hang", hang)
        async with slow.open() as engine:
            await asyncio.gather(
                *(
                    engine.submit(workflow(task("a", "hang"), id=f"w{number}"), principal=BOT)
                    for number in range(1000)
                )
            )
            with pytest.raises(HttpRefusal) as caught:
                await slow.execute(workflow("a", id="one more"))
            assert (caught.value.status, caught.value.code) == (429, "TOO_MANY_WORKFLOWS")
            await engine.cancel("w7")
            await engine.result("w7")
            assert (await slow.execute(workflow("a", id="one more")))["status"] == "success"

    run(main())


def test_the_results_of_one_workflow_have_a_limit_together(run, stage) -> None:
    async def main() -> None:
        stage.tool("large", lambda _: "x" * (4 * 1024 * 1024 - 2))
        async with stage.open():
            names = [f"t{number}" for number in range(17)]
            spec = workflow(*(task(name, "large", retry=retry(3)) for name in names))
            result = await stage.execute(spec)
            assert [name for name, one in statuses(result).items() if one == "failed"] == ["t16"]
            assert "have at most 67108864 bytes" in result["error"]
            # Nor is there more room when it goes on.
            again = await stage.execute(spec)
            assert statuses(again) == statuses(result)

    run(main())


def test_a_graph_that_cannot_be_run_is_refused(run, stage) -> None:
    async def main() -> None:
        async with stage.open() as engine:
            with pytest.raises(HttpRefusal) as caught:
                await stage.execute(workflow("a", "b", after={"a": ["b"], "b": ["a"]}))
            assert caught.value.status == 422
            assert caught.value.details["cycle"] == ["a", "b", "a"]
            with pytest.raises(HttpRefusal) as caught:
                await stage.execute(workflow("a", "a", after={"a": ["x"], "y": []}))
            assert len(caught.value.details["errors"]) == 3
            assert engine.listed() == {"workflows": [], "next_cursor": None}

    run(main())


def test_workflows_are_listed_newest_first_in_pages(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails()])
        async with stage.open() as engine:
            for number in range(5):
                await stage.execute(workflow("a", id=f"w{number}"))
                stage.time.now += 60
            await stage.execute(workflow(task("a", "bad"), id="bad"))
            page = engine.listed(limit=2)
            assert [one["workflow_id"] for one in page["workflows"]] == ["bad", "w4"]
            found = []
            while page["next_cursor"] is not None:
                page = engine.listed(limit=2, cursor=page["next_cursor"])
                found += [one["workflow_id"] for one in page["workflows"]]
            assert found == ["w3", "w2", "w1", "w0"]
            failed = engine.listed("failed")["workflows"]
            assert [one["workflow_id"] for one in failed] == ["bad"]
            start = 1_900_000_000.0
            some = engine.listed(started_after=start + 60, started_before=start + 120)
            assert [one["workflow_id"] for one in some["workflows"]] == ["w2", "w1"]
            assert len(engine.listed(name="workflow w3")["workflows"]) == 1
            with pytest.raises(HttpRefusal):
                engine.listed(cursor="x")

    run(main())


# -- keys of the caller's own ------------------------------------------------------


def test_a_caller_s_key_stands_for_one_effect_everywhere(run, stage) -> None:
    async def main() -> None:
        stage.tool("charge", lambda call: {"charged": len(stage.calls)})
        async with stage.open():
            same = {"idempotency_key": "order-7", "inputs": {"amount": 5}}
            first = await stage.execute(workflow(task("a", "charge", **same), id="one"))
            second = await stage.execute(workflow(task("b", "charge", **same), id="two"))
            assert second["task_results"]["b"]["result"] == {"charged": 1}
            assert second["task_results"]["b"]["replayed"] is True
            assert first["task_results"]["a"]["result"] == {"charged": 1}
            assert stage.ran == ["a"]
            assert stage.calls[0].idempotency_key == "order-7"
            # Another tool under the same key is another effect.
            await stage.execute(workflow(task("c", "work", **same), id="three"))
            assert stage.ran == ["a", "c"]
            stage.time.now += 86_401
            await stage.execute(workflow(task("d", "charge", **same), id="four"))
            assert stage.ran == ["a", "c", "d"]

    run(main())


def test_a_caller_s_key_with_other_inputs_is_a_conflict(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            key = {"idempotency_key": "k", "retry": retry(3)}
            await stage.execute(workflow(task("a", inputs={"n": 1}, **key), id="one"))
            result = await stage.execute(workflow(task("a", inputs={"n": 2}, **key), id="two"))
            assert result["task_results"]["a"]["failure_code"] == "CONFLICT"
            assert stage.ran == ["a"]

    run(main())


def test_two_at_once_under_a_caller_s_key_run_once(run, stage) -> None:
    async def slowly(_: ToolCall) -> str:
        await asyncio.sleep(0.02)
        return "done"

    async def main() -> None:
        stage.tool("charge", slowly)
        async with stage.open():
            spec = workflow(*(task(name, "charge", idempotency_key="k") for name in "abcd"), id="w")
            other = workflow(task("e", "charge", idempotency_key="k"), id="v")
            results = await asyncio.gather(
                stage.execute(spec, context={"concurrency": 4}), stage.execute(other)
            )
            assert [one["status"] for one in results] == ["success", "success"]
            assert len(stage.calls) == 1

    run(main())


def test_a_key_that_a_failure_used_is_free(run, stage) -> None:
    async def main() -> None:
        stage.tool("charge", [fails(), "done"])
        async with stage.open():
            spec = workflow(task("a", "charge", idempotency_key="k"))
            assert (await stage.execute(spec))["status"] == "failed"
            assert (await stage.execute(spec))["status"] == "success"

    run(main())


# -- several at once ---------------------------------------------------------------


def test_as_many_run_as_are_allowed_and_none_before_its_turn(run, stage) -> None:
    running: set[str] = set()
    most: list[int] = []
    done: set[str] = set()

    async def work(call: ToolCall) -> None:
        assert set(call.upstream) <= done
        running.add(call.task.id)
        most.append(len(running))
        await asyncio.sleep(0.002)
        running.discard(call.task.id)
        done.add(call.task.id)

    async def main() -> None:
        stage.tool("busy", work)
        async with stage.open():
            names = [f"t{number}" for number in range(20)]
            after = dict.fromkeys(names[4:12], names[:4])
            spec = workflow(*(task(name, "busy") for name in names), after=after)
            result = await stage.execute(spec, context={"concurrency": 3})
            assert result["status"] == "success"
            assert max(most) == 3

    run(main())


def test_a_failure_among_several_lets_the_others_end(run, stage) -> None:
    failed = asyncio.Event()

    async def bad(_: ToolCall) -> None:
        failed.set()
        raise fails()

    async def steady(_: ToolCall) -> str:
        await failed.wait()
        await asyncio.sleep(0.005)
        return "ended"

    async def main() -> None:
        stage.tool("bad", bad)
        stage.tool("steady", steady)
        stage.tool("undo")
        async with stage.open():
            spec = workflow(
                task("a", "steady", compensation_action={"tool": "undo"}), task("b", "bad"), "c"
            )
            result = await stage.execute(spec, context={"concurrency": 2})
            assert statuses(result) == {"a": "success", "b": "failed", "c": "skipped"}
            assert stage.ran == ["a", "b", "-a"]

    run(main())


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_chain_may_be_longer_than_a_stack_is_deep(run, stage, concurrency: int) -> None:
    async def main() -> None:
        async with stage.open():
            names = [f"t{number}" for number in range(1500)]
            result = await stage.execute(
                workflow(*reversed(names), after=chain(*names)),
                context={"concurrency": concurrency},
            )
            assert result["status"] == "success"
            assert stage.ran == names

    run(main())


# -- what nobody may see -----------------------------------------------------------


def test_arguments_are_told_without_secrets(run, stage) -> None:
    async def main() -> None:
        async with stage.open() as engine:
            inputs = {
                "password": "hunter2",
                "rows": [{"api_key": "hunter2"}, {"auth": {"x": "hunter2"}}],
                "city": "Ulm",
            }
            await stage.execute(workflow(task("a", inputs=inputs)))
            (call,) = [data for kind, data in stage.told if kind == "tool_call"]
            assert call["args"]["city"] == "Ulm"
            assert "hunter2" not in str(stage.told)
            events = [one async for one in engine.events("w")]
            assert "hunter2" not in str(events)
            assert "hunter2" not in str(engine.status("w"))

    run(main())


def test_a_run_is_told_as_events_and_spans(run, stage) -> None:
    async def main() -> None:
        stage.tool("shaky", [fails(), "ok"])
        async with stage.open():
            spec = workflow(task("a", "shaky", retry=retry(2), risk_tier="LOW"))
            await stage.execute(spec, correlation_id="trace-1")
            assert [kind for kind, _ in stage.told] == [
                "step_start", "tool_call", "step_start", "tool_call", "step_end",
            ]  # fmt: skip
            assert stage.told[0][1]["riskTier"] == "LOW"
            assert stage.told[0][1]["correlation_id"] == "trace-1"
            *attempts, root = stage.spans
            assert [one["tags"]["status"] for one in attempts] == ["failed", "success"]
            assert {one["parent_id"] for one in attempts} == {root["id"]}
            assert {one["trace_id"] for one in stage.spans} == {"trace-1"}

    run(main())


def test_a_fault_can_be_staged(run, tmp_path: Path) -> None:
    hit: list[str] = []

    async def faults(call: ToolCall) -> None:
        hit.append(call.task.id)
        if call.attempt == 1:
            raise fails("staged")

    async def main() -> None:
        stage = Stage(tmp_path, faults=faults)
        async with stage.open():
            result = await stage.execute(workflow(task("a", retry=retry(2))))
            assert result["status"] == "success"
            assert (hit, stage.ran) == (["a", "a"], ["a"])

    run(main())
