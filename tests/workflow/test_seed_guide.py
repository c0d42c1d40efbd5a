"""The guide's examples against `ostiary dev --demo`, with the import lines changed.

All of them run in order in one namespace, as a reader would type them and call them, and once
more on the same home after the server was started again. Where the guide's port is taken on
this machine, another one stands in its place.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import lent

from .guide_examples import EXAMPLES

PATIENCE = 100
PORT = 3000
URL = f"http://localhost:{PORT}"

pytestmark = pytest.mark.timeout(240)

# A reader at a prompt where one can await: an example, then a call of what it defines.
READER = """
import ast, asyncio, contextlib, inspect, io, json, sys

async def main():
    space = {"__name__": "__main__"}
    said = []
    for title, text in json.load(sys.stdin):
        code = compile(text, f"<{title}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        before = dict(space)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            running = eval(code, space)
            if inspect.isawaitable(running):
                await running
            for name, found in list(space.items()):
                if inspect.iscoroutinefunction(found) and before.get(name) is not found:
                    await found()
        said.append(out.getvalue())
    json.dump(said, sys.stdout)

asyncio.run(main())
"""

ERRORS = "Error Handling"
# The guide leaves open what `workflow` is; each is followed by the example itself.
WORKFLOW = """
from ostiary.workflow import TaskSpec, TaskType, WorkflowSpec

workflow = WorkflowSpec(
    id={id!r},
    name="Another workflow",
    tasks=[TaskSpec(id="only", name="Only", type=TaskType.ACTION, tool_name="read_file")],
)
"""


def environment(home: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OSTIARY_", "SANCTUM_", "SYMBIONT_"))
    }
    return kept | {"OSTIARY_HOME": str(home), "NO_COLOR": "1"}


@contextmanager
def dev(home: Path) -> Generator[str, None, None]:
    """Run `ostiary dev --demo`; give the address of its workflow server."""
    with lent(PORT) as free, _dev(home, PORT if free else 0) as url:
        yield url


@contextmanager
def _dev(home: Path, port: int) -> Generator[str, None, None]:
    others = ["--no-governance", "--no-gateway", "--no-runtime"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ostiary", "dev", "--demo", "--json", "--port", "0", *others,
         "--workflow-port", str(port), "--home", str(home)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(home),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "`ostiary dev --demo` did not start"
        yield json.loads(line)["workflow"]["url"].replace("127.0.0.1", "localhost")
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def placed(text: str, url: str) -> str:
    """Return an example as it runs here: its imports, and its address where that is taken."""
    changed = re.sub(r"^from aureus_sdk import", "from ostiary.workflow import", text, flags=re.M)
    changed = re.sub(r"^import httpx$", "import ostiary.workflow as httpx", changed, flags=re.M)
    return changed.replace(URL, url)


class Said:
    """What the examples printed."""

    def __init__(self, examples: list[tuple[str, str]], said: list[str]) -> None:
        self._said = dict(zip((title for title, _ in examples), said, strict=True))

    def of(self, title: str) -> list[str]:
        return self._said[title].splitlines()


def read(home: Path, url: str) -> Said:
    examples = [(title, placed(text, url)) for title, text in EXAMPLES]
    (again,) = [text for title, text in examples if title == ERRORS]
    # The id of the guide's own workflow, with other tasks; then one that is nobody's.
    examples += [
        ("A conflict", WORKFLOW.format(id="data-processing-001") + again),
        ("No conflict", WORKFLOW.format(id="nobody-s") + again),
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:datetime.datetime.utcnow", "-c", READER],
        input=json.dumps(examples),
        capture_output=True,
        text=True,
        # The default address is the guide's own.
        env=environment(home) | ({} if url == URL else {"OSTIARY_WORKFLOW_URL": url}),
        cwd=home,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Said(examples, json.loads(done.stdout))


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    # Short: the path of a socket below it has about 100 bytes.
    path = Path(tempfile.mkdtemp(prefix="ow-", dir="/tmp")).resolve()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module", params=["first", "again"])
def said(request: pytest.FixtureRequest, home: Path) -> Iterator[Said]:
    """What the guide says on a home, and again after the server was stopped."""
    if request.param == "again" and not (home / "workflow.db").exists():
        # The first time fell to another process of the run.
        with dev(home) as url:
            read(home, url)
    with dev(home) as url:
        yield read(home, url)


def test_the_examples_are_all_there() -> None:
    assert len(EXAMPLES) == 14
    changed = [
        one
        for _, text in EXAMPLES
        for one, other in zip(text.splitlines(), placed(text, URL).splitlines(), strict=True)
        if one != other
    ]
    assert changed
    assert all(re.match(r"from aureus_sdk import|import httpx$", one) for one in changed)


def test_a_workflow_does_its_work(said: Said, home: Path) -> None:
    status, duration, *tasks = said.of("Define and Execute a Workflow")
    assert status == "Workflow Status: success"
    assert re.fullmatch(r"Duration: [\d.]+ms", duration)
    assert tasks == [
        f"Task {name}: success"
        for name in ("read-data", "validate-data", "process-data", "save-results")
    ]
    files = home / "workflow" / "files"
    made = json.loads((files / "output.json").read_bytes())
    given = json.loads((files / "input.json").read_bytes())
    assert made["paid"] == sum(one["amount"] for one in given["records"] if one["status"] == "paid")


def test_its_status(said: Said) -> None:
    (line,) = said.of("Check Workflow Status")
    assert line.startswith("Status: ")
    assert "data-processing-001" in line
    assert "completed" in line


def test_a_gate(said: Said) -> None:
    assert said.of("Validate a Commit") == ["Validation passed!"]


def test_policy(said: Said) -> None:
    (denied,) = said.of("Evaluate Policy for an Action")
    assert denied.startswith("Action denied: agent-001 lacks a permission: delete on database")
    assert said.of("Check Permission") == ["Permission allowed: True"]
    (asked,) = said.of("Request Approval for Critical Actions")
    assert re.fullmatch(r"Approval token: approval-[0-9a-f]{32}", asked)


def test_telemetry(said: Said) -> None:
    for title in ("Report Telemetry Events", "Report Metrics", "Report Trace Spans"):
        assert said.of(title) == []
    # The day that the guide asks for is long past.
    assert said.of("Query Metrics") == []
    spans = said.of("Get Trace")
    assert "Span: process_data (1234.5ms)" in spans
    # What the workflow did is part of the same trace.
    assert any(one.startswith("Span: Data Processing Workflow (") for one in spans)


def test_errors(said: Said) -> None:
    assert said.of(ERRORS) == ["Unexpected error: name 'workflow' is not defined"]
    status, details = said.of("A conflict")
    assert status == "HTTP error: 409"
    assert "'code': 'WORKFLOW_CONFLICT'" in details
    assert said.of("No conflict") == []


def test_a_validator(said: Said) -> None:
    (line,) = said.of("Custom Validators")
    assert line.startswith("Validator registered: ")
    assert "business_rules_validator" in line
