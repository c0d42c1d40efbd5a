"""The runtime's workflows beside a workflow server: recorded step by step, and not lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import RunningVault, RuntimeOptions, WorkflowOptions, running
from tests.devserver.api import Api
from tests.devserver.workflow_api import WorkflowApi

BOTH: dict[str, Any] = {"demo": True, "tcp": False}


def settings(**handlers: Any) -> dict[str, Any]:
    return BOTH | {
        "runtime": RuntimeOptions(port=None, workflows=handlers),
        "workflow": WorkflowOptions(port=None),
    }


def run(vault: RunningVault, name: str, **more: Any) -> dict[str, Any]:
    body = {"workflow_id": name, "parameters": {"n": 4}, **more}
    status, found = Api(vault).post("workflows/execute", body)
    assert status == 200
    assert isinstance(found, dict)
    return found


def double(parameters: dict[str, Any], agent_id: str | None = None) -> dict[str, Any]:
    return {"twice": 2 * parameters["n"], "agent": agent_id}


async def fails(parameters: dict[str, Any]) -> None:
    raise KeyError("a secret that nobody is told")


def test_a_run_is_a_workflow_of_one_task() -> None:
    with running(**settings(double=double, fails=fails)) as server:
        found = run(server, "double", agent_id="agent-123")
        assert found["status"] == "completed"
        assert found["result"] == {"twice": 8, "agent": "agent-123"}
        api = WorkflowApi(server)
        (listed,) = api.get("workflows")[1]["workflows"]
        assert listed["workflow_id"] == f"runtime/double/{found['execution_id']}"
        assert listed["outcome"] == "success"
        spans = api.get(f"observability/traces/{found['execution_id']}")[1]
        assert [one["name"] for one in spans] == ["double", "run"]
        found = run(server, "fails")
        assert (found["status"], found["error"]) == ("failed", "the handler raised KeyError")
        events = api.get(f"workflows/runtime%2Ffails%2F{found['execution_id']}/events")[1]
        assert "secret" not in str(events)


@pytest.mark.parametrize("first", ["runtime", "workflow"])
def test_whichever_starts_first(first: str) -> None:
    with running(demo=True, tcp=False) as server:
        # Each starts when it is asked for.
        for name in (first, *({"runtime", "workflow"} - {first})):
            assert getattr(server, f"{name}_socket").exists()
        status, found = Api(server).post(
            "workflows/execute",
            {"workflow_id": "data-analysis-workflow", "parameters": {"data_source": "x"}},
        )
        assert status == 200
        assert found["workflow_id"] == "data-analysis-workflow"
        assert len(WorkflowApi(server).get("workflows")[1]["workflows"]) == 1


def test_one_that_takes_too_long_is_ended() -> None:
    ended = threading.Event()

    async def slow(parameters: dict[str, Any]) -> None:
        import asyncio

        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    options = settings() | {
        "runtime": RuntimeOptions(port=None, workflows={"slow": slow}, workflow_timeout=0.05)
    }
    with running(**options) as server:
        found = run(server, "slow")
        assert found["status"] == "timed_out"
        assert "longer than 0.05 seconds" in found["error"]
        assert ended.wait(30)


def test_one_that_a_stop_cuts_off_goes_on(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()
    answers: list[Any] = []

    def waits(parameters: dict[str, Any]) -> dict[str, Any]:
        entered.set()
        leave.wait(30)
        return {"after": parameters["n"]}

    options = settings(waits=waits) | {"stop_grace": 0.1}
    with running(tmp_path, **options) as server:
        api = Api(server)

        def ask() -> None:
            try:
                answers.append(
                    api.post("workflows/execute", {"workflow_id": "waits", "parameters": {"n": 3}})
                )
            except (EOFError, ConnectionError) as error:
                answers.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        assert entered.wait(30)
        (begun,) = api.get("workflows/executions")[1]["executions"]
        assert begun["status"] == "running"
    asking.join(30)
    entered.clear()
    with running(tmp_path, **options) as server:
        api = Api(server)
        assert entered.wait(30)
        path = f"workflows/executions/{begun['execution_id']}"
        assert api.get(path)[1]["status"] == "running"
        leave.set()
        # The stream ends when the run has; the runtime hears of it in the same turn or the next.
        name = f"runtime%2Fwaits%2F{begun['execution_id']}"
        WorkflowApi(server).call("GET", f"workflows/{name}/events", Accept="text/event-stream")
        for _ in range(1_000):
            found = api.get(path)[1]
            if found["status"] != "running":
                break
        assert (found["status"], found["result"]) == ("completed", {"after": 3})
