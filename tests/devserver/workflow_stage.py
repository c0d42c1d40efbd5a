"""An engine on a stage: scripted tools, time that passes by itself or by hand, a look at it all."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from ostiary.devserver.clock import Clock
from ostiary.devserver.workflow.crv.gate import Gate
from ostiary.devserver.workflow.crv.registry import Registration
from ostiary.devserver.workflow.crv.registry import Registry as Validators
from ostiary.devserver.workflow.engine.engine import Engine
from ostiary.devserver.workflow.policy.approvals import ApprovalRecord, Approvals
from ostiary.devserver.workflow.policy.guard import Guard
from ostiary.devserver.workflow.tools import Registry, ToolCall, ToolError
from ostiary.workflow.models import Principal, TaskSpec, WorkflowSpec, reader

BOT = Principal(id="bot", type="agent", permissions=[])

read_spec = reader(WorkflowSpec)


class Kept:
    """Documents in memory, which are written and read as those on file are."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.rows: dict[str, bytes] = {}

    def get(self, key: str) -> Any:
        raw = self.rows.get(key)
        return None if raw is None else msgspec.json.decode(raw, type=self.kind)

    def put(self, key: str, value: Any) -> None:
        self.rows[key] = msgspec.json.encode(value)

    def delete(self, key: str) -> bool:
        return self.rows.pop(key, None) is not None

    def all(self) -> list[Any]:
        return [msgspec.json.decode(raw, type=self.kind) for raw in self.rows.values()]


class Time:
    """Sleeps end at once and move the clock, or, `by_hand`, when the test lets time pass."""

    def __init__(self, by_hand: bool = False) -> None:
        self.now = 1_900_000_000.0
        self.by_hand = by_hand
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def clock(self) -> Clock:
        return Clock(steady=lambda: self.now, wall=lambda: self.now)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self.by_hand:
            await asyncio.sleep(0)
            self.now += seconds
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, done))
        await done

    async def sleeper(self) -> float:
        """Wait until somebody sleeps; return for how long he still will."""
        while True:
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if self._sleepers:
                return self._sleepers[0][0] - self.now
            await asyncio.sleep(0.001)

    def go_by(self, seconds: float) -> None:
        self.now += seconds
        while self._sleepers and self._sleepers[0][0] <= self.now:
            done = heapq.heappop(self._sleepers)[2]
            if not done.done():
                done.set_result(None)


Script = Callable[[ToolCall], Any] | list[Any]


class Stage:
    """One home directory and what is remembered of the tools' calls; `open` has the engine."""

    def __init__(self, directory: Path, time: Time | None = None, **options: Any) -> None:
        self.directory = directory
        self.sandbox = directory / "files"
        self.sandbox.mkdir(exist_ok=True)
        self.time = time or Time()
        self.calls: list[ToolCall] = []
        self.tools = Registry()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.spans: list[dict[str, Any]] = []
        self.metrics: list[tuple[str, float]] = []
        self.options: dict[str, Any] = {"synchronous": "OFF", "random": lambda: 0.5, **options}
        self.engine: Engine
        self.approvals = Approvals(
            Kept(ApprovalRecord), self.time.clock(), told=lambda one: self._answered(one)
        )
        self.guard = Guard(self.approvals)
        self.validators = Validators(Kept(Registration))
        self.gate = Gate(self.validators, self.time.clock())
        self.tool("work")

    def _answered(self, approval: ApprovalRecord) -> None:
        if hasattr(self, "engine"):
            self.engine.approval_changed(approval)

    def tool(self, name: str, script: Script | None = None, **more: Any) -> None:
        """Make a tool known that remembers its calls: a function, or what each call comes to."""
        left = list(script) if isinstance(script, list) else None

        async def run(call: ToolCall) -> Any:
            self.calls.append(call)
            if left is not None:
                answer = left.pop(0) if left else "done"
                if isinstance(answer, BaseException):
                    raise answer
                return answer
            if script is None:
                return f"{call.task.id} done"
            found = script(call)  # type: ignore[operator]
            return await found if isinstance(found, Awaitable) else found

        from ostiary.devserver.workflow.tools.call import made

        self.tools.add(made(name, run, **more))

    @property
    def ran(self) -> list[str]:
        """The ids of the tasks whose tool was called, in order; those undone with a minus."""
        return [f"-{call.task.id}" if call.compensates else call.task.id for call in self.calls]

    @asynccontextmanager
    async def open(self, *, resume: bool = True) -> AsyncIterator[Engine]:
        """Have an engine on the directory; it is stopped as a server is."""
        self.engine = Engine(
            self.directory / "workflow.db",
            **{
                "tools": self.tools,
                "guard": self.guard,
                "approvals": self.approvals,
                "gate": self.gate,
                "observer": self,
                "sandbox": self.sandbox,
                "clock": self.time.clock(),
                "sleep": self.time.sleep,
                **self.options,
            },
        )
        await self.engine.start()
        try:
            if resume:
                await self.engine.resume_all()
            yield self.engine
        finally:
            await self.engine.stop()

    async def execute(self, workflow: WorkflowSpec, **more: Any) -> dict[str, Any]:
        more.setdefault("principal", BOT)
        return await self.engine.execute(workflow, **more)

    async def log(self, workflow_id: str, after: int | None = None) -> list[str]:
        """Return the events as `TYPE task`."""
        return [
            f"{one['type']} {one['task_id']}" if "task_id" in one else one["type"]
            async for one in self.engine.events(workflow_id, after, follow=False)
        ]

    # what an observer has
    def event(self, kind: str, data: dict[str, Any], **about: Any) -> None:
        self.told.append((kind, {**data, **about}))

    def span(self, span: dict[str, Any]) -> None:
        self.spans.append(span)

    def metric(self, name: str, value: float, tags: dict[str, str]) -> None:
        self.metrics.append((name, value))


def task(id: str, tool: str | None = "work", **more: Any) -> dict[str, Any]:
    return {"id": id, "name": f"task {id}", "type": "action", "tool_name": tool, **more}


def workflow(
    *tasks: dict[str, Any] | str, id: str = "w", after: dict[str, list[str]] | None = None
) -> WorkflowSpec:
    """Return a workflow; a task that is a name uses the tool `work`."""
    written = [task(one) if isinstance(one, str) else one for one in tasks]
    return WorkflowSpec(
        id=id,
        name=f"workflow {id}",
        tasks=[TaskSpec(**one) for one in written],
        dependencies=after or {},
    )


def chain(*names: str) -> dict[str, list[str]]:
    """Have each wait for the one before it."""
    return {later: [earlier] for earlier, later in pairwise(names)}


def fails(message: str = "disk full", **more: Any) -> ToolError:
    return ToolError(message, **more)


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {name: entry["status"] for name, entry in result["task_results"].items()}


async def until(reached: Callable[[], Any]) -> None:
    """Return when something is so."""
    while not reached():
        await asyncio.sleep(0.001)
