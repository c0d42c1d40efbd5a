"""What the engine adds to a task, and how long a graph's check takes.

    python -m tests.devserver.workflow_figures

Workflows of 10,000 tasks that do nothing, in three shapes: wide (none waits), deep (one chain), a
lattice of diamonds (each waits for two). Each is run one task at a time and 64 at a time; a
sequential run waits for the disk after each task, so its figure is mostly that of the disk, which
is measured beside it. Validation is timed at 2,500, 5,000 and 10,000 tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ostiary.devserver.workflow.engine.engine import Engine
from ostiary.devserver.workflow.tools import Registry, ToolCall, tool
from ostiary.workflow.graph import Graph
from ostiary.workflow.models import Principal, TaskSpec, WorkflowSpec

BOT = Principal(id="bot", type="agent", permissions=[])


def wide(count: int) -> dict[str, list[str]]:
    """None waits for another."""
    return {}


def deep(count: int) -> dict[str, list[str]]:
    """Each waits for the one before it."""
    return {f"t{number}": [f"t{number - 1}"] for number in range(1, count)}


def lattice(count: int, width: int = 100) -> dict[str, list[str]]:
    """Rows of `width`; each waits for two neighbours of the row above."""
    found: dict[str, list[str]] = {}
    for number in range(width, count):
        row, column = divmod(number, width)
        above = (row - 1) * width
        found[f"t{number}"] = [f"t{above + column}", f"t{above + (column + 1) % width}"]
    return found


SHAPES: dict[str, Callable[[int], dict[str, list[str]]]] = {
    "wide": wide,
    "deep": deep,
    "lattice": lattice,
}


@tool
async def nothing(call: ToolCall) -> None:
    """Do nothing."""


def spec_of(shape: str, count: int, id: str) -> WorkflowSpec:
    return WorkflowSpec(
        id=id,
        name=id,
        tasks=[
            TaskSpec(id=f"t{number}", name="t", type="action", tool_name="nothing")
            for number in range(count)
        ],
        dependencies=SHAPES[shape](count),
    )


def checked(spec: WorkflowSpec, repeats: int = 7) -> float:
    """Return the best time, in seconds, that checking and ordering a graph takes."""
    best = float("inf")
    gc.collect()
    # Its passes over the specs themselves, which are no part of the check, are not linear.
    gc.disable()
    try:
        for _ in range(repeats):
            began = time.perf_counter()
            Graph(spec).order()
            best = min(best, time.perf_counter() - began)
    finally:
        gc.enable()
    return best


async def ran(
    home: Path, spec: WorkflowSpec, concurrency: int, synchronous: str
) -> tuple[float, int]:
    """Return the seconds a run takes, and how many commits it took."""
    tools = Registry()
    tools.add(nothing)
    engine = Engine(home / "workflow.db", tools=tools, synchronous=synchronous)
    await engine.start()
    try:
        began = time.perf_counter()
        result = await engine.execute(spec, principal=BOT, context={"concurrency": concurrency})
        took = time.perf_counter() - began
        assert result["status"] == "success", result["error"]
        return took, engine.commits
    finally:
        await engine.stop()


def disk(home: Path, commits: int = 300) -> float:
    """Return the seconds that one commit of one row takes here."""
    db = sqlite3.connect(home / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE t (a INTEGER, b BLOB)")
    began = time.perf_counter()
    for number in range(commits):
        db.execute("INSERT INTO t VALUES (?, ?)", (number, b"x" * 200))
    took = (time.perf_counter() - began) / commits
    db.close()
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 64])
    given = parser.parse_args()
    count = given.tasks
    print("checking a graph     " + "".join(f"{n:>12,}" for n in (count // 4, count // 2, count)))
    for shape in SHAPES:
        times = [checked(spec_of(shape, n, shape)) for n in (count // 4, count // 2, count)]
        print(f"  {shape:18} " + "".join(f"{seconds * 1000:9.1f} ms" for seconds in times))
    print(f"\n{count:,} tasks that do nothing        on the disk   not waiting for it   commits")
    for concurrency in given.concurrency:
        for shape in SHAPES:
            spec = spec_of(shape, count, shape)
            took: dict[str, float] = {}
            commits = 0
            for synchronous in ("OFF", "FULL"):
                with tempfile.TemporaryDirectory() as directory:
                    seconds, commits = asyncio.run(
                        ran(Path(directory), spec, concurrency, synchronous)
                    )
                took[synchronous] = seconds / count * 1e6
            print(
                f"  {shape:8} {concurrency:>3} at a time {took['FULL']:10.0f} us/task"
                f"{took['OFF']:13.0f} us/task{commits:10,}"
            )
    with tempfile.TemporaryDirectory() as directory:
        print(f"one commit of one row, by SQLite alone: {disk(Path(directory)) * 1e6:.0f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
