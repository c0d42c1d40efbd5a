"""Tools of a real MCP server, through the gateway and back."""

from __future__ import annotations

import asyncio
import datetime
import os
import pickle
import subprocess
import sys
from types import MappingProxyType
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import ostiary.gateway
from ostiary.errors import DeadlineError
from ostiary.gateway import DirectProviderClient, access_from_environment
from ostiary.gateway.errors import (
    ConfigurationError,
    GatewayArgumentError,
    GatewayBadGatewayError,
    GatewayConnectError,
    GatewayDeadlineError,
    GatewayError,
    GatewayStateError,
)
from ostiary.gateway.mcp import MCPGatewayClient, MCPTool, MCPToolResult
from ostiary.testing.mocks import MockGatewayClient

from .conftest import ALLOWED, Ask, asked


def test_a_tool_answers_as_the_guides_client_promises(ask: Ask[Any]) -> None:
    found = ask(lambda c: c.invoke_tool("tools", "echo", {"text": "hello"}))
    assert found == {"content": [{"type": "text", "text": "hello"}], "isError": False}


def test_structured_content_comes_along(ask: Ask[Any]) -> None:
    found = ask(lambda c: c.invoke_tool("tools", "add", {"a": 1, "b": 2}))
    assert found["structuredContent"] == {"sum": 3}
    typed = ask(lambda c: c.call_tool("tools", "add", {"a": 1, "b": 2}))
    assert typed == MCPToolResult(
        content=({"type": "text", "text": "3"},), structured={"sum": 3}, is_error=False
    )
    assert typed.text == "3"


def test_a_tool_that_fails_is_no_failed_call(ask: Ask[Any]) -> None:
    found = ask(lambda c: c.call_tool("tools", "fail"))
    assert found.is_error
    assert found.text == "it did not work"


def test_only_allowed_tools_are_listed(ask: Ask[Any]) -> None:
    found = ask(lambda c: c.list_tools("tools"))
    names = {tool.name for tool in found}
    assert {"echo", "add", "linger"} <= names
    assert "refuse" not in names  # the server has it, the token does not
    echo = next(tool for tool in found if tool.name == "echo")
    assert isinstance(echo, MCPTool)
    assert echo.description == "Say it again."
    assert echo.input_schema["required"] == ["text"]
    add = next(tool for tool in found if tool.name == "add")
    assert add.output_schema is not None


def test_the_tokens_list_is_the_list(ask: Ask[Any]) -> None:
    assert set(ask(lambda c: c.allowed_tools())) == {"tools", "broken", "missing", "mute"}


def test_progress_is_told_in_order(ask: Ask[Any]) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    found = ask(lambda c: c.call_tool("tools", "steps", on_progress=note))
    assert found.text == "done"
    assert told == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


def test_calls_at_once_are_told_apart(ask: Ask[Any]) -> None:
    async def work(client: MCPGatewayClient) -> list[str]:
        calls = (client.call_tool("tools", "echo", {"text": f"n{n}"}) for n in range(40))
        return [found.text for found in await asyncio.gather(*calls)]

    assert ask(work) == [f"n{n}" for n in range(40)]


def test_one_process_serves_one_run(ask: Ask[Any], gateway: Any) -> None:
    async def work(client: MCPGatewayClient) -> str:
        return (await client.call_tool("tools", "count")).text

    first, again = ask(work).split()[0], ask(work).split()[0]
    assert first == again
    other = gateway.issue(run_id="run_2", allowed_tools={"tools": ["count"]})
    assert asked(other.environment, work).split()[0] != first


def test_a_child_gets_no_secret_of_ours(ask: Ask[Any]) -> None:
    found = ask(lambda c: c.call_tool("tools", "variables")).text.split()
    assert "npm_config_yes" in found
    assert set(found) - {"npm_config_yes", "NO_COLOR", "LC_CTYPE", "PWD"} <= {
        "HOME",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TERM",
        "USER",
    }


# --- what goes wrong behind the gateway


def test_a_server_that_dies_is_started_again(ask: Ask[Any]) -> None:
    async def work(client: MCPGatewayClient) -> tuple[str, BaseException, str]:
        before = (await client.call_tool("tools", "count")).text.split()[0]
        with pytest.raises(GatewayBadGatewayError) as caught:
            await client.call_tool("tools", "die")
        return before, caught.value, (await client.call_tool("tools", "count")).text

    before, error, after = ask(work)
    process, count = after.split()
    assert process != before
    assert count == "1"
    assert error.code == "server_failed"  # type: ignore[attr-defined]
    assert error.status == 502  # type: ignore[attr-defined]


def test_what_breaks_the_tools_own_schema_is_refused(ask: Ask[Any]) -> None:
    with pytest.raises(GatewayBadGatewayError) as caught:
        ask(lambda c: c.call_tool("tools", "break_schema"))
    assert "three" not in str(caught.value)


def test_an_unknown_tool_is_the_callers_mistake(ask: Ask[Any]) -> None:
    with pytest.raises(GatewayError) as caught:
        ask(lambda c: c.call_tool("tools", "not_there"))
    # The server's own prose stays out of the message.
    assert "there is no tool" not in str(caught.value)


def test_arguments_that_do_not_fit_are_the_callers_mistake(ask: Ask[Any]) -> None:
    with pytest.raises(GatewayError):
        ask(lambda c: c.call_tool("tools", "add", {"a": "secret-argument"}))


@pytest.mark.parametrize("server", ["broken", "missing"])
def test_a_server_that_does_not_start_is_told_by_status(ask: Ask[Any], server: str) -> None:
    with pytest.raises(GatewayError) as caught:
        ask(lambda c: c.call_tool(server, "echo", {"text": "x"}))
    assert caught.value.status in {502, 503}
    assert caught.value.code in {"server_failed", "server_unavailable"}


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_call_given_up_ends_at_the_tool(gateway: Any, how: str) -> None:
    """The server is told to stop, and the session goes on."""
    run = gateway.issue(run_id=f"run_{how}", allowed_tools=ALLOWED)
    begun: list[str | None] = []

    async def work(client: MCPGatewayClient) -> None:
        started = asyncio.Event()

        async def note(progress: float, total: float | None, message: str | None) -> None:
            begun.append(message)
            started.set()

        if how == "timeout":
            await client.call_tool("tools", "echo", {"text": "opens the session"})
            with pytest.raises(GatewayDeadlineError) as caught:
                await client.call_tool("tools", "linger", timeout=0.5, on_progress=note)
            assert isinstance(caught.value, (DeadlineError, TimeoutError))
            assert caught.value.sent
        else:
            task = asyncio.create_task(client.call_tool("tools", "linger", on_progress=note))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        # It is a message on its way, which may be overtaken by a call.
        for _ in range(200):
            if (await client.call_tool("tools", "lingered")).text == "1":
                return
            await asyncio.sleep(0.01)
        pytest.fail("the tool was not told")

    asked(run.environment, work)
    assert begun == ["begun"]


# --- the client itself


def test_arguments_may_be_what_json_can_hold(ask: Ask[Any]) -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    found = ask(lambda c: c.call_tool("tools", "echo", MappingProxyType({"text": when})))
    assert found.text == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("arguments", [{"text": object()}, {"text": "\ud800"}, [1], "text"])
def test_arguments_that_are_no_json_leave_the_session_whole(ask: Ask[Any], arguments: Any) -> None:
    async def work(client: MCPGatewayClient) -> str:
        slow = asyncio.create_task(client.call_tool("tools", "steps"))
        with pytest.raises(GatewayArgumentError):
            await client.call_tool("tools", "echo", arguments)
        return (await slow).text

    assert ask(work) == "done"


def test_no_gateway_is_a_connect_error(gateway: Any) -> None:
    async def work(client: MCPGatewayClient) -> None:
        with pytest.raises(GatewayConnectError):
            await client.call_tool("tools", "echo", {"text": "x"})

    environment = {**gateway.environment, "LLM_GATEWAY_SOCKET": "/tmp/no-gateway-here.sock"}
    asked(environment, work, max_retries=0)


def test_a_socket_given_takes_the_place_of_the_environments(gateway: Any) -> None:
    async def work(client: MCPGatewayClient) -> str:
        return (await client.call_tool("tools", "echo", {"text": "x"})).text

    environment = {**gateway.environment, "LLM_GATEWAY_SOCKET": "/tmp/no-gateway-here.sock"}
    assert asked(environment, work, socket_path=gateway.socket_path) == "x"


def test_direct_mode_has_no_servers() -> None:
    with pytest.raises(ConfigurationError, match="behind a gateway"):
        MCPGatewayClient(access=DirectProviderClient(allow=True))


def test_tokens_do_not_cross_a_network_in_clear() -> None:
    access = MockGatewayClient(is_gateway=True, endpoints={"mcp": "http://gateway.example:8080"})
    with pytest.raises(ConfigurationError, match="https"):
        MCPGatewayClient(access=access)


def test_a_socket_of_somebody_else_gets_nothing(gateway: Any) -> None:
    async def work(client: MCPGatewayClient) -> None:
        with pytest.raises(GatewayConnectError, match="runs as"):
            await client.call_tool("tools", "echo", {"text": "x"})

    asked(gateway.environment, work, expected_uid=os.getuid() + 1, max_retries=0)


def test_a_closed_client_says_so(gateway: Any) -> None:
    async def main() -> None:
        client = MCPGatewayClient(access=access_from_environment(gateway.environment))
        await client.aclose()
        await client.aclose()
        assert "closed" in repr(client)
        with pytest.raises(GatewayStateError):
            await client.list_tools("tools")
        with pytest.raises(GatewayStateError):
            async with client:
                pass

    asyncio.run(main())


def test_another_loop_is_refused(gateway: Any) -> None:
    client = MCPGatewayClient(access=access_from_environment(gateway.environment))

    async def main() -> None:
        await client.call_tool("tools", "echo", {"text": "x"})

    asyncio.run(main())
    with pytest.raises(GatewayStateError, match="another event loop"):
        asyncio.run(main())


def test_a_wrong_timeout_is_an_argument_error(gateway: Any) -> None:
    access = access_from_environment(gateway.environment)
    with pytest.raises(GatewayArgumentError):
        MCPGatewayClient(access=access, timeout=0)


def test_it_pickles_without_its_tokens(gateway: Any) -> None:
    client = MCPGatewayClient(access=access_from_environment(gateway.environment), timeout=5)
    data = pickle.dumps(client)
    svid = gateway.svid_file.read_bytes().strip()
    assert svid not in data
    again = pickle.loads(data)

    async def main() -> MCPToolResult:
        async with again as opened:
            found: MCPToolResult = await opened.call_tool("tools", "echo", {"text": "x"})
            return found

    assert asyncio.run(main()).text == "x"


def test_the_guide_keeps_the_name_to_itself() -> None:
    """The guide keeps it out of public APIs: not exported, not loaded, found only by its module."""
    assert "MCPGatewayClient" not in ostiary.gateway.__all__
    assert "MCPGatewayClient" not in dir(ostiary.gateway)
    assert not hasattr(ostiary.gateway, "MCPGatewayClient")
    program = (
        "import sys, ostiary.gateway as g\n"
        "for name in g.__all__: getattr(g, name, None)\n"
        "print('ostiary.gateway.mcp' in sys.modules, 'mcp' in sys.modules)\n"
        "import ostiary.gateway.mcp\n"
        "print('mcp' in sys.modules, 'httpx2' in sys.modules, 'asyncio' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert first == "False False"
    assert second.split()[:2] == ["False", "False"]


def test_without_the_extra_it_says_what_to_install(gateway: Any) -> None:
    program = (
        "import sys, asyncio\nsys.modules['mcp'] = None\n"
        "from ostiary.gateway.mcp import MCPGatewayClient\n"
        "async def main():\n"
        "    async with MCPGatewayClient() as c:\n"
        "        await c.call_tool('tools', 'echo', {'text': 'x'})\n"
        "try:\n    asyncio.run(main())\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **gateway.environment},
    )
    assert done.stdout.startswith("ConfigurationError")
    assert "pip install 'ostiary[mcp]'" in done.stdout
