"""One way to drive a workflow client of either colour; scripted servers that end with the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ostiary import _retry
from ostiary.devserver.inprocess import RunningVault, running
from ostiary.workflow import TelemetryPipeline
from ostiary.workflow._async import AsyncWorkflowClient
from ostiary.workflow._sync import WorkflowClient
from ostiary.workflow.telemetry import worker
from tests.colours import COLOURS, Driven, Reading, colour_of, loop_of
from tests.http.peer import Asked, Exchange, HttpPeer, Script, Step, script

from .collector import Collector, collecting

PREFIX = "/api/v1"
NOW = "2031-04-02T01:00:00.000Z"


class Client(Driven):
    """A workflow client of any colour."""

    def call(self, name: str, /, *arguments: Any, **options: Any) -> Any:
        """Call `health`, `execute_workflow`, ..."""
        return self.wait(getattr(self.raw, name)(*arguments, **options))

    def read(self, name: str, /, *arguments: Any, **options: Any) -> Reading:
        """Call what returns an iterator."""
        return Reading(self, getattr(self.raw, name)(*arguments, **options))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's own server or key shows; retries come at once."""
    for name in list(os.environ):
        if name.startswith("OSTIARY_WORKFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(_retry.random, "random", lambda: 0.0)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """Sync, or async on one of the loops."""
    return colour_of(request)


@pytest.fixture
def connect(colour: str) -> Iterator[Callable[..., Client]]:
    """Make clients that end with the test: `connect(peer or URL, **options)`."""
    made: list[Client] = []
    with ExitStack() as stack:
        runner = stack.enter_context(loop_of(colour))

        def make(where: HttpPeer | str, api_key: Any = None, **options: Any) -> Client:
            url = where.url() if isinstance(where, HttpPeer) else where
            kind: Any = WorkflowClient if colour == "sync" else AsyncWorkflowClient
            made.append(Client(kind(url, api_key, **options), runner))
            return made[-1]

        yield make
        for one in made:
            one.close()


@pytest.fixture
def peers() -> Iterator[Callable[..., HttpPeer]]:
    """Make servers that end with the test; each step answers one request, the last all others."""
    with ExitStack() as stack:

        def make(
            *steps: Step | Any, kind: str = "unix", serve: Script | None = None, **options: Any
        ) -> HttpPeer:
            ready = [one if isinstance(one, bytes) or callable(one) else says(one) for one in steps]
            chosen = serve if serve is not None else script(*ready)
            return stack.enter_context(HttpPeer(chosen, kind, **options))

        yield make


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVault]:
    """The embedded server with its sample data."""
    home: Path = tmp_path_factory.mktemp("workflow") / "home"
    with running(home, tcp=False, demo=True) as vault:
        yield vault


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A server that takes telemetry, and can be away."""
    with collecting() as made:
        yield made


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipelines try again soon."""
    monkeypatch.setattr(worker, "_FIRST_PAUSE", 0.004)
    monkeypatch.setattr(worker, "_LAST_PAUSE", 0.02)


@pytest.fixture
def start(collector: Collector, soon: None) -> Iterator[Callable[..., TelemetryPipeline]]:
    """Make pipelines that tell it and end with the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> TelemetryPipeline:
            about = {"flush_interval": 60.0} | options
            client = WorkflowClient(collector.url, timeout=10, max_retries=0)
            made = TelemetryPipeline(client, **about)
            stack.callback(made.close, 0.5)
            return made

        yield make


def says(value: Any, status: int = 200, *headers: tuple[str, str]) -> Callable[[Exchange], object]:
    """Answer with JSON."""
    return lambda exchange: exchange.json(value, status, *headers)


def refuses(status: int, code: str = "", *headers: tuple[str, str]) -> Callable[[Exchange], object]:
    """Answer with a refusal of the server's form; without a code, with nothing."""
    if not code:
        return lambda exchange: exchange.answer(status, b"", headers)
    return says({"error": "the reason", "code": code, "request_id": "req-9"}, status, *headers)


def shown(asked: Asked) -> str:
    """Return a request as `GET /workflows`, without the prefix."""
    return f"{asked.method} {asked.target.removeprefix(PREFIX)}"


STATUS = {
    "workflow_id": "ledger-7",
    "status": "running",
    "progress": 0.5,
    "current_step": "post",
    "started_at": NOW,
    "tasks": [
        {"task_id": "pull", "name": "Pull rows", "status": "completed", "attempt": 1},
        {"task_id": "post", "status": "running", "attempt": 1},
    ],
    "crv_status": {"status": "none"},
    "policy_status": {"status": "approved", "requires_human_approval": False},
    "correlation_id": "trace-9f",
}
"""A workflow's status, as a server answers it."""

RESULT = {
    "workflow_id": "ledger-7",
    "status": "success",
    "duration_ms": 812.4,
    "correlation_id": "trace-9f",
    "task_results": {
        "pull": {"task_id": "pull", "status": "success", "result": {"rows": 41}},
        "post": {"task_id": "post", "status": "success", "duration_ms": 270.1},
    },
}

SPEC = {
    "id": "ledger-7",
    "name": "Nightly ledger",
    "tasks": [
        {"id": "pull", "name": "Pull rows", "type": "action", "tool_name": "read_file"},
        {"id": "post", "name": "Post totals", "type": "action", "risk_tier": "MEDIUM"},
    ],
    "dependencies": {"pull": [], "post": ["pull"]},
}

PERMISSION = {"action": "purge", "resource": "archive", "intent": "delete"}
PRINCIPAL = {"id": "bot-2", "type": "agent", "permissions": [PERMISSION]}
ACTION = {
    "id": "purge-2029",
    "name": "Purge 2029",
    "risk_tier": "critical",
    "required_permissions": [PERMISSION],
}
APPROVAL = {
    "token": "approval-1",
    "status": "pending",
    "action": ACTION,
    "principal": PRINCIPAL,
    "reason": "because",
    "created_at": NOW,
    "expires_at": "2031-04-02T02:00:00.000Z",
}
EVENT = {
    "id": "ev-1",
    "type": "step_end",
    "timestamp": NOW,
    "workflow_id": "ledger-7",
    "data": {"success": True},
}
METRIC = {"id": "me-1", "name": "task.duration", "value": 530.0, "timestamp": NOW}
SPAN = {"id": "s1", "trace_id": "trace-9f", "name": "pull", "start_time": NOW, "duration": 530.0}


def happened(sequence: int, kind: str = "TASK_COMPLETED", **more: Any) -> dict[str, Any]:
    """Return a line of a workflow's record."""
    about = {"type": kind, "timestamp": NOW, "workflow_id": "ledger-7", "sequence": sequence}
    return about | more
