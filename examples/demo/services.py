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
from ostiary.devserver.admin import AdminClient
from ostiary.http import Pool, RequestInfo
from ostiary.vault import keys

CREDENTIALS = {
    "demo/openai": Secret("sk-demo-0123456789"),
    "demo/github": Secret("ghp-demo-0123456789"),
    "demo/webhook": Secret("whsec-demo-0123456789"),
}
# Who the clients' own keys are lent to.
MEMBER = "demonstration"
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
    member: Path
    """The key file by which the clients' own keys are lent to them."""
    governance_requests: itertools.count[int] = field(default_factory=itertools.count)
    runtime_requests: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def socket(self) -> Path:
        """The vault's socket."""
        return Path(self.ready.socket)

    def admit(self, admin: AdminClient) -> None:
        """Put what agents lease into the vault, and the services' keys, for the clients alone."""
        for path, value in CREDENTIALS.items():
            admin.put(path, value)
        files = {
            "governance": self.ready.governance.token_file,
            "runtime": self.ready.runtime.token_file,
            "workflow": self.ready.workflow.token_file,
            "person": self.ready.workflow.approver_file,
        }
        for name, file in files.items():
            admin.put(f"services/{name}", Path(file).read_text("ascii").strip())
        key = keys.generate()
        keys.save(key, self.member)
        admin.agent_add(MEMBER, key.public_key_hex, allow=["services/*"])

    def client(self, *, person: bool = False) -> dict[str, Any]:
        """Return what one client of all five domains is made with: the agents', or a person's.

        No key stands in it: they are lent by the vault when they are needed.
        """
        workflow = "person" if person else "workflow"
        return {
            "timeout": TIMEOUT,
            "vault": {
                "agent_name": MEMBER,
                "socket_path": self.socket,
                "key_path": self.member,
            },
            "governance": {
                "base_url": self.ready.governance.unix_url,
                "api_key": "vault:services/governance",
                "strict": True,  # events out of order are an error
                "on_request": self._count_governance,
            },
            "gateway": {},  # it stands in the environment, as the gateway's own tools write it
            "runtime": {
                "base_url": self.ready.runtime.unix_url,
                "api_key": "vault:services/runtime",
                "on_request": self._count_runtime,
            },
            "workflow": {
                "base_url": self.ready.workflow.unix_url,
                "api_key": f"vault:services/{workflow}",
            },
        }

    # Told of every attempt, on whatever thread: one step of a counter is one step.

    def _count_governance(self, info: RequestInfo) -> None:
        next(self.governance_requests)

    def _count_runtime(self, info: RequestInfo) -> None:
        next(self.runtime_requests)

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
        ready = msgspec.json.decode(line, type=Ready)
        # As `eval "$(ostiary env)"` does, in this process and those it starts; and nobody's own
        # profiles are read.
        ours = {"XDG_CONFIG_HOME": str(home.parent)}
        environment = clean_environment() | ready.gateway.environment | ours
        os.environ.clear()
        os.environ.update(environment)
        yield Services(ready, home.parent / "member.key")
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
