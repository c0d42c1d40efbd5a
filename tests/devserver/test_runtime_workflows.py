"""Workflows: handlers that run with a limit and leave a record; the documentation's own one."""

from __future__ import annotations

import asyncio
import csv
import os
import statistics
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.devserver import RunningVault, RuntimeOptions, running
from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.runtime import samples
from tests.devserver.api import Api

GUIDE = {
    "workflow_id": "data-analysis-workflow",
    "parameters": {"input_data": "path/to/data.csv", "analysis_type": "statistical"},
    "agent_id": "agent-123",
}


class Broken(Exception):
    pass


def double(parameters: dict[str, Any]) -> int:
    assert threading.current_thread().name.startswith("ostiary-runtime")
    return int(parameters["n"]) * 2


async def who(parameters: dict[str, Any], *, agent_id: str | None) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"agent": agent_id, **parameters}


def broken(parameters: dict[str, Any]) -> None:
    raise Broken(f"with {parameters}")


async def endless(parameters: dict[str, Any]) -> None:
    await asyncio.sleep(60)


HANDLERS: dict[str, Any] = {
    "double": double,
    "who": who,
    "broken": broken,
    "endless": endless,
    "no-json": lambda parameters: {1: object()},
    "long": lambda parameters: "x" * (5 * 1024 * 1024),
    "nothing": lambda parameters: None,
}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    runtime = RuntimeOptions(port=None, workflows=HANDLERS, workflow_timeout=0.2)
    with running(demo=True, tcp=False, runtime=runtime) as one:
        yield one


@pytest.fixture
def api(server: RunningVault) -> Api:
    return Api(server)


def run(api: Api, workflow_id: str, agent_id: str | None = None, **parameters: Any) -> Any:
    body = {"workflow_id": workflow_id, "parameters": parameters, "agent_id": agent_id}
    status, answer = api.post("workflows/execute", body)
    assert status == 200, answer
    return answer


def test_the_guides_workflow_on_both_paths(api: Api) -> None:
    for path in ("workflows", "workflows/execute"):
        status, answer = api.post(path, GUIDE)
        assert (status, answer["status"], answer["agent_id"]) == (200, "completed", "agent-123")
        revenue = answer["result"]["statistics"]["revenue"]
        figures = [float(row[3]) for row in samples._ROWS[1:] if row[3]]
        assert revenue["mean"] == pytest.approx(statistics.fmean(figures))
        assert revenue["stdev"] == pytest.approx(statistics.stdev(figures))
        assert (revenue["count"], revenue["missing"]) == (7, 1)
        kept = api.get(f"workflows/executions/{answer['execution_id']}")[1]
        assert kept == answer
        history = api.get("agents/agent-123/history")[1]["history"]
        assert history[0]["execution_id"] == answer["execution_id"]


def test_handlers_of_every_kind(api: Api) -> None:
    assert run(api, "double", n=21)["result"] == {"value": 42}
    assert run(api, "who", n=None)["result"] == {"agent": None, "n": None}
    assert run(api, "who", "agent-123")["result"] == {"agent": "agent-123"}
    nothing = run(api, "nothing")
    assert (nothing["status"], nothing.get("result")) == ("completed", None)
    assert {"double", samples.DATA_ANALYSIS} <= set(api.get("workflows")[1]["workflows"])


@pytest.mark.parametrize(
    ("workflow_id", "status", "words"),
    [
        ("broken", "failed", "the handler raised Broken"),
        ("endless", "timed_out", "longer than 0.2 seconds"),
        ("no-json", "failed", "no JSON"),
        ("long", "failed", "more than 4 MiB"),
    ],
)
def test_what_goes_wrong_is_the_runs_own(
    api: Api, workflow_id: str, status: str, words: str
) -> None:
    before = api.get("agents/agent-123/metrics")[1]["tasks_failed"]
    answer = run(api, workflow_id, "agent-123", password="hunter2")
    assert (answer["status"], "result" in answer) == (status, False)
    assert words in answer["error"]
    assert "hunter2" not in str(answer)
    assert api.get("agents/agent-123/metrics")[1]["tasks_failed"] == before + 1


def test_unknown_names(api: Api) -> None:
    status, answer = api.post("workflows/execute", GUIDE | {"workflow_id": "who?"})
    assert (status, answer["code"]) == (404, "WORKFLOW_NOT_FOUND")
    assert "double" in answer["details"]["workflows"]
    status, answer = api.post("workflows/execute", GUIDE | {"agent_id": "who?"})
    assert (status, answer["code"]) == (404, "AGENT_NOT_FOUND")
    assert api.post("workflows/execute", GUIDE | {"workflow_id": ""})[0] == 422
    assert api.get("workflows/executions/who")[1]["code"] == "EXECUTION_NOT_FOUND"


def test_a_list_with_pages(api: Api) -> None:
    ids = [run(api, "double", n=n)["execution_id"] for n in range(3)]
    page = api.get("workflows/executions?workflow_id=double&limit=2")[1]
    assert [one["execution_id"] for one in page["executions"]] == [ids[2], ids[1]]
    assert page["pagination"].keys() == {"page", "limit", "total", "has_next"}
    assert page["pagination"]["has_next"] is True
    broken = api.get("workflows/executions?status=failed&agent_id=agent-123")[1]["executions"]
    assert all(one["status"] == "failed" for one in broken)
    for query in ("limit=0", "limit=101", "page=0", "page=x"):
        assert api.get(f"workflows/executions?{query}")[0] == 422


def test_a_source_in_place_of_a_name(api: Api) -> None:
    source = 'agent worker { action work { trigger_workflow("double") } }'
    status, answer = api.post("workflows/execute", {"workflow_id": source, "parameters": {"n": 4}})
    assert (status, answer["workflow_id"], answer["agent_id"]) == (200, source, "worker")
    assert answer["execution_started"] is True
    assert api.get(f"workflows/executions/{answer['execution_id']}")[0] == 200
    broken = {"workflow_id": "agent { {", "parameters": {}}
    assert api.post("workflows/execute", broken)[1]["code"] == "DSL_INVALID"


# -- the documentation's workflow ---------------------------------------------


def analyse(directory: Path, name: Any = "a.csv", **more: Any) -> dict[str, Any]:
    return samples.analyse(directory, {"input_data": name, **more})


def test_columns_of_words(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffname,n\nb,1\n\na,1e999\nb,nan\n", "utf-8")
    found = analyse(tmp_path)
    assert found["columns"] == ["name", "n"]
    assert found["rows"] == 3
    name = found["statistics"]["name"]
    assert name["most_frequent"] == [{"value": "b", "count": 2}, {"value": "a", "count": 1}]
    assert found["statistics"]["n"]["type"] == "text"  # no figures can be had of these
    assert "statistics" not in analyse(tmp_path, analysis_type="summary")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_figures(tmp_path_factory: pytest.TempPathFactory, numbers: list[float]) -> None:
    directory = tmp_path_factory.mktemp("figures")
    with open(directory / "a.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["x"], *([repr(one)] for one in numbers)])
    figures = analyse(directory)["statistics"]["x"]
    assert figures["count"] == len(numbers)
    assert (figures["minimum"], figures["maximum"]) == (min(numbers), max(numbers))
    assert figures["median"] == statistics.median(numbers)
    assert figures["mean"] == pytest.approx(statistics.fmean(numbers), abs=1e-6)


@pytest.mark.parametrize(
    "content",
    [b"", b"a,a\n1,2\n", b"a,b\n1\n", b"a\n\xff\n", b'a\n"1\n'],
    ids=["empty", "twice", "short", "latin", "quote"],
)
def test_files_that_are_no_tables(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(HttpRefusal) as refused:
        analyse(tmp_path)
    assert refused.value.status == 422


def test_nothing_is_read_outside_the_directory(tmp_path: Path) -> None:
    inside = tmp_path / "files"
    (inside / "deep").mkdir(parents=True)
    (tmp_path / "a.csv").write_text("x\n1\n")
    (inside / "link.csv").symlink_to(tmp_path / "a.csv")
    (inside / "door").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe.csv")
    climbing = (
        "../a.csv",
        "/etc/passwd",
        "deep/../../a.csv",
        "./a.csv",
        "a\0",
        "",
        None,
        "deep//a",
    )
    for name in climbing:
        with pytest.raises(HttpRefusal) as refused:
            analyse(inside, name)
        assert refused.value.status == 422
    for name in ("link.csv", "door/a.csv", "none.csv", "deep/none.csv"):
        with pytest.raises(HttpRefusal) as refused:
            analyse(inside, name)
        assert refused.value.status == 404
    with pytest.raises(HttpRefusal):
        analyse(inside, "pipe.csv")  # and it does not wait for a writer
    with pytest.raises(HttpRefusal):
        analyse(inside, "deep")
    with pytest.raises(HttpRefusal):
        analyse(tmp_path, "a.csv", analysis_type="magical")


def test_the_sample_is_not_put_over_a_file_of_the_users(tmp_path: Path) -> None:
    samples.write(tmp_path)
    path = tmp_path / "path" / "to" / "data.csv"
    path.write_text("mine\n1\n")
    samples.write(tmp_path)
    assert path.read_text() == "mine\n1\n"
