"""The reference server of the protocol's authors, from npm, behind the gateway."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from ostiary.devserver import GatewayOptions, running
from ostiary.gateway.errors import ScopeNotAuthorizedError
from ostiary.gateway.mcp import MCPGatewayClient

from .conftest import asked

INSTALLED = Path(sys.prefix) / "node" / "node_modules" / ".bin" / "mcp-server-everything"
PACKAGE = "@modelcontextprotocol/server-everything@2026.8.31"


@pytest.fixture(scope="module")
def everything() -> Iterator[Any]:
    """A gateway with that server behind it."""
    options = GatewayOptions(
        mcp={"everything": command()},
        allowed_tools={"everything": ("echo", "get-sum", "get-tiny-image")},
    )
    with running(demo=True, tcp=False, gateway=options) as server:
        yield server.gateway


def command() -> tuple[str, ...]:
    """Return the server's command: as `make test` installed it, else by npx."""
    if INSTALLED.exists():
        return (str(INSTALLED),)
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("npx is not installed: there is no reference server to call")
    try:
        # Fetched beforehand: how long a download takes is not for the gateway to wait.
        reached = subprocess.run(
            [npx, "--yes", "--package", PACKAGE, "--", "true"],
            capture_output=True,
            timeout=90,
            check=False,
            cwd=Path(__file__).parent,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not deliver the reference server in time")
    if reached.returncode:
        pytest.skip(f"npm has no {PACKAGE} for this machine")
    return npx, PACKAGE


@pytest.mark.timeout(180)
def test_the_reference_server_serves_what_is_allowed(everything: Any) -> None:
    async def work(client: MCPGatewayClient) -> None:
        assert {tool.name for tool in await client.list_tools("everything")} == {
            "echo",
            "get-sum",
            "get-tiny-image",
        }
        said = await client.invoke_tool("everything", "echo", {"message": "hello"})
        assert said["content"] == [{"type": "text", "text": "Echo: hello"}]
        added = await client.call_tool("everything", "get-sum", {"a": 2, "b": 3})
        assert "5" in added.text
        image = await client.call_tool("everything", "get-tiny-image")
        assert any(block["type"] == "image" for block in image.content)
        with pytest.raises(ScopeNotAuthorizedError):
            await client.call_tool("everything", "get-env")

    asked(everything.environment, work)
