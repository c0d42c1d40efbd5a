"""Both ways to ask a fleet for its results, and a control plane for the work to talk to."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from ostiary.client import Ostiary
from ostiary.devserver.inprocess import RunningVault, running
from ostiary.fleet import Fleet, FleetReport
from tests.client.conftest import reaching

Ask = Callable[[Fleet, Iterable[Any]], FleetReport]


def _loop(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if kind == "asyncio":
        return asyncio.new_event_loop
    if importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    import uvloop

    return uvloop.new_event_loop


@pytest.fixture(params=["sync", "asyncio", "uvloop"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Run a fleet to its end: `ask(fleet, inputs)`, on a thread and on each event loop."""
    if request.param == "sync":
        return lambda fleet, inputs: fleet.run(inputs)
    factory = _loop(request.param)

    def one(fleet: Fleet, inputs: Iterable[Any]) -> FleetReport:
        with asyncio.Runner(loop_factory=factory, debug=True) as runner:
            return runner.run(fleet.run_async(inputs))

    return one


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a home directory with nothing in it; no variable of ours says anything."""
    for name in os.environ:
        if name.startswith(("OSTIARY_", "SANCTUM_", "SAGE_", "SPIFFE_", "SYMBIONT_", "LLM_")):
            monkeypatch.delenv(name)
    for name in ("RUN_ID", "ORG_ID", "WORK_DIR", "OUTPUT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def warmed() -> None:
    """Have what opens files once in a process do so before anybody counts them."""
    with suppress(ModuleNotFoundError):
        import_module("uvloop").new_event_loop().close()
    resource_tracker.ensure_running()


@pytest.fixture(scope="session")
def plane() -> Iterator[RunningVault]:
    """A control plane of all five domains, with samples and an agent `bot`."""
    with running(demo=True) as server:
        server.add_agent("bot", allow=["*"])
        with Ostiary(**reaching(server)) as client:
            assert all(one.ok for one in client.check(timeout=60).values())
            client.gateway.chat("hello")
        yield server
