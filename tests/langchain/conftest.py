"""One gateway for the room, its variables set; and what runs LangChain's coroutine tests."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ostiary.devserver import RunningGateway

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on a loop of its own: one plugin less in every other run."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    with asyncio.Runner() as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def benchmark(benchmark: Any) -> Iterator[Any]:
    """Run once what the suites would measure: figures are made by `make bench`."""
    benchmark.disabled = True
    yield benchmark
    benchmark.skipped = True  # the test of streams has no use for it where nothing is recorded


@pytest.fixture(scope="session")
def shared_gateway() -> Iterator[RunningGateway]:
    """A gateway that no test changes."""
    from ostiary.devserver import running

    with running(demo=True) as server:
        yield server.gateway


@pytest.fixture
def gateway_mode(shared_gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an agent in production."""
    bare(monkeypatch)
    for name, value in shared_gateway.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def direct_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a laptop."""
    bare(monkeypatch)
    monkeypatch.setenv("SAGE_SANCTUM_ALLOW_DIRECT", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-laptop")


def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AUTH_SIDECAR_SOCKET",
        "GATEWAY_SOCKET",
        "LLM_GATEWAY_SOCKET",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_MODEL",
        "SAGE_MODEL",
        "SAGE_SANCTUM_ALLOW_DIRECT",
        "SPIFFE_JWT_PATH",
        "TRAT_FILE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """Close what the suites leave open here, and not in the middle of another room's test."""
    yield
    gc.collect()
