"""The services in a process of their own, on private Unix sockets, and how a client finds them."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ostiary import Secret
from ostiary.gateway import GatewayAccess, access_from_environment
from ostiary.http import Pool, RequestInfo

CREDENTIALS = {
    "demo/openai": Secret("sk-demo-0123456789"),
    "demo/github": Secret("ghp-demo-0123456789"),
    "demo/webhook": Secret("whsec-demo-0123456789"),
}
# Of one call. More than the default: a starved machine is no failure.
TIMEOUT = 120.0
STOP_SECONDS = 10.0


class DemoError(Exception):
    """The demonstration cannot go on, or an answer is not the one to its question."""


class GovernanceReady(msgspec.Struct):
    """Where governance is, and what may ask it."""

    unix_url: str
    token_file: str


class RuntimeReady(msgspec.Struct):
    """Where the runtime is, and what may ask it."""

    unix_url: str
    token_file: str


class WorkflowReady(msgspec.Struct):
    """Where the workflow server is, and what may ask it."""

    unix_url: str
    token_file: str

    @property
    def approver_file(self) -> str:
        """The key of the person who approves: whoever asks may not."""
        return str(Path(self.token_file).with_name("workflow-approver.token"))


class GatewayReady(msgspec.Struct):
    """Where gateway and sidecar are, and what an agent's environment says of them."""

    sidecar: str
    environment: dict[str, str]


class Ready(msgspec.Struct):
    """The line that `ostiary dev --json` prints when it listens."""

    socket: str
    governance: GovernanceReady
    gateway: GatewayReady
    runtime: RuntimeReady
    workflow: WorkflowReady


class Used(msgspec.Struct):
    """What one run has used of the gateway, as the gateway counts."""

    calls: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class Services:
    """Where the services are, and how often two of them were sent a request."""

    ready: Ready
    requests: itertools.count[int] = field(default_factory=itertools.count)
    runtime_requests: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def socket(self) -> Path:
        """The vault's socket."""
        return Path(self.ready.socket)

    def governance(self) -> dict[str, Any]:
        """Return what a governance client is made with."""
        return {
            "base_url": self.ready.governance.unix_url,
            "api_key": Secret(Path(self.ready.governance.token_file).read_text("ascii").strip()),
            "timeout": TIMEOUT,
            "strict": True,  # events out of order are an error
            "on_request": self.count,
        }

    def count(self, info: RequestInfo) -> None:
        """Be told of every attempt, on whatever thread: one step of a counter is one step."""
        next(self.requests)

    def runtime(self) -> dict[str, Any]:
        """Return what a runtime client is made with."""
        return {
            "api_key": Secret(Path(self.ready.runtime.token_file).read_text("ascii").strip()),
            "base_url": self.ready.runtime.unix_url,
            "timeout": TIMEOUT,
            "on_request": self.count_runtime,
        }

    def count_runtime(self, info: RequestInfo) -> None:
        next(self.runtime_requests)

    def workflow(self, *, person: bool = False) -> dict[str, Any]:
        """Return what a workflow client is made with: the agents', or that of a person."""
        ready = self.ready.workflow
        file = Path(ready.approver_file if person else ready.token_file)
        return {
            "api_key": Secret(file.read_text("ascii").strip()),
            "base_url": ready.unix_url,
            "timeout": TIMEOUT,
        }

    def access(self) -> GatewayAccess:
        """Return the way to the gateway that the run's environment describes."""
        return access_from_environment(self.ready.gateway.environment)

    def used(self) -> Used:
        """Return what the gateway has counted for the run so far: its chats."""
        with Pool(f"unix://{self.ready.gateway.sidecar}", timeout=TIMEOUT) as pool:
            body = pool.request("GET", "/usage").read()
        return msgspec.json.decode(body, type=dict[str, Used]).get("chat", Used())


@contextlib.contextmanager
def services_at(home: Path) -> Generator[Services]:
    """Run `ostiary dev` on `home` in a child process; yield where it listens."""
    log = home.parent / "services.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "ostiary", "dev", "--home", home, "--no-tcp", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=clean_environment(),
            # Ctrl-C is for this process, which then stops the services in good order.
            start_new_session=True,
        )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            child.wait(STOP_SECONDS)
            raise DemoError(f"the services did not start:\n{log.read_text(errors='replace')}")
        yield Services(msgspec.json.decode(line, type=Ready))
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would lead a client elsewhere."""
    ours = ("OSTIARY_", "SANCTUM_", "SAGE_", "SPIFFE_", "SYMBIONT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
