"""A gateway with MCP servers behind it, and a client of a run that may call some of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ostiary.devserver import GatewayOptions, running
from ostiary.gateway import access_from_environment
from ostiary.gateway.mcp import MCPGatewayClient

T = TypeVar("T")

TOOLS_SERVER = str(Path(__file__).with_name("tools_server.py"))
ALLOWED = {
    "tools": (
        "echo",
        "add",
        "break_schema",
        "count",
        "die",
        "fail",
        "linger",
        "lingered",
        "steps",
        "variables",
        "not_there",
    ),
    "broken": ("echo",),
    "missing": ("echo",),
    "mute": ("echo",),
}
COMMANDS = {
    "tools": (sys.executable, TOOLS_SERVER),
    "closed": (sys.executable, TOOLS_SERVER),
    "broken": (sys.executable, TOOLS_SERVER, "--never-start"),
    "missing": ("/nonexistent/program",),
    "mute": (sys.executable, TOOLS_SERVER, "--never-answer"),
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Any]:
    """One gateway for a file of tests."""
    options = GatewayOptions(mcp=COMMANDS, allowed_tools=ALLOWED)
    with running(demo=True, tcp=False, gateway=options) as server:
        yield server.gateway


Ask = Callable[[Callable[[MCPGatewayClient], Coroutine[Any, Any, T]]], T]


@pytest.fixture
def ask(gateway: Any) -> Ask[Any]:
    """Run `work(client)` with a client of the default run."""
    return lambda work: asked(gateway.environment, work)


def asked(
    environment: dict[str, str],
    work: Callable[[MCPGatewayClient], Coroutine[Any, Any, T]],
    **settings: Any,
) -> T:
    """Run `work` with a client of the run whose variables these are."""

    async def main() -> T:
        access = access_from_environment(environment)
        async with MCPGatewayClient(access=access, **settings) as client:
            return await work(client)

    return asyncio.run(main())
