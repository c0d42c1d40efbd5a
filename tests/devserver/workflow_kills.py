"""Kill an engine while it works, again and again, and count what was lost or done twice.

    python -m tests.devserver.workflow_kills

A workflow of 200 tasks runs in a process of its own, which is killed with SIGKILL at a random
moment of its work and started again, 50 times; then it may finish. Each task leaves a line with
its idempotency key in a file when its effect happens. What has a checkpoint on the disk at a
kill must leave no line after it. `--undo` has the last task fail, so that the kills meet the
undoing of the others too; `--concurrency` runs several at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ostiary.devserver.workflow.engine.engine import Engine
from ostiary.devserver.workflow.tools import Registry, ToolCall, ToolError, tool
from ostiary.workflow.models import Principal, TaskSpec, WorkflowSpec

ID = "killed"


def spec_of(tasks: int, seed: int, undo: bool) -> WorkflowSpec:
    """Return a workflow in which each task waits for up to three before it.

    With `undo` the last of `tasks` fails, and all the others are undone.
    """
    order = random.Random(seed)
    names = [f"t{number}" for number in range(tasks)]
    return WorkflowSpec(
        id=ID,
        name="killed again and again",
        tasks=[
            TaskSpec(
                id=name,
                name=name,
                type="action",
                tool_name="fail" if undo and at == tasks - 1 else "effect",
                inputs={"n": at},
                compensation_action={"tool": "effect"} if undo else None,
            )
            for at, name in enumerate(names)
        ],
        dependencies={names[-1]: names[:-1]}
        if undo
        else {
            name: order.sample(names[max(0, at - 12) : at], min(at, order.randint(0, 3)))
            for at, name in enumerate(names)
        },
    )


async def live(home: Path, spec: WorkflowSpec, concurrency: int) -> None:
    """Run the workflow, or what is left of it, to its end."""
    effects = os.open(home / "effects", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @tool
    async def effect(call: ToolCall) -> dict[str, Any]:
        await asyncio.sleep(0.002)
        for waited in call.task.depends_on or ():
            assert waited in call.upstream
        sign = "-" if call.compensates else ""
        os.write(effects, f"{sign}{call.task.id} {call.idempotency_key}\n".encode())
        await asyncio.sleep(0.002)
        return {"upstream": sorted(call.upstream)}

    def fail(call: ToolCall) -> None:
        raise ToolError("as it should")

    tools = Registry()
    tools.add(effect)
    tools.add(fail, "fail")
    engine = Engine(home / "workflow.db", tools=tools)
    await engine.start()
    if not await engine.resume_all():
        await engine.submit(
            spec,
            principal=Principal(id="bot", type="agent", permissions=[]),
            context={"concurrency": concurrency},
        )
    result = await engine.result(ID)
    await engine.stop()
    (home / "result").write_text(json.dumps(result))


def child(home: Path, spec: WorkflowSpec, concurrency: int) -> int:
    """Start a life of the engine; return its process."""
    process = os.fork()
    if process == 0:
        try:
            asyncio.run(live(home, spec, concurrency))
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing of it may reach the parent
            import traceback

            traceback.print_exc()
            os._exit(1)
    return process


def finished(home: Path) -> set[str]:
    """Return what has a checkpoint on the disk; an undone task with a minus too."""
    if not (home / "workflow.db").exists():
        return set()
    db = sqlite3.connect(home / "workflow.db")
    try:
        rows = db.execute("SELECT task_id, record FROM tasks").fetchall()
    except sqlite3.OperationalError:
        return set()  # killed before there was a table
    finally:
        db.close()
    found: set[str] = set()
    for name, record in rows:
        read = json.loads(record)
        if read.get("state") == "completed":
            found.add(name)
        if read.get("undone") == "done":
            found.add(f"-{name}")
    return found


def effects(home: Path) -> list[tuple[str, str]]:
    """Return the tasks whose effect happened, with their keys, in order."""
    path = home / "effects"
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [(name, key) for name, _, key in (line.partition(" ") for line in lines)]


def torment(
    home: Path, kills: int, tasks: int, seed: int, concurrency: int, undo: bool
) -> dict[str, Any]:
    """Kill and restart until that was often enough; return the figures."""
    spec = spec_of(tasks, seed, undo)
    due = {task.id for task in spec.tasks}
    if undo:
        due = {sign + name for name in due - {f"t{tasks - 1}"} for sign in ("", "-")}
    moments = random.Random(seed)
    again: list[str] = []
    killed = cut_off = before_end = 0
    while killed < kills:
        done, there = finished(home), len(effects(home))
        process = child(home, spec, concurrency)
        # So many effects that the last kill still meets work to do, then anywhere in the next.
        left = (len(due) - len(done)) // (kills - killed)
        wanted = there + moments.randint(0, max(0, min(left, 2 * left - 1)))
        ended = False
        while not ended and len(effects(home)) <= wanted:
            ended = bool(os.waitpid(process, os.WNOHANG)[0])
            time.sleep(0.0005)
        if ended:
            break  # on a slow machine a life may last longer than was meant
        time.sleep(moments.uniform(0, 0.01 / concurrency))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if not os.WIFSIGNALED(status):
            break
        killed += 1
        again += [name for name, _ in effects(home)[there:] if name in done]
        happened = {name for name, _ in effects(home)}
        cut_off += len(happened - finished(home))
        before_end += len(finished(home)) < len(due)
    done, there, status = finished(home), len(effects(home)), 0
    if not (home / "result").exists():
        _, status = os.waitpid(child(home, spec, concurrency), 0)
    again += [name for name, _ in effects(home)[there:] if name in done]
    result = json.loads((home / "result").read_text()) if (home / "result").exists() else {}
    counts = Counter(name for name, _ in effects(home))
    keys: dict[str, set[str]] = {}
    for name, key in effects(home):
        keys.setdefault(name, set()).add(key)
    entries = result.get("task_results", {})
    known = {name for name, entry in entries.items() if entry["status"] == "success"}
    known |= {f"-{name}" for name, entry in entries.items() if entry.get("compensated")}
    return {
        "tasks": tasks,
        "concurrency": concurrency,
        "kills": killed,
        "kills_before_the_end": before_end,
        "status": result.get("status"),
        "finished_that_ran_again": len(again),
        "lost": len(due - set(counts)) + len(due - known),
        "cut_off_between_effect_and_checkpoint": cut_off,
        "ran_again_under_the_same_key": sum(count > 1 for count in counts.values()),
        "other_keys": sum(len(found) > 1 for found in keys.values()),
        "exit": os.waitstatus_to_exitcode(status),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--undo", action="store_true", help="have it fail, and be undone")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        figures = torment(
            Path(home), given.kills, given.tasks, given.seed, given.concurrency, given.undo
        )
    if given.json:
        print(json.dumps(figures))
    else:
        print(f"seed {given.seed}")
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):40} {value}")
    wrong = figures["finished_that_ran_again"] or figures["lost"] or figures["other_keys"]
    return 1 if wrong or figures["status"] != ("partial" if given.undo else "success") else 0


if __name__ == "__main__":
    sys.exit(main())
