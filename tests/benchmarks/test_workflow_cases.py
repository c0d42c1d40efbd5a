"""The cases of workflows: the recorded replies, both sides' clients, the same bytes of both."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import compiled, rounds
from benchmarks.cases import workflow
from benchmarks.cases.workflow import CALLS
from benchmarks.catalogue import chosen
from benchmarks.rounds import RECORDED
from benchmarks.sample import Work
from ostiary.workflow import GuardDecision, TelemetryAccepted, WorkflowExecutionResult
from ostiary.workflow.models import wire

MODELS: dict[str, type[Any]] = {
    "execute": WorkflowExecutionResult,
    "evaluate": GuardDecision,
    "batch": TelemetryAccepted,
}

needs_compiler = pytest.mark.skipif(
    compiled.compiler() is None or "httpd" not in compiled.SOURCES,
    reason="no C compiler here, or no epoll",
)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return compiled.tools(tmp_path_factory.mktemp("programs"))


@pytest.fixture
def work(tools: dict[str, str], tmp_path: Path) -> Iterator[Work]:
    path = str(tmp_path / "s")
    command = [tools["httpd"], path, str(RECORDED)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready, _, port = process.stdout.readline().partition(b" ")
        assert ready == b"ready"
        yield Work(4, path, int(port), tools)
        process.stdin.close()
        assert process.wait(10) == 0


def with_options(work: Work, **options: object) -> Work:
    return dataclasses.replace(work, options=options)


@pytest.mark.parametrize("name", MODELS)
def test_what_was_recorded_is_what_a_call_expects(name: str) -> None:
    body = (RECORDED / f"{name}.json").read_bytes()
    assert CALLS[name].right(msgspec.json.decode(body, type=MODELS[name]))


def test_both_sides_send_the_same() -> None:
    plain = pytest.importorskip("benchmarks.cases.plain", exc_type=ImportError)
    ours = workflow.ours_models()
    for made in (workflow.spec, workflow.asked, workflow.event):
        mine, theirs = wire(made(ours)), made(plain).model_dump(mode="json", exclude_none=True)
        for side in (mine, theirs):
            side.pop("id" if made is workflow.event else "", None)  # of chance
            side.pop("timestamp", None)
        assert json.loads(msgspec.json.encode(mine)) == theirs


@needs_compiler
@pytest.mark.parametrize("client", ["ours", "plain"])
@pytest.mark.parametrize("name", ["execute", "evaluate", "event"])
def test_both_colours_make_each_call(work: Work, name: str, client: str) -> None:
    if client == "plain":
        pytest.importorskip("benchmarks.cases.plain", exc_type=ImportError)
    options = {"call": name, "client": client}
    for measure in (workflow.calls, workflow.async_calls, workflow.rate):
        assert measure(with_options(work, **options, tasks=2)).value > 0
    for poll in (False, True):
        assert workflow.c_floor(with_options(work, **options, poll=poll)).value > 0
    assert workflow.c_fanout(with_options(work, **options, tasks=2)).value > 0


@needs_compiler
def test_batches_and_the_pipeline_arrive(work: Work) -> None:
    for measure in (workflow.batches, workflow.batched_rate):
        assert measure(with_options(work, client="ours", tcp=True)).value > 0
    for measure in (workflow.pipelined, workflow.pipelined_rate):
        assert measure(with_options(work, client="ours")).value > 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["W6.typed", "W6.pipeline"])
def test_the_embedded_workflow_server_serves_a_case(name: str) -> None:
    (case,) = chosen([name])
    found = rounds.run_case(case, 2, rounds.Cores(None, None), {})
    assert not isinstance(found, str)
    assert found.value > 0
