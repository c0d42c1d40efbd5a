"""Random workflows under random failures, against a small sequential model of the rules."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from ostiary.devserver.workflow.tools import ToolCall
from ostiary.workflow.models import WorkflowSpec
from tests.devserver.workflow_stage import BOT, Stage, Time, fails, statuses, task, workflow

# What a try may come to: it works, it fails, it fails for good, it never ends.
TRIES = st.sampled_from(["ok", "ok", "ok", "fail", "fail", "fatal", "hang"])


class Plan(msgspec.Struct):
    """A workflow, and what each try of each thing comes to; what is not listed works."""

    spec: WorkflowSpec
    tries: dict[str, list[str]]
    rounds: int


@st.composite
def plans(draw: st.DrawFn, *, limits: bool = True) -> Plan:
    count = draw(st.integers(1, 7))
    names = [f"t{number}" for number in range(count)]
    tasks: list[dict[str, Any]] = []
    tries: dict[str, list[str]] = {}
    hooks: set[str] = set()
    for at, name in enumerate(names):
        more: dict[str, Any] = {}
        if draw(st.booleans()):
            more["retry"] = {"max_attempts": draw(st.integers(1, 3)), "backoff_ms": 1}
        if limits and draw(st.booleans()):
            more["timeout_ms"] = 50
        if draw(st.booleans()):
            more["compensation_action"] = {"tool": "undo", "args": {"of": name}}
        if draw(st.integers(0, 3)) == 0 and at:
            hook = f"h{at}"
            hooks.add(hook)
            more["compensation"] = draw(
                st.sampled_from(
                    [{"on_failure": hook}, {"on_timeout": hook},
                     {"on_failure": hook, "on_timeout": hook}]
                )
            )  # fmt: skip
        tasks.append(task(name, "act", **more))
        # Without a limit a try that never ended would have the test never end.
        found = draw(st.lists(TRIES, max_size=6))
        if "timeout_ms" not in more:
            found = ["fail" if one == "hang" else one for one in found]
        tries[name] = found
        tries[f"-{name}"] = draw(st.lists(st.sampled_from(["ok", "ok", "fail"]), max_size=4))
    for hook in sorted(hooks):
        tasks.append(task(hook, "act"))
        tries[hook] = draw(st.lists(st.sampled_from(["ok", "fail"]), max_size=2))
    # Written in any order, each waiting for any that have a smaller number.
    order = draw(st.permutations(tasks))
    after = {
        name: draw(st.lists(st.sampled_from(names[:at]), max_size=3, unique=True))
        for at, name in enumerate(names)
        if at and draw(st.booleans())
    }
    return Plan(workflow(*order, after=after), tries, draw(st.integers(1, 3)))


class Model:
    """The rules, for one task at a time and without a disk."""

    def __init__(self, plan: Plan) -> None:
        self.spec = plan.spec
        self.tasks = {one.id: one for one in plan.spec.tasks}
        self.left = {name: list(tries) for name, tries in plan.tries.items()}
        self.calls: list[str] = []
        self.done: list[str] = []  # in the order in which they were
        # How often each was undone, and the effects that were meant, which have a key each.
        self.undone: Counter[str] = Counter()
        self.rounds = 0
        self.effects: dict[str, set[int]] = {}
        self.hooks = {
            target
            for one in plan.spec.tasks
            if one.compensation
            for target in (one.compensation.on_failure, one.compensation.on_timeout)
            if target
        }

    def order(self) -> list[str]:
        """Depth first in the order written; before a task, what it waits for."""
        order: list[str] = []

        def visit(name: str) -> None:
            if name not in order:
                for earlier in self.spec.dependencies.get(name, ()):
                    visit(earlier)
                order.append(name)

        for one in self.spec.tasks:
            if one.id not in self.hooks:
                visit(one.id)
        return order

    def act(self, name: str, most: int) -> str:
        """Try until it works or there is no further try; return what the last came to."""
        which = self.rounds if name in self.hooks else self.undone[name.removeprefix("-")]
        self.effects.setdefault(name, set()).add(which)
        for attempt in range(1, most + 1):
            self.calls.append(name)
            came = self.left[name].pop(0) if self.left[name] else "ok"
            if came in {"ok", "fatal"} or attempt == most:
                return came
        raise AssertionError

    def round(self) -> tuple[str, dict[str, str]]:
        """Run once; return the status and that of each task."""
        self.rounds += 1
        found = {name: "success" if name in self.done else "skipped" for name in self.order()}
        failed: str | None = None
        for name in self.order():
            if name in self.done:
                continue
            retry = self.tasks[name].retry
            came = self.act(name, 1 if retry is None else retry.max_attempts)
            if came == "ok":
                self.done.append(name)
                found[name] = "success"
                continue
            failed = name
            found[name] = "failed"
            hook = self.tasks[name].compensation
            target = None
            if hook is not None:
                target = hook.on_timeout if came == "hang" else hook.on_failure
            if target is not None:
                found[target] = "success" if self.act(target, 1) == "ok" else "failed"
            break
        if failed is None:
            return "success", found
        partial = bool(self.done)
        for name in reversed(self.done.copy()):
            if self.tasks[name].compensation_action is not None:
                retry = self.tasks[name].retry
                if self.act(f"-{name}", 3 if retry is None else retry.max_attempts) == "ok":
                    self.done.remove(name)
                    self.undone[name] += 1
        return ("partial" if partial else "failed"), found


def staged(directory: Path, plan: Plan) -> Stage:
    stage = Stage(directory)
    left = {name: list(tries) for name, tries in plan.tries.items()}

    async def act(call: ToolCall) -> str:
        name = f"-{call.task.id}" if call.compensates else call.task.id
        came = left[name].pop(0) if left[name] else "ok"
        if came == "hang":
            await asyncio.Event().wait()
        if came != "ok":
            raise fails(retry=came != "fatal")
        return name

    stage.tool("act", act)
    stage.tool("undo", act)
    return stage


class Patient(Time):
    """Waits between tries are over at once, limits never."""

    async def sleep(self, seconds: float) -> None:
        if seconds >= 60:
            await asyncio.Event().wait()
        await super().sleep(seconds)


# OSTIARY_MODEL_EXAMPLES=5000 looks longer.
SETTINGS = settings(
    max_examples=int(os.environ.get("OSTIARY_MODEL_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@SETTINGS
@given(plans())
def test_runs_are_as_the_model_says(plan: Plan) -> None:
    async def main(directory: Path) -> None:
        stage, model = staged(directory, plan), Model(plan)
        # Each round in an engine of its own, now and then: memory and disk say the same.
        for number in range(plan.rounds):
            async with stage.open():
                for _ in range(1 if number % 2 else 2):
                    if model.calls and set(model.order()) <= set(model.done):
                        before = list(stage.ran)
                        assert (await stage.execute(plan.spec))["status"] == "success"
                        assert stage.ran == before
                        continue
                    status, found = model.round()
                    result = await stage.execute(plan.spec)
                    note(f"{stage.ran} / {model.calls}")
                    assert stage.ran == model.calls
                    assert result["status"] == status
                    assert statuses(result) == found
                    keys: dict[str, set[str]] = {}
                    for name, call in zip(stage.ran, stage.calls, strict=True):
                        keys.setdefault(name, set()).add(call.idempotency_key)
                    for name, effects in model.effects.items():
                        assert len(keys[name]) == len(effects)
                    assert len(set().union(*keys.values())) == sum(map(len, keys.values()))

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))


@SETTINGS
@given(plans(), st.integers(2, 5))
def test_several_at_once_keep_the_rules(plan: Plan, concurrency: int) -> None:
    async def main(directory: Path) -> None:
        stage = staged(directory, plan)
        async with stage.open() as engine:
            result = await stage.execute(plan.spec, context={"concurrency": concurrency})
            log = [one async for one in engine.events("w")]
            assert [one["sequence"] for one in log] == list(range(1, len(log) + 1))
        tasks = {one.id: one for one in plan.spec.tasks}
        ended = {one["task_id"]: one["sequence"] for one in log if one["type"] == "TASK_COMPLETED"}
        for one in log:
            if one["type"] == "TASK_STARTED":
                # Nothing begins before what it waits for is done.
                for earlier in plan.spec.dependencies.get(one["task_id"], ()):
                    assert ended[earlier] < one["sequence"]
        found = statuses(result)
        tried = Counter(call.task.id for call in stage.calls if not call.compensates)
        for name, count in tried.items():
            retry = tasks[name].retry
            assert count <= (1 if retry is None else retry.max_attempts)
        failed = [name for name, status in found.items() if status == "failed"]
        assert (result["status"] == "success") is (not [n for n in failed if n.startswith("t")])
        if result["status"] == "success":
            assert not [call for call in stage.calls if call.compensates]
        else:
            first = [call.task.id for call in stage.calls if call.compensates]
            undone = list(dict.fromkeys(first))
            due = [
                name
                for name in sorted(ended, key=ended.__getitem__, reverse=True)
                if name.startswith("t") and tasks[name].compensation_action is not None
            ]
            assert undone == due

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))


@SETTINGS
@given(plans(limits=False), st.sets(st.integers(1, 12), min_size=1, max_size=3))
def test_a_stop_anywhere_changes_nothing_of_the_end(plan: Plan, stops: set[int]) -> None:
    """The engine is stopped at random calls and started again; then all is as without."""

    async def main(directory: Path) -> None:
        model = Model(plan)
        status, found = model.round()
        stage = Stage(directory, Patient())
        left = {name: list(tries) for name, tries in plan.tries.items()}
        calls, cut = 0, asyncio.Event()
        keys: dict[str, set[str]] = {}

        async def act(call: ToolCall) -> str:
            nonlocal calls
            name = f"-{call.task.id}" if call.compensates else call.task.id
            keys.setdefault(name, set()).add(call.idempotency_key)
            calls += 1
            if calls in stops:
                cut.set()
                await asyncio.Event().wait()  # until the engine is gone
            came = left[name].pop(0) if left[name] else "ok"
            if came != "ok":
                raise fails(retry=came != "fatal")
            return name

        stage.tool("act", act)
        stage.tool("undo", act)
        result: dict[str, Any] | None = None
        submitted = False
        while result is None:
            async with stage.open() as engine:
                if not submitted:
                    await engine.submit(plan.spec, principal=BOT)
                    submitted = True
                ending = asyncio.ensure_future(engine.result("w"))
                stopping = asyncio.ensure_future(cut.wait())
                await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                cut.clear()
                if ending.done():
                    result = ending.result()
                else:
                    ending.cancel()
        assert result["status"] == status
        assert statuses(result) == found
        assert all(len(each) == 1 for each in keys.values())

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))
