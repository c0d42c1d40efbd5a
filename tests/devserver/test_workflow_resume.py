"""What is on the disk when a server ends, and what the next one makes of it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ostiary.devserver.faults import DevserverError
from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.workflow.engine.engine import Engine
from ostiary.devserver.workflow.engine.ledger import Ledger, LedgerError
from ostiary.devserver.workflow.tools import ToolCall
from tests.devserver.workflow_stage import (
    BOT,
    Stage,
    chain,
    fails,
    statuses,
    task,
    until,
    workflow,
)


class Crashes:
    """A directory of which a picture is taken while an engine is at work: what a crash leaves."""

    def __init__(self, tmp_path: Path) -> None:
        self.before = Stage(tmp_path / "before" if (tmp_path / "before").mkdir() is None else "")
        (tmp_path / "after").mkdir()
        self.after = Stage(tmp_path / "after")
        # What a person said is kept by the server, and survives as well.
        self.after.approvals = self.before.approvals
        self.after.guard = self.before.guard

    def crash(self) -> None:
        """Copy what is on the disk; whatever the engine still does is lost."""
        source = self.before.directory / "workflow.db"
        # The log first: what it has lost by a checkpoint is then in the file.
        for suffix in ("-wal", ""):
            path = Path(f"{source}{suffix}")
            if path.exists():
                shutil.copy(path, self.after.directory / path.name)

    @asynccontextmanager
    async def resumed(self) -> AsyncIterator[Engine]:
        async with self.after.open() as engine:
            yield engine


@pytest.fixture
def crashes(tmp_path: Path) -> Crashes:
    return Crashes(tmp_path)


def test_a_server_that_stops_leaves_the_rest_to_the_next(run, tmp_path: Path) -> None:
    go = asyncio.Event()

    async def wait(_: ToolCall) -> str:
        await go.wait()
        return "done"

    async def main() -> None:
        stage = Stage(tmp_path)
        stage.tool("wait", wait)
        async with stage.open() as engine:
            asking = asyncio.ensure_future(
                stage.execute(workflow("a", task("b", "wait"), "c"), correlation_id="t")
            )
            await until(lambda: stage.ran == ["a", "b"])
        with pytest.raises(HttpRefusal) as caught:
            await asking
        assert caught.value.status == 503
        assert stage.calls[1].cancelled.is_set()
        go.set()
        async with stage.open() as engine:
            result = await engine.result("w")
            assert result["status"] == "success"
            assert result["correlation_id"] == "t"
            assert stage.ran == ["a", "b", "b", "c"]
            first, again = stage.calls[1:3]
            assert first.idempotency_key == again.idempotency_key
            # A try that was cut off was none.
            assert (first.attempt, again.attempt) == (1, 1)
            assert again.upstream == first.upstream
            log = await stage.log("w")
            assert log.count("TASK_COMPLETED a") == 1
            assert "WORKFLOW_RESUMED" in log
            numbers = [one["sequence"] async for one in engine.events("w")]
            assert numbers == list(range(1, len(log) + 1))

    run(main())


def test_nothing_is_resumed_that_is_over(run, tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        stage.tool("bad", [fails()])
        async with stage.open():
            done = await stage.execute(workflow("a", id="done"))
            failed = await stage.execute(workflow(task("a", "bad"), id="failed"))
        calls = len(stage.calls)
        async with stage.open(resume=False) as engine:
            assert await engine.resume_all() == 0
            assert await engine.result("done") == done
            assert await engine.result("failed") == failed
            assert len(stage.calls) == calls

    run(main())


def test_what_is_on_the_disk_at_a_crash_is_not_run_again(run, crashes: Crashes) -> None:
    async def snap(call: ToolCall) -> str:
        crashes.crash()
        return "cut off"

    async def main() -> None:
        crashes.before.tool("snap", snap)
        crashes.after.tool("snap", lambda _: "whole")
        spec = workflow("a", task("b", "snap"), "c")
        async with crashes.before.open():
            await crashes.before.execute(spec)
        async with crashes.resumed() as engine:
            result = await engine.result("w")
            assert crashes.after.ran == ["b", "c"]
            assert result["task_results"]["b"]["result"] == "whole"
            assert result["task_results"]["a"]["result"] == "a done"
            assert crashes.after.calls[0].idempotency_key == crashes.before.calls[1].idempotency_key

    run(main())


def test_a_run_that_was_failing_is_undone_to_the_end(run, crashes: Crashes) -> None:
    async def snap(call: ToolCall) -> str:
        if call.task.id == "b":
            crashes.crash()
        return "undone"

    async def main() -> None:
        crashes.before.tool("undo", snap)
        crashes.after.tool("undo")
        crashes.before.tool("bad", [fails()])
        crashes.after.tool("bad", [AssertionError("a failure is not tried again")])
        undo = {"compensation_action": {"tool": "undo"}}
        spec = workflow(*(task(name, **undo) for name in "abc"), task("d", "bad"), "e")
        async with crashes.before.open():
            expected = await crashes.before.execute(spec)
        async with crashes.resumed() as engine:
            result = await engine.result("w")
            # c was undone before; the undoing of b was cut off, and is repeated as what it was.
            assert crashes.after.ran == ["-b", "-a"]
            assert crashes.after.calls[0].idempotency_key == next(
                call.idempotency_key
                for call in crashes.before.calls
                if call.compensates and call.task.id == "b"
            )
            assert statuses(result) == statuses(expected)
            assert result["error"] == expected["error"]
            assert engine.status("w")["status"] == "failed"

    run(main())


def test_a_hook_that_ran_does_not_run_again(run, crashes: Crashes) -> None:
    async def snap(call: ToolCall) -> None:
        crashes.crash()

    async def main() -> None:
        for stage in (crashes.before, crashes.after):
            stage.tool("bad", [fails()])
        crashes.before.tool("undo", snap)
        crashes.after.tool("undo")
        spec = workflow(
            task("a", compensation_action={"tool": "undo"}),
            task("b", "bad", compensation={"on_failure": "mop"}),
            task("mop"),
        )
        async with crashes.before.open():
            await crashes.before.execute(spec)
            assert crashes.before.ran == ["a", "b", "mop", "-a"]
        async with crashes.resumed() as engine:
            result = await engine.result("w")
            assert crashes.after.ran == ["-a"]
            assert result["task_results"]["mop"]["status"] == "success"

    run(main())


def test_a_cancelled_run_stays_cancelled(run, crashes: Crashes) -> None:
    async def snap(call: ToolCall) -> None:
        crashes.crash()

    async def hang(_: ToolCall) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        for stage, undo in ((crashes.before, snap), (crashes.after, lambda _: None)):
            stage.tool("hang", hang)
            stage.tool("undo", undo)
        spec = workflow(task("a", compensation_action={"tool": "undo"}), task("b", "hang"), "c")
        async with crashes.before.open() as engine:
            await engine.submit(spec, principal=BOT)
            await until(lambda: crashes.before.ran == ["a", "b"])
            await engine.cancel("w")
            await engine.result("w")
        async with crashes.resumed() as engine:
            result = await engine.result("w")
            assert engine.status("w")["status"] == "cancelled"
            assert "cancelled" in result["error"]
            assert crashes.after.ran == ["-a"]

    run(main())


def test_a_person_s_leave_that_was_used_up_survives(run, crashes: Crashes) -> None:
    async def main() -> None:
        before = crashes.before
        redeem = before.approvals.redeem

        spec = workflow(task("a", risk_tier="HIGH"))
        async with before.open():
            first = await before.execute(spec)
            token = first["task_results"]["a"]["approval_token"]
            before.approvals.decide(token, approve=True, approver="mira")

            class Cut(Exception):
                pass

            def cut(token: str, subject: object) -> str | None:
                found = redeem(token, subject)  # type: ignore[arg-type]
                crashes.crash()  # between its being used and its being written down
                return found

            object.__setattr__(before.approvals, "redeem", cut)
            await before.execute(spec)
            object.__setattr__(before.approvals, "redeem", redeem)
        assert before.approvals.get(token).status == "used"
        async with crashes.resumed() as engine:
            result = await engine.result("w")
            assert result["status"] == "success"
            assert crashes.after.ran == ["a"]

    run(main())


def test_what_had_begun_beside_a_failure_is_ended_and_undone(run, crashes: Crashes) -> None:
    async def steady(_: ToolCall) -> str:
        engine = crashes.before.engine
        async for one in engine.events("w"):
            if one["type"] == "TASK_FAILED":  # what is told is on the disk
                break
        crashes.crash()
        return "done"

    async def main() -> None:
        crashes.before.tool("steady", steady)
        crashes.after.tool("steady")
        for stage in (crashes.before, crashes.after):
            stage.tool("bad", [fails()])
            stage.tool("undo")
        spec = workflow(
            task("a", "steady", compensation_action={"tool": "undo"}), task("b", "bad"), "c"
        )
        async with crashes.before.open():
            expected = await crashes.before.execute(spec, context={"concurrency": 2})
        async with crashes.resumed() as engine:
            result = await engine.result("w")
            assert crashes.after.ran == ["a", "-a"]
            assert statuses(result) == statuses(expected)

    run(main())


def test_the_oldest_that_ended_are_forgotten(run, tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path, keep=3)
        async with stage.open():
            for number in range(5):
                await stage.execute(workflow("a", id=f"w{number}"))
        async with stage.open() as engine:
            await stage.execute(workflow("a", id="new"))
            found = [one["workflow_id"] for one in engine.listed()["workflows"]]
            assert found == ["new", "w4", "w3", "w2"]
            assert len(await stage.log("w2")) == 4
            for table in ("tasks", "events"):
                db = sqlite3.connect(tmp_path / "workflow.db")
                (count,) = db.execute(f"SELECT COUNT(DISTINCT number) FROM {table}").fetchone()
                db.close()
                assert count == 4
            # Its id is free.
            await stage.execute(workflow("b", id="w0"))

    run(main())


def test_two_results_waiting_for_the_disk_share_a_commit(run, tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        async with stage.open() as engine:
            many = workflow(*(f"t{number}" for number in range(200)))
            await stage.execute(many, context={"concurrency": 100})
            assert engine.commits < 200  # without sharing at least one for each

    run(main())


def test_what_is_written_of_a_task_does_not_grow_with_its_workflow(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Ledger.write
    sizes: list[int] = []

    def counted(self: Ledger, statement: str, parameters: Sequence[Any], topic: Any = None) -> None:
        sizes.append(sum(len(one) for one in parameters if isinstance(one, (str, bytes))))
        write(self, statement, parameters, topic)

    async def written(count: int) -> int:
        sizes.clear()
        stage = Stage(tmp_path)
        async with stage.open():
            names = [f"t{number:03}" for number in range(count)]
            spec = workflow(*names, id=f"w{count:03}", after=chain(*names))
            assert (await stage.execute(spec))["status"] == "success"
        return sum(sizes)

    async def main() -> None:
        few, many = await written(20), await written(200)
        # The whole state written at each task would be a hundred times as much.
        assert many < 12 * few

    monkeypatch.setattr(Ledger, "write", counted)
    run(main())


def test_a_ledger_commits_in_order_and_what_nobody_waits_for(run, tmp_path: Path) -> None:
    heard: list[set[int]] = []

    async def main() -> None:
        ledger = Ledger(tmp_path / "l.db", told=lambda topics: heard.append(set(topics)))
        for number in range(3):
            ledger.write(
                "INSERT INTO events (number, sequence, event) VALUES (1, ?, '{}')",
                (number,),
                topic=number,
            )
        await until(lambda: heard)  # after a while, without a word
        ledger.write("DELETE FROM events WHERE sequence = 0", ())
        await ledger.commit()
        found = ledger.reader.execute("SELECT sequence FROM events")
        assert [row[0] for row in found] == [1, 2]
        await ledger.commit()  # nothing to write is on the disk already
        ledger.close()
        ledger.close()
        with pytest.raises(LedgerError):
            await ledger.commit()

    asyncio.run(main())
    assert heard[0] == {0, 1, 2}


def test_a_file_that_cannot_be_written_ends_the_runs_but_not_the_server(
    run, tmp_path: Path
) -> None:
    async def spoil(_: ToolCall) -> str:
        with sqlite3.connect(tmp_path / "workflow.db") as other:
            other.execute("DROP TABLE tasks")
        other.close()
        return "done"

    async def main() -> None:
        stage = Stage(tmp_path)
        stage.tool("spoil", spoil)
        async with stage.open() as engine:
            with pytest.raises(HttpRefusal) as caught:
                await stage.execute(workflow("a", task("b", "spoil"), "c"))
            assert (caught.value.status, caught.value.code) == (503, "STORE_UNAVAILABLE")
            assert stage.ran == ["a", "b"]
            with pytest.raises(HttpRefusal) as caught:
                await stage.execute(workflow("a", id="other"))
            assert caught.value.status == 503
            assert engine.in_hand == 0

    run(main())


def test_a_file_that_others_may_read_or_that_is_none_is_refused(run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "workflow.db"
        path.touch(mode=0o644)
        path.chmod(0o644)
        stage = Stage(tmp_path)
        engine = Engine(path, tools=stage.tools)
        with pytest.raises(DevserverError, match="chmod 600"):
            await engine.start()
        path.chmod(0o600)
        path.write_bytes(b"no database at all" * 100)
        with pytest.raises(DevserverError, match="move it away"):
            await engine.start()
        await engine.stop()
        path.unlink()
        await engine.start()
        await engine.stop()
        await engine.stop()

    run(main())


def test_a_workflow_of_another_version_does_not_stop_the_others(
    run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(_: ToolCall) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        stage = Stage(tmp_path)
        stage.tool("hang", hang)
        async with stage.open() as engine:
            for id in ("odd", "fine"):
                await engine.submit(workflow(task("a", "hang"), id=id), principal=BOT)
            await until(lambda: len(stage.calls) == 2)
        with sqlite3.connect(tmp_path / "workflow.db") as db:
            db.execute("UPDATE workflows SET spec = '{\"id\": 1}' WHERE workflow_id = 'odd'")
        db.close()
        stage.tool("hang", lambda _: "done")
        async with stage.open() as engine:
            assert (await engine.result("fine"))["status"] == "success"

    run(main())
    assert "odd cannot be resumed" in caplog.text


def test_who_follows_hears_everything_once_and_then_the_end(run, tmp_path: Path) -> None:
    go = asyncio.Event()

    async def wait(_: ToolCall) -> None:
        await go.wait()

    async def follow(engine: Engine, after: int | None = None) -> list[int]:
        return [one["sequence"] async for one in engine.events("w", after)]

    async def main() -> None:
        stage = Stage(tmp_path)
        stage.tool("wait", wait)
        async with stage.open() as engine:
            await engine.submit(workflow("a", task("b", "wait"), "c"), principal=BOT)
            following = [asyncio.ensure_future(follow(engine)) for _ in range(3)]
            late = asyncio.ensure_future(follow(engine, 3))
            await until(lambda: stage.ran == ["a", "b"])
            go.set()
            whole = list(range(1, 9))
            assert [await one for one in following] == [whole] * 3
            assert await late == whole[3:]
            assert await follow(engine, 8) == []
            # A second round is told from its own beginning.
            stage.tool("bad", [fails()] * 2)
            spec = workflow(task("a", "bad"), id="w2")
            await stage.execute(spec)
            await stage.execute(spec)
            log = [one async for one in engine.events("w2")]
            assert [one["sequence"] for one in log] == [5, 6, 7, 8]
            assert await stage.log("w2", 0) == (await stage.log("w2")) * 2

    run(main())


@pytest.mark.parametrize("more", [[], ["--undo"], ["--concurrency", "4"]], ids=" ".join)
def test_kills_lose_nothing_and_repeat_nothing(root: Path, more: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.devserver.workflow_kills", "--kills", "6", "--tasks", "40",
         "--seed", "7", "--json", *more],
        cwd=root, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    figures = msgspec.json.decode(done.stdout)
    assert figures["kills_before_the_end"] > 0
    assert figures["finished_that_ran_again"] == 0
    assert figures["lost"] == 0
    assert figures["other_keys"] == 0
