"""Fixtures that give a test a real vault of its own, or the server of any other domain.

pytest loads this in every run where ostiary is installed, so it imports next to nothing:
the server comes in with the first test that asks for one. Neighbour: `ostiary.devserver`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from .fixtures import mock_context, mock_gateway, sample_trat

if TYPE_CHECKING:
    from ..devserver import RunningGateway, RunningVault
    from ..governance import AsyncGovernanceClient, GovernanceClient
    from ..runtime import AsyncRuntimeClient, RuntimeClient
    from ..vault import AsyncVaultClient, VaultClient
    from ..workflow import AsyncWorkflowClient, WorkflowClient

__all__ = [
    "MakeAsyncVaultClient",
    "MakeVaultClient",
    "mock_context",
    "mock_gateway",
    "ostiary_async_governance_client",
    "ostiary_async_runtime_client",
    "ostiary_async_vault_client",
    "ostiary_async_workflow_client",
    "ostiary_gateway",
    "ostiary_gateway_environment",
    "ostiary_governance",
    "ostiary_governance_client",
    "ostiary_governance_environment",
    "ostiary_governance_unix_url",
    "ostiary_governance_url",
    "ostiary_runtime",
    "ostiary_runtime_client",
    "ostiary_runtime_environment",
    "ostiary_runtime_unix_url",
    "ostiary_runtime_url",
    "ostiary_session_vault",
    "ostiary_vault",
    "ostiary_vault_client",
    "ostiary_vault_environment",
    "ostiary_workflow",
    "ostiary_workflow_client",
    "ostiary_workflow_environment",
    "ostiary_workflow_unix_url",
    "ostiary_workflow_url",
    "sample_trat",
]


class MakeVaultClient(Protocol):
    """Register an agent and return a client of its own, not yet connected."""

    def __call__(
        self,
        name: str = "agent",
        *,
        allow: Sequence[str] = ("*",),
        credentials: dict[str, str | bytes] | None = None,
        **settings: Any,
    ) -> VaultClient: ...


class MakeAsyncVaultClient(Protocol):
    """The same, for asyncio."""

    def __call__(
        self,
        name: str = "agent",
        *,
        allow: Sequence[str] = ("*",),
        credentials: dict[str, str | bytes] | None = None,
        **settings: Any,
    ) -> AsyncVaultClient: ...


@pytest.fixture
def ostiary_vault() -> Iterator[RunningVault]:
    """A vault for this test alone, empty, on a temporary home.

    `add_agent(name)` returns the path of a new agent's key, `put(path, value)` stores a
    credential, `socket_path` and `tcp` are its addresses, `admin` its administration.
    """
    from ..devserver import running

    with running() as vault:
        yield vault


@pytest.fixture(scope="session")
def ostiary_session_vault() -> Iterator[RunningVault]:
    """One vault for the whole run: quicker, and shared, so name agents and paths apart."""
    from ..devserver import running

    with running() as vault:
        yield vault


@pytest.fixture
def ostiary_vault_client(ostiary_vault: RunningVault) -> Iterator[MakeVaultClient]:
    """Make clients: `with ostiary_vault_client("bob", credentials={"a/b": "x"}) as client:`.

    Each call registers a new agent. Clients left open are closed after the test.
    """
    from ..vault import VaultClient

    made: list[VaultClient] = []

    def make(
        name: str = "agent",
        *,
        allow: Sequence[str] = ("*",),
        credentials: dict[str, str | bytes] | None = None,
        **settings: Any,
    ) -> VaultClient:
        client = VaultClient(name, **_arguments(ostiary_vault, name, allow, credentials, settings))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def ostiary_async_vault_client(ostiary_vault: RunningVault) -> MakeAsyncVaultClient:
    """Make clients for asyncio: `async with ostiary_async_vault_client("bob") as client:`.

    The test closes them, on the loop it used them on.
    """
    from ..vault import AsyncVaultClient

    def make(
        name: str = "agent",
        *,
        allow: Sequence[str] = ("*",),
        credentials: dict[str, str | bytes] | None = None,
        **settings: Any,
    ) -> AsyncVaultClient:
        return AsyncVaultClient(
            name, **_arguments(ostiary_vault, name, allow, credentials, settings)
        )

    return make


@pytest.fixture
def ostiary_vault_environment(
    ostiary_vault: RunningVault, monkeypatch: pytest.MonkeyPatch
) -> RunningVault:
    """The vault of `ostiary_vault`, set in the environment as everyone's default."""
    for name in ("OSTIARY_VAULT_ADDRESS", "OSTIARY_VAULT_KEY_PATH", "OSTIARY_VAULT_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SANCTUM_VAULT_PATH", str(ostiary_vault.home))
    return ostiary_vault


@pytest.fixture
def ostiary_governance() -> Iterator[RunningVault]:
    """A control plane for this test alone, with the documentation's samples, asking no token.

    `governance_url`, `governance_unix_url` and `governance_socket` are its addresses,
    `governance_faults.add(HttpFault(...))` makes its answers come late, fail or break off.
    """
    from ..devserver import running

    with running(demo=True) as server:
        yield server


@pytest.fixture
def ostiary_governance_url(ostiary_governance: RunningVault) -> str:
    """The base URL of `ostiary_governance` on loopback."""
    return ostiary_governance.governance_url


@pytest.fixture
def ostiary_governance_unix_url(ostiary_governance: RunningVault) -> str:
    """The base URL of `ostiary_governance` on its Unix socket."""
    return ostiary_governance.governance_unix_url


@pytest.fixture
def ostiary_governance_client(ostiary_governance: RunningVault) -> Iterator[GovernanceClient]:
    """A client of `ostiary_governance`, over its Unix socket."""
    from ..governance import GovernanceClient

    with GovernanceClient(ostiary_governance.governance_unix_url) as client:
        yield client


@pytest.fixture
def ostiary_async_governance_client(ostiary_governance: RunningVault) -> AsyncGovernanceClient:
    """The same for asyncio; the test closes it, on the loop it used it on."""
    from ..governance import AsyncGovernanceClient

    return AsyncGovernanceClient(ostiary_governance.governance_unix_url)


@pytest.fixture
def ostiary_governance_environment(
    ostiary_governance: RunningVault, monkeypatch: pytest.MonkeyPatch
) -> RunningVault:
    """The service of `ostiary_governance`, set in the environment as every client's default."""
    for name in ("OSTIARY_GOVERNANCE_API_KEY", "OSTIARY_GOVERNANCE_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OSTIARY_GOVERNANCE_URL", ostiary_governance.governance_url)
    return ostiary_governance


@pytest.fixture
def ostiary_gateway() -> Iterator[RunningGateway]:
    """A gateway with its sidecar for this test alone; the built-in model plays each provider.

    `environment` are the variables of its default run, `socket_path` and `sidecar_path` its
    sockets, `svid_file` and `trat_file` the run's tokens. `issue("run_2")` starts another run,
    `rotate()` and `revoke()` renew tokens, `faults.add(HttpFault(...))` makes answers come
    late, fail or break off, and `calls()` says what was called.
    """
    from ..devserver import running

    with running(demo=True) as server:
        yield server.gateway


@pytest.fixture
def ostiary_gateway_environment(
    ostiary_gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> RunningGateway:
    """The gateway of `ostiary_gateway`, set in the environment as an agent finds it."""
    for name in (
        "SAGE_SANCTUM_ALLOW_DIRECT",
        "GATEWAY_SOCKET",
        "OSTIARY_GATEWAY_URL",
        "SPIFFE_ENDPOINT_SOCKET",
        "OSTIARY_GATEWAY_AUDIENCE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in ostiary_gateway.environment.items():
        monkeypatch.setenv(name, value)
    return ostiary_gateway


@pytest.fixture
def ostiary_runtime() -> Iterator[RunningVault]:
    """A control plane for this test alone, with the guide's samples, asking no token.

    `runtime_url`, `runtime_unix_url` and `runtime_socket` are its runtime's addresses,
    `runtime_faults.add(HttpFault(...))` makes its answers come late, fail or break off.
    """
    from ..devserver import running

    with running(demo=True) as server:
        yield server


@pytest.fixture
def ostiary_runtime_url(ostiary_runtime: RunningVault) -> str:
    """The base URL of `ostiary_runtime` on loopback, `/api/v1` included."""
    return ostiary_runtime.runtime_url


@pytest.fixture
def ostiary_runtime_unix_url(ostiary_runtime: RunningVault) -> str:
    """The base URL of `ostiary_runtime` on its Unix socket."""
    return ostiary_runtime.runtime_unix_url


@pytest.fixture
def ostiary_runtime_client(ostiary_runtime: RunningVault) -> Iterator[RuntimeClient]:
    """A client of `ostiary_runtime`, over its Unix socket."""
    from ..runtime import RuntimeClient

    with RuntimeClient(base_url=ostiary_runtime.runtime_unix_url) as client:
        yield client


@pytest.fixture
def ostiary_async_runtime_client(ostiary_runtime: RunningVault) -> AsyncRuntimeClient:
    """The same for asyncio; the test closes it, on the loop it used it on."""
    from ..runtime import AsyncRuntimeClient

    return AsyncRuntimeClient(base_url=ostiary_runtime.runtime_unix_url)


@pytest.fixture
def ostiary_runtime_environment(
    ostiary_runtime: RunningVault, monkeypatch: pytest.MonkeyPatch
) -> RunningVault:
    """The runtime of `ostiary_runtime`, set in the environment as every client's default."""
    for name in (
        "SYMBIONT_API_KEY",
        "SYMBIONT_API_TOKEN",
        "OSTIARY_RUNTIME_API_KEY",
        "OSTIARY_RUNTIME_API_KEY_FILE",
        "OSTIARY_RUNTIME_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SYMBIONT_BASE_URL", ostiary_runtime.runtime_url)
    return ostiary_runtime


@pytest.fixture
def ostiary_workflow() -> Iterator[RunningVault]:
    """A control plane for this test alone, with the guide's sample files, asking no key.

    `workflow_url`, `workflow_unix_url` and `workflow_socket` are its workflow server's addresses,
    `workflow_files` is what tools read and write in, `workflow_faults.add(HttpFault(...))` makes
    its answers come late, fail or break off.
    """
    from ..devserver import running

    with running(demo=True) as server:
        yield server


@pytest.fixture
def ostiary_workflow_url(ostiary_workflow: RunningVault) -> str:
    """The base URL of `ostiary_workflow` on loopback."""
    return ostiary_workflow.workflow_url


@pytest.fixture
def ostiary_workflow_unix_url(ostiary_workflow: RunningVault) -> str:
    """The base URL of `ostiary_workflow` on its Unix socket."""
    return ostiary_workflow.workflow_unix_url


@pytest.fixture
def ostiary_workflow_client(ostiary_workflow: RunningVault) -> Iterator[WorkflowClient]:
    """A client of `ostiary_workflow`, over its Unix socket."""
    from ..workflow import WorkflowClient

    with WorkflowClient(ostiary_workflow.workflow_unix_url) as client:
        yield client


@pytest.fixture
def ostiary_async_workflow_client(ostiary_workflow: RunningVault) -> AsyncWorkflowClient:
    """The same for asyncio; the test closes it, on the loop it used it on."""
    from ..workflow import AsyncWorkflowClient

    return AsyncWorkflowClient(ostiary_workflow.workflow_unix_url)


@pytest.fixture
def ostiary_workflow_environment(
    ostiary_workflow: RunningVault, monkeypatch: pytest.MonkeyPatch
) -> RunningVault:
    """The server of `ostiary_workflow`, set in the environment as every client's default."""
    for name in ("OSTIARY_WORKFLOW_API_KEY", "OSTIARY_WORKFLOW_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OSTIARY_WORKFLOW_URL", ostiary_workflow.workflow_url)
    return ostiary_workflow


def _arguments(
    vault: RunningVault,
    name: str,
    allow: Sequence[str],
    credentials: dict[str, str | bytes] | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    for path, value in (credentials or {}).items():
        vault.put(path, value)
    key = vault.add_agent(name, allow=allow)
    found: dict[str, Any] = {"key_path": str(key), **settings}
    if not {"socket_path", "host"} & settings.keys():
        found["socket_path"] = str(vault.socket_path)
    return found
