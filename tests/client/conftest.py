"""Configurations on disk, an environment that says nothing, and one way to drive both colours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from ostiary.client import AsyncOstiary, Ostiary
from ostiary.devserver.inprocess import RunningVault, running
from tests.colours import COLOURS, Driven, colour_of, loop_of

PREFIXES = ("OSTIARY_", "SANCTUM_", "SAGE_", "SPIFFE_", "SYMBIONT_", "LLM_", "TRAT_", "AUTH_")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a home directory with nothing in it; no variable says anything."""
    for name in os.environ:
        if name.startswith(PREFIXES) or name in {"XDG_CONFIG_HOME", "GATEWAY_SOCKET"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(bare: Path) -> Callable[..., Path]:
    """Write the configuration file where it is looked for: `write(text)` returns its path."""

    def put(text: str, mode: int = 0o600) -> Path:
        path = bare / ".config" / "ostiary" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(mode)
        return path

    return put


@pytest.fixture(scope="module")
def plane() -> Iterator[RunningVault]:
    """A control plane of all five domains, with samples and an agent `bot`."""
    with running(demo=True) as server:
        server.add_agent("bot", allow=["*"])
        # What opens files with its first request, or once in a process, has done so before
        # anybody counts them.
        with Ostiary(**reaching(server)) as client:
            assert all(one.ok for one in client.check(timeout=60).values())
        with suppress(ModuleNotFoundError):
            import_module("uvloop").new_event_loop().close()
        resource_tracker.ensure_running()
        yield server


@pytest.fixture
def everything(plane: RunningVault) -> dict[str, Any]:
    """The arguments by which a client reaches all five domains of `plane`."""
    return reaching(plane)


def reaching(plane: RunningVault) -> dict[str, Any]:
    run = plane.gateway.environment
    return {
        "vault": {
            "agent_name": "bot",
            "socket_path": plane.socket_path,
            "key_path": plane.home / "keys" / "bot.key",
        },
        "gateway": {
            "spiffe_jwt_path": run["SPIFFE_JWT_PATH"],
            "trat_file": run["TRAT_FILE"],
            "gateway": run["LLM_GATEWAY_SOCKET"],
        },
        "runtime": {"base_url": plane.runtime_unix_url},
        "workflow": {"base_url": plane.workflow_unix_url},
        "governance": {"base_url": plane.governance_unix_url},
    }


class Client(Driven):
    """An Ostiary of any colour."""

    def call(self, path: str, *arguments: Any, **options: Any) -> Any:
        """Call `runtime.get_status`, ... and wait for it."""
        target = self.raw
        for name in path.split("."):
            target = getattr(target, name)
        return self.wait(target(*arguments, **options))

    def health(self) -> Any:
        """Ask governance how it is, whose method has a name for each colour."""
        system = self.raw.governance.system
        return self.wait(system.health() if self._runner is None else system.health_async())


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return colour_of(request)


@pytest.fixture
def make(colour: str, bare: Path) -> Iterator[Callable[..., Client]]:
    """Make clients that end with the test, as `Ostiary(...)` does, or of an object: `of=`."""
    made: list[Client] = []
    with loop_of(colour) as runner:

        def one(*, of: Any = None, **arguments: Any) -> Client:
            kind: Any = Ostiary if colour == "sync" else AsyncOstiary
            made.append(Client(kind(**arguments) if of is None else of, runner))
            return made[-1]

        yield one
        for each in made:
            each.close()
