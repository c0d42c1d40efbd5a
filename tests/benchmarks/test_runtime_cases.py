"""The cases of the agent runtime: the recorded replies, what is counted, what is left out."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import compiled, rounds
from benchmarks.cases import runtime
from benchmarks.cases.runtime import CALLS
from benchmarks.catalogue import chosen
from benchmarks.rounds import RECORDED
from benchmarks.sample import Unavailable, Work
from ostiary.runtime import (
    AgentStatusResponse,
    ReviewSessionList,
    VectorSearchResponse,
)

MODELS: dict[str, type[Any]] = {
    "status": AgentStatusResponse,
    "sessions": ReviewSessionList,
    "search": VectorSearchResponse,
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


@pytest.mark.parametrize("name", CALLS)
def test_what_was_recorded_is_what_a_call_expects(name: str) -> None:
    body = (RECORDED / f"{name}.json").read_bytes()
    # By the road of the common reply: what is measured is what a server of today sends.
    assert CALLS[name].right(msgspec.json.decode(body, type=MODELS[name]))


@needs_compiler
@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
@pytest.mark.parametrize("name", CALLS)
def test_both_colours_make_each_call(work: Work, name: str, tcp: bool) -> None:
    options = {"call": name, "client": "ours", "tcp": tcp}
    for measure in (runtime.calls, runtime.async_calls, runtime.threaded):
        assert measure(with_options(work, **options, tasks=2)).value > 0
    for poll in (False, True):
        assert runtime.c_floor(with_options(work, **options, poll=poll)).value > 0


@needs_compiler
def test_connections_are_counted_by_the_server(work: Work) -> None:
    options = {"call": "status", "client": "ours", "tcp": True}
    assert runtime.connections(with_options(work, **options)).value == 1
    # The one from before, and the one that asked how many there are.
    assert runtime.connections(with_options(work, **options)).value == 3


@needs_compiler
def test_a_call_that_a_client_lacks_is_left_out(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ostiary.runtime import RuntimeClient

    monkeypatch.delattr(RuntimeClient.__mro__[1], "get_agent_status")
    with pytest.raises(Unavailable, match="no such call"):
        runtime.calls(with_options(work, call="status", client="ours"))


def test_without_recorded_replies_the_runtime_is_not_there(
    tools: dict[str, str], tmp_path: Path
) -> None:
    if "httpd" not in tools:
        pytest.skip("no epoll")
    done = subprocess.run(
        [tools["httpd"], str(tmp_path / "s"), str(tmp_path / "none")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert "status.json" in done.stderr


@pytest.mark.timeout(60)
def test_the_embedded_runtime_serves_a_case() -> None:
    (case,) = chosen(["R5.search.typed-tcp"])
    found = rounds.run_case(case, 2, rounds.Cores(None, None), {})
    assert not isinstance(found, str)
    assert found.value > 0
