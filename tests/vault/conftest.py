"""Vaults to talk to, and one way to run a test in both colours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from ostiary.vault import AsyncVaultClient, VaultClient

from .scripted import Handler, ScriptedVault


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Callable[[Handler], ScriptedVault]]:
    """Call it with a handler to get a vault that answers by it."""
    made: list[ScriptedVault] = []

    def make(handler: Handler) -> ScriptedVault:
        directory = tmp_path / f"v{len(made)}"
        directory.mkdir(mode=0o700)
        made.append(ScriptedVault(directory, handler))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Both:
    """A client of either colour behind one async interface, for tests that run on both."""

    def __init__(self, client: VaultClient | AsyncVaultClient) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.client, name)
        if not callable(member) or name == "lease":
            return member

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = member(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return call

    async def __aenter__(self) -> Self:
        if isinstance(self.client, VaultClient):
            self.client.__enter__()
        else:
            await self.client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if isinstance(self.client, VaultClient):
            self.client.__exit__(*exc_info)
        else:
            await self.client.__aexit__(*exc_info)


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Callable[..., Both]:
    """Call it like a client class; the test runs once in each colour."""
    cls = VaultClient if request.param == "sync" else AsyncVaultClient

    def make(vault: ScriptedVault | Any = None, agent: str = "demo", **kwargs: Any) -> Both:
        if isinstance(vault, ScriptedVault):
            kwargs = {"socket_path": vault.path, "key_path": vault.key_path} | kwargs
        return Both(cls(agent, **kwargs))

    return make
