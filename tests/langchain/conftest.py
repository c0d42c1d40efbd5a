"""One gateway for the room, its variables set; and what runs LangChain's coroutine tests."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ostiary import _retry
from tests.http.peer import HttpPeer, script
from tests.langchain.peers import access_to

if TYPE_CHECKING:
    from ostiary.devserver import RunningGateway
    from ostiary.gateway.llm import GatewayChatModel


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


@pytest.fixture
def peers() -> Iterator[Callable[..., HttpPeer]]:
    """Make servers that end with the test; each step answers one request, the last all others."""
    with ExitStack() as stack:

        def make(*steps: Any, kind: str = "unix") -> HttpPeer:
            return stack.enter_context(HttpPeer(script(*steps), kind))

        yield make


@pytest.fixture
def ask(
    peers: Callable[..., HttpPeer], shared_gateway: RunningGateway
) -> Iterator[Callable[..., Any]]:
    """Make a chat model whose gateway answers by these steps; `peer` is that gateway."""
    from ostiary.gateway.llm import GatewayChatModel

    made: list[Asking] = []

    def make(*steps: Any, model: str = "openai:gpt-4o", **parameters: Any) -> Asking:
        peer = peers(*steps)
        access = access_to(peer, shared_gateway)
        made.append(Asking(GatewayChatModel(model, gateway_client=access, **parameters), peer))
        return made[-1]

    yield make
    for one in made:
        one.model.close()


class Asking(NamedTuple):
    """A model and the gateway it asks."""

    model: GatewayChatModel
    peer: HttpPeer


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(_retry.random, "random", lambda: 0.0)


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """Close what the suites leave open here, and not in the middle of another room's test."""
    yield
    gc.collect()
