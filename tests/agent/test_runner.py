"""An agent's process: exit codes, signals, grace, and that what there is gets written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ostiary.gateway import (
    AgentContext,
    AgentInput,
    AgentOutput,
    AgentResult,
    AgentRunner,
    Finding,
    Location,
    RepositoryInput,
    SageSanctumAgent,
    SarifOutput,
    SpiffeAuthError,
    SubprocessError,
)
from ostiary.gateway import errors as gateway_errors
from ostiary.gateway.errors import SageSanctumError
from ostiary.gateway.runner import grace_period
from ostiary.gateway.workers import Workers

tidy = pytest.mark.usefixtures("no_leaked_descriptors")

Written = Callable[[], dict[str, Any]]
Environ = dict[str, str]


class Agent(SageSanctumAgent[RepositoryInput]):
    """An agent without a gateway that does what a test says."""

    requires_gateway = False
    name = "tester"
    version = "0.1"

    async def run(self, input: RepositoryInput) -> AgentResult:
        return AgentResult()


def agent(work: Callable[[Any, Any], Any]) -> type[Agent]:
    """Make an agent's class of an async function of agent and input."""
    return type("Made", (Agent,), {"run": work})


def finding() -> Finding:
    return Finding("A", "title", "text", "high", Location("src/app.py", 1))


def sarif(*findings: Finding) -> SarifOutput:
    return SarifOutput("tester", "0.1", list(findings))


# --- ends


def test_defaults() -> None:
    result = AgentResult()
    assert (result.output, result.exit_code, result.error) == (None, 0, "")
    assert (result.duration_seconds, result.metadata) == (0.0, {})
    with pytest.raises(TypeError):
        SageSanctumAgent(AgentContext("r", "o", Path(), Path()))  # type: ignore[abstract]


@tidy
def test_a_run_that_ends_well(external: Environ, written: Written, tmp_path: Path) -> None:
    results: list[AgentResult] = []

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        assert self.context.run_id == "run_1"
        assert self.context.gateway_client is None
        assert not self.shutdown_requested
        results.append(AgentResult(sarif(finding()), metadata={"files": len(input.list_files())}))
        return results[0]

    assert AgentRunner(agent(run), environ=external).run() == 0
    assert results[0].duration_seconds > 0
    record = written()
    assert record["agent"] == "tester"
    assert record["version"] == "0.1"
    assert (record["run_id"], record["org_id"]) == ("run_1", "org_1")
    assert (record["exit_code"], record["error"], record["signal"]) == (0, "", "")
    assert record["metadata"] == {"files": 6}
    assert record["files"] == ["results.sarif"]
    document = json.loads((tmp_path / "output/results.sarif").read_bytes())
    assert document["runs"][0]["invocations"][0]["executionSuccessful"] is True
    assert "primaryLocationLineHash" in document["runs"][0]["results"][0]["partialFingerprints"]


def test_error_and_metadata_of_a_result_are_kept(
    external: Environ, written: Written, tmp_path: Path
) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        return AgentResult(sarif(), exit_code=3, error="two files were unreadable")

    assert AgentRunner(agent(run), environ=external).run() == 3
    assert written()["error"] == "two files were unreadable"
    (invocation,) = json.loads((tmp_path / "output/results.sarif").read_bytes())["runs"][0][
        "invocations"
    ]
    assert invocation["executionSuccessful"] is False
    assert invocation["exitCode"] == 3


EVERY_ERROR = sorted(
    {
        one
        for one in vars(gateway_errors).values()
        if isinstance(one, type) and issubclass(one, SageSanctumError)
    },
    key=lambda one: one.__name__,
)


def test_an_error_is_an_exit_code(external: Environ, written: Written) -> None:
    for kind in EVERY_ERROR:

        async def run(self: Agent, input: RepositoryInput, kind: Any = kind) -> AgentResult:
            raise kind("it went wrong")

        assert AgentRunner(agent(run), environ=external).run() == kind.exit_code, kind
        assert 1 <= kind.exit_code <= 79, kind
        record = written()
        assert (record["exit_code"], record["error"]) == (kind.exit_code, "it went wrong")
        assert record["files"] == []
    assert {kind.exit_code for kind in EVERY_ERROR} >= {1, 10, 11, 12, 13, 30, 43, 52, 62, 73}


def test_an_error_may_have_a_code_of_its_own(external: Environ) -> None:
    for given, expected in ((99, 99), (0, 1), (256, 1), (-1, 1)):

        async def run(self: Agent, input: RepositoryInput, code: int = given) -> AgentResult:
            raise SubprocessError("semgrep failed", exit_code=code)

        assert AgentRunner(agent(run), environ=external).run() == expected


def test_a_task_group_fails_for_the_reason_of_its_task(external: Environ, written: Written) -> None:
    async def fail(error: Exception) -> None:
        raise error

    for inner, code in ((SpiffeAuthError("gone"), 11), (KeyError("x"), 1)):

        async def run(self: Agent, input: RepositoryInput, inner: Any = inner) -> AgentResult:
            async with asyncio.TaskGroup() as outer:
                outer.create_task(asyncio.sleep(3600))
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail(inner))
            return AgentResult()

        assert AgentRunner(agent(run), environ=external).run() == code
    assert written()["exit_code"] == 1


@tidy
def test_any_other_error_is_1(
    external: Environ, written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        raise KeyError("no such Bearer abcdefghijklmnop")

    assert AgentRunner(agent(run), environ=external).run() == 1
    assert written()["error"].startswith("KeyError: ")
    said = capsys.readouterr()
    assert said.out == ""
    assert "test_runner.py" in said.err, "the traceback is logged"
    assert "abcdefghijklmnop" not in said.err + json.dumps(written())


@pytest.mark.parametrize(
    "result",
    [
        None,
        "done",
        AgentResult(exit_code=256),
        AgentResult(exit_code=-1),
        AgentResult(exit_code="1"),
    ],  # type: ignore[arg-type]
    ids=["none", "text", "256", "negative", "no number"],
)
def test_a_result_that_is_none(external: Environ, written: Written, result: Any) -> None:
    async def run(self: Agent, input: RepositoryInput) -> Any:
        return result

    assert AgentRunner(agent(run), environ=external).run() == 1
    assert written()["error"]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (SystemExit(7), 7),
        (SystemExit(), 0),
        (SystemExit("out of disk"), 1),
        (asyncio.CancelledError(), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=["exit 7", "exit", "exit text", "cancelled", "interrupt"],
)
def test_no_way_out_of_run_but_a_code(
    external: Environ, written: Written, end: BaseException, code: int
) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        raise end

    assert AgentRunner(agent(run), environ=external).run() == code
    assert written()["exit_code"] == code


def test_a_constructor_of_its_own_need_not_know_the_runner(external: Environ) -> None:
    class Own(Agent):
        def __init__(self, context: AgentContext) -> None:
            self.seen = context.run_id

        async def run(self, input: RepositoryInput) -> AgentResult:
            assert not self.shutdown_requested
            return AgentResult(exit_code=0 if self.seen == "run_1" else 1)

    assert AgentRunner(Own, environ=external).run() == 0


def test_an_agent_may_take_another_input(external: Environ) -> None:
    class Words(AgentInput):
        io_type = "words"

        def __init__(self, words: str) -> None:
            self.words = words

        def validate(self) -> None:
            assert self.words

        @classmethod
        def from_environment(cls, environ: Any = None) -> Words:
            return cls(environ["WORDS"])

    class Reader(SageSanctumAgent[Words]):
        requires_gateway = False
        name = "reader"
        version = "1"

        async def run(self, input: Words) -> AgentResult:
            return AgentResult(exit_code=len(input.words))

    assert Reader.input_type is Words
    assert Agent.input_type is RepositoryInput
    assert AgentRunner(Reader, environ=external | {"WORDS": "abc"}).run() == 3
    assert AgentRunner(Reader, environ=external, input=Words("abcd")).run() == 4


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"RUN_ID": ""}, 43),
        ({"ORG_ID": ""}, 43),
        ({"REPO_PATH": ""}, 41),
        ({"REPO_PATH": "/no/such/place"}, 41),
        ({"REPO_PATH": "/tmp/../etc"}, 42),
        ({"OSTIARY_LOG_FORMAT": "xml"}, 43),
        ({"OSTIARY_AGENT_GRACE_SECONDS": "soon"}, 43),
        ({"OSTIARY_AGENT_GRACE_SECONDS": "-1"}, 43),
    ],
    ids=lambda value: (
        "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_an_environment_that_does_not_do(external: Environ, change: Environ, code: int) -> None:
    assert AgentRunner(Agent, environ=external | change).run() == code


def test_a_gateway_is_needed_unless_the_agent_says_otherwise(
    external: Environ, written: Written
) -> None:
    class Gateway(Agent):
        requires_gateway = True

    assert AgentRunner(Gateway, environ=external).run() == 43
    # There is no context, and what went wrong is told all the same.
    assert "SPIFFE_JWT_PATH" in written()["error"]


# --- output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_may_not_be_written(external: Environ, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert AgentRunner(Agent, environ=external).run() == 51
    finally:
        tmp_path.chmod(0o700)


@tidy
def test_an_output_that_cannot_be_written(external: Environ, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        return AgentResult(sarif(finding()))

    inside = external | {"OUTPUT_PATH": str(tmp_path / "file" / "output")}
    assert AgentRunner(agent(run), environ=inside).run() == 51


def test_an_output_that_is_not_valid(external: Environ, written: Written) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        one = finding()
        one.metadata = {"odd": object()}
        return AgentResult(sarif(one))

    assert AgentRunner(agent(run), environ=external).run() == 52
    assert "/properties/metadata/odd" in written()["error"]


def test_an_output_of_its_own(external: Environ, written: Written, tmp_path: Path) -> None:
    class Text(AgentOutput):
        io_type = "text"

        def write(self, output_dir: Any) -> list[str]:
            Path(output_dir).mkdir(parents=True)
            (Path(output_dir) / "out.txt").write_text("done")
            return ["out.txt"]

        def to_dict(self) -> dict[str, Any]:
            return {}

    class Broken(Text):
        def write(self, output_dir: Any) -> list[str]:
            raise RuntimeError("broken")

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        return AgentResult(Text())

    async def run_broken(self: Agent, input: RepositoryInput) -> AgentResult:
        return AgentResult(Broken())

    assert AgentRunner(agent(run), environ=external).run() == 0
    assert written()["files"] == ["out.txt"]
    assert AgentRunner(agent(run_broken), environ=external).run() == 1
    assert written()["error"] == "RuntimeError: broken"


def test_a_checkpoint_outlives_an_error(external: Environ, tmp_path: Path) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        output = sarif()
        self.checkpoint(AgentResult(output))
        output.findings.append(finding())
        raise SpiffeAuthError("the SVID is gone")

    assert AgentRunner(agent(run), environ=external).run() == 11
    document = json.loads((tmp_path / "output/results.sarif").read_bytes())
    assert len(document["runs"][0]["results"]) == 1


# --- being told to stop


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signal handlers are those of before when a run is over."""
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    yield
    assert {one: signal.getsignal(one) for one in before} == before


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_is_asked_may_finish(
    external: Environ, written: Written, tmp_path: Path, number: signal.Signals
) -> None:
    """Its clean-up awaits something, and what it returns is written."""

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        signal.raise_signal(number)
        await self.wait_for_shutdown()
        assert self.shutdown_requested
        await asyncio.sleep(0.05)
        return AgentResult(sarif(finding()), metadata={"cleaned": True})

    assert AgentRunner(agent(run), environ=external).run() == 130
    record = written()
    assert record["signal"] == number.name
    assert record["metadata"] == {"cleaned": True}
    assert record["files"] == ["results.sarif"]
    (invocation,) = json.loads((tmp_path / "output/results.sarif").read_bytes())["runs"][0][
        "invocations"
    ]
    assert invocation["exitSignalName"] == number.name


@pytest.mark.usefixtures("handlers")
def test_an_agent_that_does_not_finish_is_cancelled(
    external: Environ, written: Written, tmp_path: Path
) -> None:
    seen: list[str] = []

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        self.checkpoint(AgentResult(sarif(finding()), metadata={"half": "done"}))
        signal.raise_signal(signal.SIGTERM)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return AgentResult()

    assert AgentRunner(agent(run), environ=external, grace_period=0.05).run() == 130
    assert seen == ["cancelled"]
    assert written()["metadata"] == {"half": "done"}
    assert (tmp_path / "output/results.sarif").exists()


@pytest.mark.usefixtures("handlers")
def test_an_error_while_it_is_stopped_keeps_its_code(external: Environ) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        signal.raise_signal(signal.SIGTERM)
        await self.wait_for_shutdown()
        raise SpiffeAuthError("no SVID")

    async def own(self: Agent, input: RepositoryInput) -> AgentResult:
        signal.raise_signal(signal.SIGTERM)
        await self.wait_for_shutdown()
        return AgentResult(exit_code=5)

    assert AgentRunner(agent(run), environ=external).run() == 11
    assert AgentRunner(agent(own), environ=external).run() == 5


@pytest.mark.usefixtures("handlers")
def test_an_agent_that_will_not_be_cancelled_is_left_behind(
    external: Environ, written: Written
) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        signal.raise_signal(signal.SIGTERM)
        # A few times only: for good, it would be the process's last.
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
        return AgentResult()

    runner = AgentRunner(agent(run), environ=external, grace_period=0.05, cancel_period=0.05)
    assert runner.run() == 130
    assert written()["error"] == "stopped by SIGTERM"


def test_a_result_that_comes_with_the_signal_is_not_lost(
    external: Environ, written: Written
) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        signal.raise_signal(signal.SIGTERM)
        return AgentResult(sarif(finding()))

    assert AgentRunner(agent(run), environ=external).run() == 130
    assert written()["files"] == ["results.sarif"]


@tidy
def test_a_run_on_another_thread(external: Environ, written: Written) -> None:
    """Where no signal can be handled, `shutdown` asks."""
    started = threading.Event()

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        started.set()
        await self.wait_for_shutdown()
        return AgentResult(metadata={"asked": True})

    runner, codes = AgentRunner(agent(run), environ=external), list[int]()
    thread = threading.Thread(target=lambda: codes.append(runner.run()))
    thread.start()
    assert started.wait(30)
    runner.shutdown("the test is over")
    thread.join(30)
    assert codes == [130]
    assert written()["signal"] == "the test is over"
    assert written()["metadata"] == {"asked": True}


def test_a_shutdown_never_ends_the_process(external: Environ, written: Written) -> None:
    """It may be another's: an agent that is overdue is waited for, and not killed with it."""

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        runner.shutdown("asked")
        runner.shutdown("asked again")
        time.sleep(1.5)  # longer than the grace, the cancellation and the slack together
        return AgentResult()

    runner = AgentRunner(agent(run), environ=external, grace_period=0.0, cancel_period=0.01)
    assert runner.run() == 130
    assert written()["signal"] == "asked"


def test_on_uvloop(external: Environ, written: Written) -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        signal.raise_signal(signal.SIGTERM)
        await self.wait_for_shutdown()
        return AgentResult(metadata={"answer": await asyncio.to_thread(lambda: 7)})

    runner = AgentRunner(agent(run), environ=external, loop_factory=uvloop.new_event_loop)
    assert runner.run() == 130
    assert written()["metadata"] == {"answer": 7}


@tidy
def test_a_shutdown_before_the_run(external: Environ) -> None:
    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        await self.wait_for_shutdown()
        return AgentResult()

    runner = AgentRunner(agent(run), environ=external)
    runner.shutdown()
    assert runner.run() == 130


@tidy
def test_a_start_that_hangs_can_be_stopped(external: Environ, tmp_path: Path) -> None:
    """A sidecar that takes the call and never answers holds up nobody's end."""
    import socket

    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(tmp_path / "sidecar"))
        listener.listen()
        environ = external | {
            "SPIFFE_JWT_PATH": str(tmp_path / "svid"),
            "AUTH_SIDECAR_SOCKET": str(tmp_path / "sidecar"),
            "LLM_GATEWAY_SOCKET": str(tmp_path / "gateway"),
        }

        class Gateway(Agent):
            requires_gateway = True

        runner = AgentRunner(Gateway, environ=environ, cancel_period=0.5)

        def stop() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                runner.shutdown()
                assert over.wait(30)

        over = threading.Event()
        thread = threading.Thread(target=stop)
        thread.start()
        try:
            assert runner.run() == 130
        finally:
            over.set()
            thread.join()


# --- processes of their own, for what ends one


PROGRAM = """
import asyncio, os, signal, sys, threading, time
from ostiary.gateway import *

class Tester(SageSanctumAgent):
    requires_gateway = False
    name = "tester"
    version = "1"

    async def run(self, input):
        output = SarifOutput("tester", "1", [Finding("A", "t", "d", "high", Location("a", 1))])
        self.checkpoint(AgentResult(output, metadata={{"half": "done"}}))
        print("running", flush=True)
{body}
        return AgentResult(output)

sys.exit(AgentRunner(Tester, grace_period={grace}, cancel_period=0.2).run())
"""


@contextlib.contextmanager
def process(external: Environ, body: str, grace: float) -> Iterator[subprocess.Popen[str]]:
    text = PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), " " * 8), grace=grace)
    child = subprocess.Popen(
        [sys.executable, "-c", text],
        env={"PATH": os.environ["PATH"], **external},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "running\n", child.communicate()
            yield child
        finally:
            child.kill()


def assert_partial(written: Written, tmp_path: Path) -> None:
    assert written()["metadata"] == {"half": "done"}
    assert written()["exit_code"] == 130
    assert (tmp_path / "output/results.sarif").exists()


def test_a_second_signal_ends_it_at_once(
    external: Environ, written: Written, tmp_path: Path
) -> None:
    with process(external, "await asyncio.sleep(3600)", 3600) as child:
        child.send_signal(signal.SIGTERM)
        # Once the first was taken in; two that come together are one.
        assert child.stderr is not None
        while "shutdown_signal_received" not in child.stderr.readline():
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    assert_partial(written, tmp_path)
    assert "a second signal" in written()["error"]


@pytest.mark.parametrize("kind", ["loop", "thread", "both"])
def test_a_blocking_call_does_not_delay_the_end(
    external: Environ, written: Written, tmp_path: Path, kind: str
) -> None:
    """Blocked: the loop, so that nothing can be asked; a thread, which cannot be cancelled."""
    body = {
        "loop": "time.sleep(3600)",
        "thread": "await asyncio.to_thread(time.sleep, 3600)",
        "both": "asyncio.ensure_future(asyncio.to_thread(time.sleep, 3600))\n"
        "await asyncio.sleep(0.01)\nwhile True: time.sleep(3600)",
    }[kind]
    # Overdue comes some seconds after the grace; a second signal does not wait for it.
    with process(external, body, 0.1) as child:
        child.send_signal(signal.SIGTERM)
        if kind == "both":
            time.sleep(0.2)
            child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 130
    assert_partial(written, tmp_path)


def test_an_agent_that_ignores_everything_is_ended(
    external: Environ, written: Written, tmp_path: Path
) -> None:
    body = """
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
    """
    with process(external, body, 0.1) as child:
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 130
    assert_partial(written, tmp_path)


# --- what the loop runs on


def test_workers_run_and_return() -> None:
    workers = Workers(2)
    assert sorted(workers.map(lambda x: x * x, range(50))) == [x * x for x in range(50)]
    failed = workers.submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(30)
    assert len(workers._made) <= 2
    assert all(thread.daemon for thread in workers._made)
    workers.shutdown()
    with pytest.raises(RuntimeError):
        workers.submit(print)
    assert not any(thread.is_alive() for thread in workers._made)


def test_workers_grow_with_what_waits() -> None:
    """As many calls at once as there may be, though each waits for all the others."""
    workers, barrier = Workers(8), threading.Barrier(8)
    waiting = [workers.submit(barrier.wait, 30) for _ in range(8)]
    assert sorted(one.result(30) for one in waiting) == list(range(8))
    workers.shutdown()


def test_workers_may_become_more() -> None:
    """Calls that had to wait for a thread have left none that seems idle and is not."""
    workers = Workers(1)
    assert sum(workers.map(lambda one: one, range(20))) == 190
    workers.allow(4)
    barrier = threading.Barrier(4)
    waiting = [workers.submit(barrier.wait, 30) for _ in range(4)]
    assert sorted(one.result(30) for one in waiting) == list(range(4))
    workers.allow(2)
    assert len(workers._made) == 4
    workers.shutdown()


def test_workers_drop_what_has_not_begun() -> None:
    workers, gate = Workers(1), threading.Event()
    began = threading.Event()
    running = workers.submit(lambda: (began.set(), gate.wait(30)))
    assert began.wait(30)
    waiting = workers.submit(print)
    workers.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    gate.set()
    running.result(30)
    workers.join(30)


def test_calls_that_nobody_awaits_run_to_their_end(external: Environ) -> None:
    done: list[int] = []

    async def run(self: Agent, input: RepositoryInput) -> AgentResult:
        asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.05), done.append(1)))
        return AgentResult()

    assert AgentRunner(agent(run), environ=external).run() == 0
    assert done == [1]


def test_the_grace_period() -> None:
    assert grace_period(None, {}) == 10.0
    assert grace_period(None, {"OSTIARY_AGENT_GRACE_SECONDS": "2.5"}) == 2.5
    assert grace_period(3, {"OSTIARY_AGENT_GRACE_SECONDS": "2.5"}) == 3.0
