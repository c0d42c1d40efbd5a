"""What an import brings along, counted in modules: seconds depend on the machine.

Each case runs in an interpreter of its own.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["asyncio", "h11", "nacl", "rich", "ssl", "typer", "cffi", "http.client", "sqlite3"]
# What the extras bring: nothing of it comes before somebody asks for what stands on it.
HEAVY += ["anyio", "cryptography", "httpx2", "langchain_core", "mcp", "opentelemetry", "pydantic"]
HEAVY += ["spiffe", "starlette", "structlog", "uvicorn"]


def modules_after(statement: str) -> set[str]:
    """Return the modules `statement` adds to a bare interpreter."""
    program = (
        "import sys\nbefore = set(sys.modules)\n"
        f"{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import ostiary",
        "import ostiary.http",
        "import ostiary.vault",
        "import ostiary.governance",
        "import ostiary.gateway",
        "import ostiary.runtime",
        "import ostiary.workflow",
        "import ostiary.telemetry",
        "from ostiary import Ostiary, OstiaryConfig, trace",
        "from ostiary.gateway.mcp import MCPGatewayClient",
        "from ostiary.testing.mocks import MockGatewayClient, MockTratClient",
        "from ostiary.gateway import GatewayClient, access_from_environment",
        "from ostiary.gateway.http import GatewayHttpClient",
    ],
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    added = modules_after(statement)
    assert "ostiary" in added
    assert added.isdisjoint(HEAVY), sorted(added & set(HEAVY))


def test_the_package_alone_brings_two_rooms() -> None:
    ours = {name for name in modules_after("import ostiary") if name.startswith("ostiary")}
    assert ours == {"ostiary", "ostiary.errors", "ostiary.secret"}


def test_the_one_client_brings_no_domain() -> None:
    added = modules_after("from ostiary import Ostiary\nOstiary(governance={}).close()")
    rooms = {name.split(".")[1] for name in added if name.startswith("ostiary.")}
    assert "client" in rooms
    assert rooms.isdisjoint({"vault", "gateway", "governance", "runtime", "workflow", "fleet"})
    assert "ostiary.client._async" not in added


@pytest.mark.parametrize("domain", ["vault", "gateway", "governance", "runtime", "workflow"])
def test_a_domain_brings_no_other_room_of_its_floor(domain: str) -> None:
    added = modules_after(f"import ostiary.{domain}")
    rooms = {name.split(".")[1] for name in added if name.startswith("ostiary.")}
    assert domain in rooms
    others = {"vault", "gateway", "runtime", "workflow", "governance"} - {domain}
    assert rooms.isdisjoint(others | {"devserver", "testing", "cli", "client"})


@pytest.mark.parametrize(
    "statement",
    [
        "from ostiary.governance import Client\nClient('https://localhost:1')",
        "from ostiary.http import Pool\nPool('https://localhost:1')",
        "from ostiary.runtime import Client\nClient(base_url='https://localhost:1/api/v1')",
        "from ostiary.gateway.http import GatewayHttpClient\nGatewayHttpClient('/tmp/s')",
        "from ostiary.http import Pool\nPool('unix:///tmp/s')",
    ],
)
def test_a_blocking_client_brings_neither_an_event_loop_nor_tls(statement: str) -> None:
    added = modules_after(statement)
    assert added.isdisjoint(HEAVY), sorted(added & set(HEAVY))
    assert "ostiary.governance._async" not in added


def test_every_module_imports_on_its_own() -> None:
    """A circle of imports works or not by who begins: let each public module begin once."""
    for name in [
        "config",
        "errors",
        "gateway",
        "gateway.mcp",
        "telemetry",
        "testing.mocks",
        "gateway.auth.credentials",
        "gateway.auth.jwt",
        "gateway.auth.spiffe",
        "gateway.auth.token_file",
        "gateway.auth.trat",
        "gateway.client",
        "gateway.endpoints",
        "gateway.errors",
        "gateway.http",
        "gateway.llm.model_ref",
        "gateway.llm.model_selector",
        "gateway.providers",
        "gateway.settings",
        "governance",
        "governance.contract_guard",
        "governance.errors",
        "governance.models",
        "governance.settings",
        "governance.stream",
        "http",
        "http.hooks",
        "http.settings",
        "secret",
        "vault",
        "vault.errors",
        "vault.keys",
        "vault.models",
    ]:
        assert f"ostiary.{name}" in modules_after(f"import ostiary.{name}")
