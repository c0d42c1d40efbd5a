"""A client that follows a workflow while its server is killed: it hears all of it, once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ostiary.workflow import TaskSpec, TaskType, WorkflowClient, WorkflowSpec

pytestmark = pytest.mark.timeout(120)

# Each call leaves a line; the one in the middle waits until it is let through.
TOOLS = """
import os, time
from pathlib import Path

def step(call):
    with open("calls", "a") as log:
        log.write(f"{call.task.id} {call.idempotency_key}\\n")
    while call.task.id == "t4" and not Path("open").exists():
        time.sleep(0.01)
    return call.task.id

TOOLS = {"step": step}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    # Short: the path of a socket below it has about 100 bytes.
    path = Path(tempfile.mkdtemp(prefix="ok-", dir="/tmp")).resolve()
    (path / "tools_of_the_killed.py").write_text(TOOLS)
    yield path
    shutil.rmtree(path)


def start(home: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ostiary", "dev", "--demo", "--json", "--no-tcp", "--no-runtime",
         "--no-gateway", "--no-governance", "--home", "home", "--tools", "tools_of_the_killed"],
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if not k.startswith(("OSTIARY_", "SANCTUM_"))},
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["workflow"]
    return process


def test_it_hears_all_of_it_once(home: Path) -> None:
    url = f"unix://{home}/home/workflow.sock"
    spec = WorkflowSpec(
        id="followed",
        name="Followed",
        tasks=[
            TaskSpec(id=f"t{n}", name="Step", type=TaskType.ACTION, tool_name="step")
            for n in range(8)
        ],
    )
    heard: list[Any] = []
    in_the_middle = threading.Event()

    def follow() -> None:
        with WorkflowClient(url, max_retries=100) as client:
            for event in client.stream_workflow("followed"):
                heard.append(event)
                if (event.type, event.task_id) == ("TASK_STARTED", "t4"):
                    in_the_middle.set()

    process = start(home)
    try:
        with WorkflowClient(url) as client:
            client.submit_workflow(spec)
        following = threading.Thread(target=follow)
        following.start()
        assert in_the_middle.wait(60)
        while "t4" not in (home / "calls").read_text():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = start(home)
        (home / "open").touch()
        following.join(60)
        assert not following.is_alive()
        with WorkflowClient(url) as client:
            result = client.get_workflow_result("followed")
            record = list(client.list_workflow_events("followed").events)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert result.succeeded
    assert heard[-1].type == "WORKFLOW_COMPLETED"
    assert [event.sequence for event in heard] == [event.sequence for event in record]
    calls = [line.split() for line in (home / "calls").read_text().splitlines()]
    # The one that was cut off ran again, under its key; what was finished did not.
    assert [name for name, _ in calls] == [
        *(f"t{n}" for n in range(5)),
        *(f"t{n}" for n in range(4, 8)),
    ]
    assert len({key for _, key in calls}) == 8
