"""What follows a failure or a cancellation: hooks, undoing, and what is done again after."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.workflow.tools import ToolCall
from tests.devserver.workflow_stage import BOT, Stage, Time, fails, statuses, task, until, workflow


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.tool("undo")
    return made


@pytest.fixture
def slow(tmp_path: Path) -> Stage:
    made = Stage(tmp_path, Time(by_hand=True))
    made.tool("undo")
    return made


def undone(id: str, tool: str = "work", **args: Any) -> dict[str, Any]:
    return task(id, tool, compensation_action={"tool": "undo", "args": args})


async def hang(_: ToolCall) -> None:
    await asyncio.Event().wait()


# -- undoing ---------------------------------------------------------------------


def test_what_is_done_is_undone_last_first_when_a_later_task_fails(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails()])
        async with stage.open():
            spec = workflow(
                undone("a", batch="b9"), "plain", undone("c"), undone("d", "bad"), undone("e")
            )
            result = await stage.execute(spec)
            # Neither what failed nor what never began has anything to undo.
            assert stage.ran == ["a", "plain", "c", "d", "-c", "-a"]
            assert result["status"] == "partial"
            entries = result["task_results"]
            assert entries["a"]["compensated"] is True
            assert "compensated" not in entries["plain"]
            undo = stage.calls[-1]
            assert undo.inputs == {"batch": "b9"}
            assert undo.upstream == {"a": "a done"}
            assert undo.idempotency_key != stage.calls[0].idempotency_key
            assert (await stage.log("w"))[-6:] == [
                "TASK_FAILED d",
                "COMPENSATION_TRIGGERED c",
                "COMPENSATION_COMPLETED c",
                "COMPENSATION_TRIGGERED a",
                "COMPENSATION_COMPLETED a",
                "WORKFLOW_FAILED",
            ]

    run(main())


def test_nothing_is_undone_when_all_goes_well(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            await stage.execute(workflow(undone("a"), undone("b")))
            assert stage.ran == ["a", "b"]

    run(main())


def test_an_undoing_that_fails_is_told_and_the_others_go_on(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails()])
        stage.tool("stuck", [fails("locked")] * 3)
        async with stage.open():
            spec = workflow(
                undone("a"),
                task("b", compensation_action={"tool": "stuck"}),
                undone("c"),
                task("d", "bad"),
            )
            result = await stage.execute(spec)
            # Tried as often as undoing is where the task says nothing: three times.
            assert stage.ran == ["a", "b", "c", "d", "-c", "-b", "-b", "-b", "-a"]
            entry = result["task_results"]["b"]
            assert (entry["compensated"], entry["compensation_error"]) == (False, "locked")
            assert result["task_results"]["a"]["compensated"] is True
            assert "COMPENSATION_FAILED b" in await stage.log("w")
            assert len({call.idempotency_key for call in stage.calls if call.task.id == "b"}) == 2

    run(main())


def test_what_was_undone_is_done_again_and_what_was_not_is_kept(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails(), fails(), "at last"])
        async with stage.open():
            spec = workflow(undone("a"), "b", task("c", "bad"))
            await stage.execute(spec)
            assert stage.ran == ["a", "b", "c", "-a"]
            await stage.execute(spec)
            assert stage.ran == ["a", "b", "c", "-a", "a", "c", "-a"]
            result = await stage.execute(spec)
            assert result["status"] == "success"
            assert stage.ran[7:] == ["a", "c"]
            assert "compensated" not in result["task_results"]["a"]
            keys = [call.idempotency_key for call in stage.calls if call.task.id == "a"]
            # Each doing and each undoing is an effect of its own.
            assert len(set(keys)) == 5

    run(main())


def test_undoing_frees_a_caller_s_key(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails(), "at last"])
        async with stage.open():
            spec = workflow({**undone("a"), "idempotency_key": "k"}, task("b", "bad"))
            await stage.execute(spec)
            result = await stage.execute(spec)
            assert result["status"] == "success"
            assert stage.ran == ["a", "b", "-a", "a", "b"]
            assert [call.idempotency_key for call in stage.calls if call.task.id == "a"][2] == "k#1"

    run(main())


def test_another_run_s_effect_is_not_undone(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails()])
        async with stage.open():
            shared = {**undone("a"), "idempotency_key": "k"}
            await stage.execute(workflow(shared, id="one"))
            await stage.execute(workflow(shared, task("b", "bad"), id="two"))
            assert stage.ran == ["a", "b"]

    run(main())


# -- hooks -----------------------------------------------------------------------


def test_a_hook_runs_only_when_its_task_fails_and_before_undoing(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails()])
        async with stage.open():
            tasks = (
                undone("a"),
                task("b", "bad", compensation={"on_failure": "mop"}),
                task("mop"),
                "c",
            )
            result = await stage.execute(workflow(*tasks))
            assert stage.ran == ["a", "b", "mop", "-a"]
            assert result["status"] == "partial"
            assert result["task_results"]["mop"]["compensation"] is True
            assert result["task_results"]["mop"]["status"] == "success"
            assert (await stage.log("w"))[4:9] == [
                "TASK_FAILED b",
                "COMPENSATION_TRIGGERED mop",
                "TASK_STARTED mop",
                "TASK_COMPLETED mop",
                "COMPENSATION_TRIGGERED a",
            ]
            stage.calls.clear()
            fine = await stage.execute(workflow("a", *tasks[2:], id="fine"))
            assert stage.ran == ["a", "mop", "c"]  # named by nobody, it is a task like any other
            assert fine["status"] == "success"

    run(main())


def test_a_hook_s_task_does_not_run_on_success(run, stage) -> None:
    async def main() -> None:
        async with stage.open():
            spec = workflow(task("a", compensation={"on_failure": "mop"}), task("mop"), "c")
            result = await stage.execute(spec)
            assert stage.ran == ["a", "c"]
            assert "mop" not in result["task_results"]
            assert stage.engine.status("w")["progress"] == 1.0

    run(main())


@pytest.mark.parametrize(
    ("hook", "ran"),
    [
        ({"on_timeout": "mop"}, ["a", "mop"]),
        ({"on_failure": "mop"}, ["a"]),
        ({"on_failure": "bin", "on_timeout": "mop"}, ["a", "mop"]),
    ],
    ids=["timeout", "failure", "both"],
)
def test_a_timeout_calls_for_its_own_hook_alone(run, stage, hook, ran) -> None:
    async def main() -> None:
        stage.tool("hang", hang)
        async with stage.open():
            spec = workflow(
                task("a", "hang", timeout_ms=10, compensation=hook), task("mop"), task("bin"),
                after={"bin": []} if "bin" not in hook.values() else {},
            )  # fmt: skip
            await stage.execute(spec)
            assert stage.ran == ran

    run(main())


def test_a_hook_that_fails_changes_nothing_and_is_tried_as_it_says(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails()])
        stage.tool("worse", [fails("worse")] * 2)
        async with stage.open():
            spec = workflow(
                task("a", "bad", compensation={"on_failure": "mop"}),
                task("mop", "worse", retry={"max_attempts": 2, "backoff_ms": 1}),
            )
            result = await stage.execute(spec)
            assert result["error"].startswith("task a: disk full")
            assert result["status"] == "failed"
            assert result["task_results"]["mop"]["status"] == "failed"
            assert stage.ran == ["a", "mop", "mop"]

    run(main())


def test_a_hook_runs_anew_in_each_round(run, stage) -> None:
    async def main() -> None:
        stage.tool("bad", [fails(), fails()])
        async with stage.open():
            spec = workflow(task("a", "bad", compensation={"on_failure": "mop"}), task("mop"))
            await stage.execute(spec)
            await stage.execute(spec)
            assert stage.ran == ["a", "mop", "a", "mop"]
            keys = [call.idempotency_key for call in stage.calls if call.task.id == "mop"]
            assert keys[0] != keys[1]

    run(main())


# -- cancelling ------------------------------------------------------------------


def test_cancelling_breaks_off_undoes_and_says_so(run, slow) -> None:
    async def main() -> None:
        slow.tool("hang", hang)
        async with slow.open() as engine:
            spec = workflow(undone("a"), task("b", "hang"), "c")
            running = asyncio.ensure_future(slow.execute(spec))
            await until(lambda: slow.ran == ["a", "b"])
            said = await engine.cancel("w")
            assert said == {
                "workflow_id": "w",
                "status": "cancelling",
                "cancelled": True,
                "previous_status": "running",
            }
            result = await running
            assert result["status"] == "failed"
            assert "cancelled" in result["error"]
            assert statuses(result) == {"a": "success", "b": "failed", "c": "skipped"}
            status = engine.status("w")
            assert status["status"] == "cancelled"
            assert [one["status"] for one in status["tasks"]] == [
                "completed", "cancelled", "skipped",
            ]  # fmt: skip
            assert slow.ran == ["a", "b", "-a"]
            assert (await slow.log("w"))[-2:] == [
                "COMPENSATION_COMPLETED a",
                "WORKFLOW_CANCELLED",
            ]
            with pytest.raises(HttpRefusal) as caught:
                await engine.cancel("w")
            assert (caught.value.status, caught.value.code) == (409, "WORKFLOW_FINISHED")

    run(main())


def test_cancelling_interrupts_a_wait(run, slow) -> None:
    async def main() -> None:
        slow.tool("bad", [fails()] * 9)
        async with slow.open() as engine:
            spec = workflow(task("a", "bad", retry={"max_attempts": 9, "backoff_ms": 60_000}))
            running = asyncio.ensure_future(slow.execute(spec))
            await slow.time.sleeper()
            await engine.cancel("w")
            result = await running
            assert "cancelled" in result["error"]
            assert len(slow.calls) == 1

    run(main())


def test_what_ends_all_the_same_is_done_and_undone(run, slow) -> None:
    async def stubborn(_: ToolCall) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass  # its effect is there
        return "done anyway"

    async def main() -> None:
        slow.tool("stubborn", stubborn)
        async with slow.open() as engine:
            running = asyncio.ensure_future(slow.execute(workflow(undone("a", "stubborn"))))
            await until(lambda: slow.calls)
            await engine.cancel("w")
            result = await running
            assert result["task_results"]["a"]["status"] == "success"
            assert slow.ran == ["a", "-a"]
            assert engine.status("w")["status"] == "cancelled"

    run(main())


def test_cancelling_interrupts_a_wait_for_another_run_s_key(run, slow) -> None:
    async def main() -> None:
        slow.tool("hang", hang)
        async with slow.open() as engine:
            same = task("a", "hang", idempotency_key="k")
            await engine.submit(workflow(same, id="one"), principal=BOT)
            await until(lambda: slow.calls)
            await engine.submit(workflow(same, id="two"), principal=BOT)
            await engine.cancel("two")
            result = await engine.result("two")
            assert statuses(result) == {"a": "skipped"}
            await engine.cancel("one")
            assert statuses(await engine.result("one")) == {"a": "failed"}
            slow.tool("hang")
            assert (await slow.execute(workflow(same, id="three")))["status"] == "success"

    run(main())


def test_cancelling_reaches_all_that_run(run, slow) -> None:
    async def main() -> None:
        slow.tool("hang", hang)
        async with slow.open() as engine:
            spec = workflow(*(task(name, "hang") for name in "abcd"))
            running = asyncio.ensure_future(slow.execute(spec, context={"concurrency": 3}))
            await until(lambda: len(slow.calls) == 3)
            await engine.cancel("w")
            result = await running
            assert sorted(statuses(result).values()) == ["failed"] * 3 + ["skipped"]

    run(main())


def test_a_cancelled_workflow_goes_on_when_it_is_asked_for_again(run, slow) -> None:
    go = asyncio.Event()

    async def wait(_: ToolCall) -> str:
        await go.wait()
        return "done"

    async def main() -> None:
        slow.tool("wait", wait)
        async with slow.open() as engine:
            spec = workflow("a", task("b", "wait"))
            await engine.submit(spec, principal=BOT)
            await until(lambda: slow.ran == ["a", "b"])
            await engine.cancel("w")
            await engine.result("w")
            go.set()
            assert (await slow.execute(spec))["status"] == "success"
            assert slow.ran == ["a", "b", "b"]

    run(main())


def test_a_workflow_that_is_being_undone_is_too_late_to_cancel(run, slow) -> None:
    go = asyncio.Event()

    async def wait(_: ToolCall) -> None:
        await go.wait()

    async def main() -> None:
        slow.tool("bad", [fails()])
        slow.tool("undo", wait)
        async with slow.open() as engine:
            running = asyncio.ensure_future(slow.execute(workflow(undone("a"), task("b", "bad"))))
            await until(lambda: len(slow.calls) == 3)
            with pytest.raises(HttpRefusal) as caught:
                await engine.cancel("w")
            assert caught.value.code == "WORKFLOW_FINISHED"
            go.set()
            assert (await running)["status"] == "partial"
            assert engine.status("w")["status"] == "failed"

    run(main())
