"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SUITE = """
import asyncio, contextlib, http.client, json, os, socket
import urllib.error, urllib.parse, urllib.request
import pytest
from ostiary.devserver import HttpFault
from ostiary.vault import AccessDenied, VaultClient

def test_vault(ostiary_vault):
    ostiary_vault.put("a/b", "x")
    key = ostiary_vault.add_agent("bob", passphrase="open")
    assert key.name == "bob.key.enc"
    with VaultClient(
        "bob", socket_path=ostiary_vault.socket_path, key_path=key, passphrase="open"
    ) as client:
        assert client.retrieve("a/b") == "x"

def test_it_is_another_vault(ostiary_vault):
    assert ostiary_vault.admin.list() == []

def test_client(ostiary_vault_client):
    with ostiary_vault_client(credentials={"a/b": "x"}, allow=["a/*"]) as client:
        assert client.retrieve("a/b") == "x"
        with pytest.raises(AccessDenied):
            client.retrieve("c/d")
    left_open = ostiary_vault_client("second")
    left_open.connect()

def test_async_client(ostiary_async_vault_client):
    async def main():
        async with ostiary_async_vault_client(credentials={"a/b": "x"}) as client:
            return await client.retrieve("a/b")
    assert asyncio.run(main()) == "x"

def test_environment(ostiary_vault_environment):
    ostiary_vault_environment.put("a/b", "x")
    ostiary_vault_environment.add_agent("my-agent")
    with VaultClient("my-agent") as client:
        assert client.retrieve("a/b") == "x"

def ask(url, path):
    with urllib.request.urlopen(url + path, timeout=30) as reply:
        return json.load(reply)

def test_governance(ostiary_governance, ostiary_governance_url):
    assert ostiary_governance.governance_token is None
    assert ask(ostiary_governance_url, "/api/v1/health")["status"] == "ok"
    ostiary_governance.governance_faults.add(HttpFault(status=500))
    with pytest.raises(urllib.error.HTTPError):
        ask(ostiary_governance_url, "/api/v1/health")

def test_governance_socket(ostiary_governance_unix_url, ostiary_governance):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(urllib.parse.unquote(ostiary_governance_unix_url.removeprefix("http+unix://")))
        one.sendall(b"GET /api/v1/health HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        assert one.recv(12) == b"HTTP/1.1 200"

def test_governance_environment(ostiary_governance_environment):
    assert "OSTIARY_GOVERNANCE_API_KEY" not in os.environ
    assert ask(os.environ["OSTIARY_GOVERNANCE_URL"], "/api/v1/trace/abc-123-def")

def test_governance_client(ostiary_governance_client):
    assert ostiary_governance_client.run("create a report").mode == "ALLOW"

def test_async_governance_client(ostiary_async_governance_client):
    async def main():
        async with ostiary_async_governance_client as client:
            return [event.type async for event in client.run_stream("x")]
    assert asyncio.run(main()) == ["start", "token", "token", "final", "done"]

def test_gateway(ostiary_gateway):
    run = ostiary_gateway.issue("run_2")
    with contextlib.closing(http.client.HTTPConnection("localhost")) as one:
        one.sock = socket.socket(socket.AF_UNIX)
        one.sock.connect(str(ostiary_gateway.socket_path))
        one.request("GET", "/v1/models", headers=run.headers())
        assert one.getresponse().status == 200
    assert ostiary_gateway.calls()[0].run_id == "run_2"

def test_gateway_environment(ostiary_gateway_environment):
    for name, value in ostiary_gateway_environment.environment.items():
        assert os.environ[name] == value
    assert "SAGE_SANCTUM_ALLOW_DIRECT" not in os.environ
    from ostiary.gateway import GatewayClient
    with GatewayClient() as client:
        assert client.chat("hello").text

def test_runtime(ostiary_runtime, ostiary_runtime_url, ostiary_runtime_unix_url):
    assert ostiary_runtime.runtime_token is None
    assert ask(ostiary_runtime_url, "/health")["status"] == "healthy"
    assert ostiary_runtime_unix_url.endswith("/api/v1")
    ostiary_runtime.runtime_faults.add(HttpFault(status=500))
    with pytest.raises(urllib.error.HTTPError):
        ask(ostiary_runtime_url, "/agents")

def test_runtime_client(ostiary_runtime_client):
    assert ostiary_runtime_client.list_agents() == ["agent-123"]

def test_async_runtime_client(ostiary_async_runtime_client):
    async def main():
        async with ostiary_async_runtime_client as client:
            return await client.get_agent_status("agent-123")
    assert asyncio.run(main()).state == "idle"

def test_runtime_environment(ostiary_runtime_environment):
    from ostiary.runtime import RuntimeClient
    with RuntimeClient() as client:
        assert client.health_check().status == "healthy"

def test_workflow(ostiary_workflow, ostiary_workflow_url, ostiary_workflow_unix_url):
    assert ostiary_workflow.workflow_token is None
    assert ask(ostiary_workflow_url, "/health")["status"] == "ok"
    assert ostiary_workflow_unix_url.endswith("workflow.sock")
    assert (ostiary_workflow.workflow_files / "input.json").exists()
    ostiary_workflow.workflow_faults.add(HttpFault(status=500))
    with pytest.raises(urllib.error.HTTPError):
        ask(ostiary_workflow_url, "/health")

def test_workflow_client(ostiary_workflow_client):
    assert list(ostiary_workflow_client.list_workflows().workflows) == []

def test_async_workflow_client(ostiary_async_workflow_client):
    async def main():
        async with ostiary_async_workflow_client as client:
            return await client.get_trace("nobody-s")
    assert asyncio.run(main()) == []

def test_workflow_environment(ostiary_workflow_environment):
    from ostiary.workflow import WorkflowClient
    with WorkflowClient() as client:
        assert client.get_metrics() == []

SEEN = []

def test_shared(ostiary_session_vault):
    SEEN.append(ostiary_session_vault.home)

def test_shared_again(ostiary_session_vault):
    assert SEEN == [ostiary_session_vault.home]
"""


def test_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE)
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            # It may be installed for others, and warns when nobody configures it.
            *("-p", "no:asyncio", "."),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        # What a developer has set for services that are real is not what a test talks to.
        env={
            **_environment(),
            "OSTIARY_GATEWAY_URL": "http://127.0.0.1:1",
            "SPIFFE_ENDPOINT_SOCKET": "unix:///nowhere",
            "OSTIARY_RUNTIME_URL": "http://127.0.0.1:1",
            "OSTIARY_GOVERNANCE_URL": "http://127.0.0.1:1",
            "OSTIARY_WORKFLOW_URL": "http://127.0.0.1:1",
            "OSTIARY_VAULT_ADDRESS": "unix:///nowhere",
        },
    )
    assert "22 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_importing_it_is_cheap() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); import ostiary.testing.plugin\n"
        "new = {name for name in sys.modules if name not in before}\n"
        "print(sorted(name for name in new if not name.startswith('ostiary')))\n"
        "print(sorted(name for name in new if name.startswith('ostiary.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    outside, inside = done.stdout.splitlines()
    for heavy in ("nacl", "msgspec", "asyncio", "sqlite3", "h11", "uvicorn", "starlette"):
        assert f"'{heavy}'" not in outside
    assert "ostiary.devserver" not in inside
    assert "ostiary.vault" not in inside
    assert "ostiary.governance" not in inside
    assert "ostiary.runtime" not in inside


def _environment() -> dict[str, str]:
    """Load the plugin by its entry point where the package is installed, by name elsewhere."""
    import importlib.metadata
    import os

    found = importlib.metadata.entry_points(group="pytest11", name="ostiary")
    extra = {} if found else {"PYTEST_PLUGINS": "ostiary.testing.plugin"}
    return {**os.environ, **extra}
