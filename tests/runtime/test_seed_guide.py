"""The guide's examples against `ostiary dev --demo`, with the import lines changed.

All of them run in order in one namespace, as a reader would type them, and once more on the
same home after the server was started again. Where a port is taken on this machine, another
address stands in its place.
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
PORT = 8080
URL = f"http://localhost:{PORT}/api/v1"
NEEDS_NPX = "MCP Management"

pytestmark = pytest.mark.timeout(240)

# What the guide uses without saying what it is.
BEFORE = """
from datetime import datetime
from ostiary.runtime import Tool, ToolProvider, ToolSchema

tool1, tool2, tool3 = (
    Tool(
        name=f"batch-tool-{number}",
        description="A tool of the guide's batch.",
        schema=ToolSchema(properties={"text": {"type": "string"}}),
        provider=ToolProvider(name="example-provider"),
    )
    for number in (1, 2, 3)
)
"""

# A reader at a prompt: one namespace, one example after another.
READER = """
import contextlib, io, json, sys

before, examples = json.load(sys.stdin)
space = {"__name__": "__main__"}
exec(compile(before, "<before>", "exec"), space)
said = []
for title, text in examples:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, f"<{title}>", "exec"), space)
    said.append(out.getvalue())
json.dump(said, sys.stdout)
"""


def environment(home: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OSTIARY_", "SANCTUM_", "SYMBIONT_"))
    }
    # npm keeps its cache in the user's own home.
    return kept | {"OSTIARY_HOME": str(home), "NO_COLOR": "1", "npm_config_prefer_offline": "true"}


@contextmanager
def dev(home: Path) -> Generator[str, None, None]:
    """Run `ostiary dev --demo`; give the address of its runtime."""
    with lent(PORT) as free, _dev(home, PORT if free else 0) as url:
        yield url


@contextmanager
def _dev(home: Path, port: int) -> Generator[str, None, None]:
    ports = ["--port", "0", "--governance-port", "0", "--runtime-port", str(port), "--no-workflow"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ostiary", "dev", "--demo", "--json", "--no-gateway", *ports,
         "--home", str(home)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(home),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "`ostiary dev --demo` did not start"
        yield json.loads(line)["runtime"]["url"].replace("127.0.0.1", "localhost")
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def placed(text: str, url: str) -> str:
    """Return an example as it runs here: its imports, and its address where that is taken."""
    changed = re.sub(r"^from symbiont import", "from ostiary.runtime import", text, flags=re.M)
    return changed.replace(URL, url)


class Said:
    """What the examples printed."""

    def __init__(self, examples: list[tuple[str, str]], said: list[str]) -> None:
        self._said = list(zip((title for title, _ in examples), said, strict=True))

    def of(self, title: str) -> list[str]:
        (found,) = [text for name, text in self._said if name == title]
        return found.splitlines()


def read(home: Path, url: str, *, without: str = "") -> Said:
    examples = [(title, placed(text, url)) for title, text in EXAMPLES if title != without]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READER],
        input=json.dumps([BEFORE, examples]),
        capture_output=True,
        text=True,
        # The default address is the guide's own.
        env=environment(home) | ({} if url == URL else {"SYMBIONT_BASE_URL": url}),
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
    path = Path(tempfile.mkdtemp(prefix="or-", dir="/tmp")).resolve()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module", params=["first", "again"])
def said(request: pytest.FixtureRequest, home: Path) -> Iterator[Said]:
    """What the guide says on a home, and again after the server was stopped."""
    # Without npx there is no server of MCP's to start; everything else is read.
    without = "" if shutil.which("npx") else NEEDS_NPX
    if request.param == "again" and not (home / "runtime").exists():
        # The first time fell to another process of the run.
        with dev(home) as url:
            read(home, url, without=without)
    with dev(home) as url:
        yield read(home, url, without=without)


def test_the_examples_are_all_there() -> None:
    assert len(EXAMPLES) == 20
    changed = [
        (one, other)
        for _, text in EXAMPLES
        for one, other in zip(text.splitlines(), placed(text, URL).splitlines(), strict=True)
        if one != other
    ]
    assert changed
    assert all(one.startswith("from symbiont import") for one, _ in changed)


def test_the_system(said: Said) -> None:
    status, uptime, version = said.of("System Health Check")
    assert status == "Status: healthy"
    assert re.fullmatch(r"Uptime: \d+ seconds", uptime)
    assert re.fullmatch(r"Version: \S+", version)
    memory, cpu, active, items, connections = said.of("Enhanced Monitoring")[:5]
    assert re.fullmatch(r"Memory usage: [\d.]+%", memory)
    assert re.fullmatch(r"CPU usage: [\d.]+%", cpu)
    assert re.fullmatch(r"Active agents: \d+", active)
    assert int(items.rpartition(" ")[2]) >= 1
    assert connections == f"MCP connections: {1 if shutil.which('npx') else 0}"
    tasks, average, uptime = said.of("Enhanced Monitoring")[5:]
    assert int(tasks.rpartition(" ")[2]) >= 1
    assert re.fullmatch(r"Average response time: [\d.]+ms", average)
    assert re.fullmatch(r"Agent uptime: \d+s", uptime)


def test_agents(said: Said) -> None:
    (listed,) = said.of("List Agents")
    assert re.fullmatch(r"Found \d+ agents: \[.*'agent-123'.*\]", listed)
    first, memory, _ = said.of("Get Agent Status")
    assert first == "Agent agent-123 is idle"
    assert re.fullmatch(r"Memory usage: \d+ bytes", memory)
    (created,) = said.of("Create Agent")
    assert "'id': 'my-agent'" in created


def test_a_workflow(said: Said) -> None:
    (line,) = said.of("Workflow Execution")
    assert "'status': 'completed'" in line
    assert "'mean'" in line


def test_a_review(said: Said) -> None:
    (submitted,) = said.of("Submit Tool for Review")
    assert re.fullmatch(r"Review session \S+ created with status: submitted", submitted)
    status, submitter, risk, count, *findings = said.of("Monitor Review Progress")
    assert status in {"Review status: approved", "Review status: signed"}
    assert submitter.startswith("Submitted by: ")
    assert re.fullmatch(r"Risk score: \d+/100", risk)
    assert int(count.split()[1]) == len(findings) >= 1
    assert all(re.fullmatch(r"- (LOW|MEDIUM|HIGH|CRITICAL): .+", one) for one in findings)
    completed = said.of("Wait for Review Completion")
    assert completed[0] in {
        "Review completed with status: approved",
        "Review completed with status: signed",
    }
    (decided,) = said.of("Submit Human Review Decision")
    assert "'decision': 'approve'" in decided
    signed_at, signature, tool, algorithm = said.of("Sign Approved Tool")
    assert signed_at.startswith("Tool signed at 20")
    assert len(signature) > 80
    assert tool.startswith("Signed tool: ")
    assert algorithm in {"Signature algorithm: Ed25519", "Signature algorithm: ECDSA_P256"}


def test_lists_and_batches(said: Said) -> None:
    count, *sessions = said.of("List Review Sessions")
    assert count == f"Found {len(sessions)} sessions"
    assert all(re.fullmatch(r"- \S+: \S+ \(pending_review\)", one) for one in sessions)
    submitted, *states = said.of("Batch Operations")
    assert submitted == "Submitted 3 tools for review"
    assert [one.split(":")[0] for one in states] == [f"Tool batch-tool-{n}" for n in (1, 2, 3)]


def test_an_error(said: Said) -> None:
    missing, response = said.of("Error Handling")
    assert missing.startswith("Resource not found: ")
    assert "REVIEW_NOT_FOUND" in response


def test_secrets(said: Said) -> None:
    assert said.of("Secrets Management") == [
        "Secret stored: api_key",
        "Retrieved secret: secret_value_here",
        "Agent secrets: ['api_key']",
    ]


def test_mcp(said: Said) -> None:
    if shutil.which("npx") is None:
        pytest.skip("npx is not installed: the guide's MCP server comes from npm")
    tools, resources, status, count = said.of(NEEDS_NPX)
    assert "read_text_file" in tools
    assert resources.startswith("Available resources: [")
    assert status == "Status: connected"
    assert int(count.rpartition(" ")[2]) > 5


def test_knowledge(said: Said) -> None:
    score, content, retrieved, sources = said.of("Vector Database & RAG")
    assert float(score.removeprefix("Score: ")) >= 0.7
    assert content == "Content: This is important documentation about the system......"
    assert re.fullmatch(r"Retrieved [1-3] context items", retrieved)
    assert "documentation.md" in sources


def test_the_language(said: Said) -> None:
    compiled, deployed, endpoint = said.of("Agent DSL Operations")
    assert compiled == "Compiled successfully: webhook_handler"
    assert re.fullmatch(r"Deployed: \S+", deployed)
    assert re.fullmatch(r"Endpoint: http://\S+", endpoint)
